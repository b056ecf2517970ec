#include "common/stream/rows.h"

#include "common/util/diag.h"
#include "common/util/input.h"
#include "common/util/mem.h"
#include "common/util/utf8.h"

#include <csv.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 18, BOM = 3 }; /* BOM: length of a byte order mark */

struct cell {
    size_t at, len; /* in the cells' bytes */
};

struct parsed_row {
    size_t first, count; /* cells */
    bool bad;
};

/* A file and the number of the row before its first. */
struct origin {
    char *name;
    uint64_t before;
};

struct rows {
    enum row_format format;
    char delimiter;
    bool header;
    char **paths;
    int n_paths;
    int fd;                  /* -1 before the first file */
    bool at_end, begun_file; /* some bytes of it were read */
    struct origin *origins;
    size_t n_origins;
    uint64_t number;
    struct buf problem;

    char **names; /* of the columns; NULL without a header */
    size_t width; /* number of columns, 0 while not known */
    struct span *fields;
    bool held; /* the first row of a file without a header was read ahead, to learn the width */
    enum row_found held_row;

    /* CSV: what libcsv has made of the last chunk */
    struct csv_parser parser;
    char *chunk;
    size_t chunk_at, chunk_len;
    bool skip_line; /* after an error: the rest of the line is passed over */
    struct buf bytes;
    struct cell *cells;
    size_t n_cells, cap_cells;
    size_t begun; /* the first cell of the row that is not complete */
    struct parsed_row *parsed;
    size_t n_parsed, cap_parsed, next_parsed;

    /* TSV, JSON lines and lines */
    struct buf text; /* read and not yet let go of */
    size_t line_at;  /* where the next line begins in it */
    uint64_t lines;  /* read of this file */
    json_t *object;
    uint64_t objects;  /* so far */
    bool *met;         /* [width] whether any object had the key */
    struct buf quoted; /* a JSON line whose numbers are strings */
};

/* ---- files ---- */

static const char *name_of(const struct rows *r)
{
    return r->origins[r->n_origins - 1].name;
}

static size_t byte_order_mark(const char *p, size_t len)
{
    return len >= BOM && !memcmp(p, "\xef\xbb\xbf", BOM) ? BOM : 0;
}

static int is_no_space(unsigned char c)
{
    (void)c;
    return 0;
}

/* libcsv as RFC 4180 has it: spaces belong to the field, stray quotes are errors. */
static void start_parser(struct rows *r)
{
    if (csv_init(&r->parser, CSV_STRICT | CSV_STRICT_FINI))
        die(EX_OSERR, "out of memory");
    csv_set_realloc_func(&r->parser, xrealloc);
    csv_set_delim(&r->parser, (unsigned char)r->delimiter);
    csv_set_space_func(&r->parser, is_no_space);
}

static bool open_next(struct rows *r)
{
    if (r->n_origins && r->n_origins >= (size_t)r->n_paths)
        return false;
    const char *path = r->n_paths ? r->paths[r->n_origins] : "-";
    if (r->fd >= 0)
        input_close(r->fd);
    r->fd = input_open(path);
    r->origins = xreallocarray(r->origins, r->n_origins + 1, sizeof *r->origins);
    r->origins[r->n_origins++] =
        (struct origin){xstrdup(strcmp(path, "-") ? path : "standard input"), r->number};
    r->at_end = r->begun_file = false;
    r->lines = 0;
    return true;
}

/* Every other of the first bytes zero, or a byte order mark: what Windows calls Unicode. */
static void refuse_utf16(const struct rows *r, const char *p, size_t len)
{
    bool little = len >= 4 && p[0] && !p[1] && p[2] && !p[3];
    bool big = len >= 4 && !p[0] && p[1] && !p[2] && p[3];
    bool marked = len >= 2 && (!memcmp(p, "\xff\xfe", 2) || !memcmp(p, "\xfe\xff", 2));
    if (little || big || marked)
        die(EX_DATAERR, "%s: UTF-16, where UTF-8 is wanted: convert it, iconv -f UTF-16%s -t UTF-8",
            name_of(r),
            marked   ? ""
            : little ? "LE"
                     : "BE");
}

/* Into bytes, which have room for a CHUNK; 0 at the end of the file. */
static size_t read_chunk(struct rows *r, char *bytes)
{
    ssize_t n = input_read(r->fd, bytes, CHUNK);
    if (n < 0)
        die_errno("%s", name_of(r));
    if (!r->begun_file)
        refuse_utf16(r, bytes, (size_t)n);
    r->begun_file = true;
    return (size_t)n;
}

/* ---- CSV ---- */

static void on_field(void *bytes, size_t len, void *data)
{
    struct rows *r = data;
    if (r->n_cells == r->cap_cells) {
        r->cap_cells = r->cap_cells ? 2 * r->cap_cells : 1024;
        r->cells = xreallocarray(r->cells, r->cap_cells, sizeof *r->cells);
    }
    r->cells[r->n_cells++] = (struct cell){r->bytes.len, len};
    buf_add(&r->bytes, bytes, len);
}

static void add_row(struct rows *r, bool bad)
{
    if (r->n_parsed == r->cap_parsed) {
        r->cap_parsed = r->cap_parsed ? 2 * r->cap_parsed : 1024;
        r->parsed = xreallocarray(r->parsed, r->cap_parsed, sizeof *r->parsed);
    }
    if (bad)
        r->n_cells = r->begun;
    r->parsed[r->n_parsed++] = (struct parsed_row){r->begun, r->n_cells - r->begun, bad};
    r->begun = r->n_cells;
}

static void on_row(int end, void *data)
{
    (void)end;
    add_row(data, false);
}

/* Lets go of the rows handed out; the cells of one not complete move to the front. */
static void drop_parsed(struct rows *r)
{
    size_t kept = r->n_cells - r->begun;
    size_t from = kept ? r->cells[r->begun].at : r->bytes.len;
    for (size_t i = 0; i < kept; i++)
        r->cells[i] = (struct cell){r->cells[r->begun + i].at - from, r->cells[r->begun + i].len};
    if (r->bytes.len > from)
        memmove(r->bytes.data, r->bytes.data + from, r->bytes.len - from);
    r->bytes.len -= from;
    r->n_cells = kept;
    r->begun = r->n_parsed = r->next_parsed = 0;
}

static void parse_chunk(struct rows *r)
{
    const char *p = r->chunk + r->chunk_at;
    size_t len = r->chunk_len - r->chunk_at;
    if (r->skip_line) {
        size_t line = 0;
        while (line < len && p[line] != '\n' && p[line] != '\r')
            line++;
        r->skip_line = line == len;
        r->chunk_at += line + (line < len);
        return;
    }
    size_t done = csv_parse(&r->parser, p, len, on_field, on_row, r);
    r->chunk_at += done;
    if (done == len)
        return;
    if (csv_error(&r->parser) != CSV_EPARSE)
        die(EX_OSERR, "%s: %s", name_of(r), csv_strerror(csv_error(&r->parser)));
    add_row(r, true);
    csv_free(&r->parser);
    start_parser(r);
    r->skip_line = true;
}

static void end_csv(struct rows *r)
{
    if (!r->skip_line && csv_fini(&r->parser, on_field, on_row, r))
        die(EX_DATAERR, "%s: row %" PRIu64 ": a quote opened in it is never closed", name_of(r),
            r->number - r->origins[r->n_origins - 1].before + r->n_parsed + 1);
    csv_free(&r->parser);
    start_parser(r);
    r->skip_line = false;
    r->at_end = true;
}

/* Parses on until there is a row; false at the end of the file. */
static bool parse_rows(struct rows *r)
{
    size_t got;
    drop_parsed(r);
    while (!r->n_parsed && !r->at_end) {
        if (r->chunk_at < r->chunk_len) {
            parse_chunk(r);
            continue;
        }
        bool first = r->chunk_len == 0;
        r->chunk_len = 0;
        do
            r->chunk_len += got = read_chunk(r, r->chunk + r->chunk_len);
        while (first && got && r->chunk_len < BOM);
        r->chunk_at = first ? byte_order_mark(r->chunk, r->chunk_len) : 0;
        if (!r->chunk_len)
            end_csv(r);
    }
    return r->n_parsed > 0;
}

static void set_fields(struct rows *r, size_t count)
{
    if (r->width)
        return;
    r->width = count;
    r->fields = xreallocarray(r->fields, count, sizeof *r->fields);
}

static enum row_found ragged(struct rows *r, size_t count)
{
    buf_addf(&r->problem, "%zu columns where %zu are due", count, r->width);
    return ROW_BAD;
}

static enum row_found next_csv(struct rows *r)
{
    if (r->next_parsed == r->n_parsed && !parse_rows(r))
        return ROW_END;
    const struct parsed_row *row = &r->parsed[r->next_parsed++];
    if (row->bad) {
        buf_addf(&r->problem, "a quote inside an unquoted field, or text after a closing quote");
        return ROW_BAD;
    }
    set_fields(r, row->count);
    if (row->count != r->width)
        return ragged(r, row->count);
    for (size_t i = 0; i < r->width; i++) {
        const struct cell *c = &r->cells[row->first + i];
        r->fields[i] = (struct span){r->bytes.data + c->at, c->len};
    }
    return ROW_GOOD;
}

/* ---- lines ---- */

/* Reads more text, lines that have been handed out let go of. */
static void read_text(struct rows *r)
{
    if (r->line_at)
        memmove(r->text.data, r->text.data + r->line_at, r->text.len -= r->line_at);
    r->line_at = 0;
    buf_reserve(&r->text, CHUNK);
    size_t n = read_chunk(r, r->text.data + r->text.len);
    r->text.len += n;
    r->at_end = n == 0;
}

/* The next line without its newline; false at the end of the file. */
static bool read_line(struct rows *r, struct span *line)
{
    for (size_t looked_through = 0;;) {
        size_t from = r->line_at + looked_through, len = r->text.len - r->line_at;
        looked_through = len;
        char *end =
            from < r->text.len ? memchr(r->text.data + from, '\n', r->text.len - from) : NULL;
        if (!end && !r->at_end) {
            read_text(r);
            continue;
        }
        if (end)
            len = (size_t)(end - r->text.data) - r->line_at;
        *line = (struct span){r->text.data + r->line_at, len};
        r->line_at += len + (end != NULL);
        return end || len;
    }
}

/* The next line that is not empty, its end taken off; false at the end of the file. */
static bool next_line(struct rows *r, struct span *line)
{
    while (read_line(r, line)) {
        size_t start = r->lines++ ? 0 : byte_order_mark(line->data, line->len);
        *line = (struct span){line->data + start, line->len - start};
        if (line->len && line->data[line->len - 1] == '\r')
            line->len--;
        if (line->len)
            return true;
    }
    return false;
}

static enum row_found next_tsv(struct rows *r)
{
    struct span line;
    if (!next_line(r, &line))
        return ROW_END;
    size_t count = 1;
    for (const char *p = line.data; (p = memchr(p, '\t', line.len - (size_t)(p - line.data))); p++)
        count++;
    set_fields(r, count);
    if (count != r->width)
        return ragged(r, count);
    const char *p = line.data, *end = line.data + line.len;
    for (size_t i = 0; i < count; i++) {
        const char *tab = memchr(p, '\t', (size_t)(end - p));
        if (!tab)
            tab = end;
        r->fields[i] = (struct span){p, (size_t)(tab - p)};
        p = tab + 1;
    }
    return ROW_GOOD;
}

static size_t digits(const char *p, const char *end)
{
    size_t n = 0;
    while (p + n < end && p[n] >= '0' && p[n] <= '9')
        n++;
    return n;
}

/* The length of the JSON number at p; 0: there is none. */
static size_t number_length(const char *p, const char *end)
{
    const char *at = p + (p < end && *p == '-');
    size_t whole = digits(at, end);
    if (!whole || (*at == '0' && whole > 1))
        return 0;
    at += whole;
    size_t fraction = at < end && *at == '.' ? digits(at + 1, end) : 0;
    at += fraction ? fraction + 1 : 0;
    if (at < end && (*at == 'e' || *at == 'E')) {
        const char *power = at + 1 + (at + 1 < end && (at[1] == '+' || at[1] == '-'));
        size_t n = digits(power, end);
        at = n ? power + n : at;
    }
    return (size_t)(at - p);
}

static bool is_key(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
        p++;
    return p < end && *p == ':';
}

/* The line with its numbers as strings, so that each stays as it is written: no text is a rounded
 * one, and none too big. */
static void quote_numbers(struct buf *out, const struct span *line)
{
    const char *p = line->data, *end = p + line->len;
    bool in_string = false;
    out->len = 0;
    while (p < end) {
        size_t n = in_string ? 0 : number_length(p, end);
        if (n && !is_key(p + n, end)) {
            buf_addc(out, '"');
            buf_add(out, p, n);
            buf_addc(out, '"');
            p += n;
            continue;
        }
        if (in_string && *p == '\\' && p + 1 < end)
            buf_addc(out, *p++);
        else if (*p == '"')
            in_string = !in_string;
        buf_addc(out, *p++);
    }
}

/* A JSON value as a field's text; false where it has none. */
static bool json_field(const json_t *value, struct span *field)
{
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_NULL:
        *field = (struct span){NULL, 0};
        return true;
    case JSON_STRING:
        *field = (struct span){json_string_value(value), json_string_length(value)};
        return true;
    case JSON_TRUE:
        *field = (struct span){"true", 4};
        return true;
    case JSON_FALSE:
        *field = (struct span){"false", 5};
        return true;
    default:
        return false;
    }
}

static enum row_found next_json(struct rows *r)
{
    struct span line;
    if (!next_line(r, &line))
        return ROW_END;
    r->number = r->origins[r->n_origins - 1].before + r->lines - 1;
    json_decref(r->object);
    json_error_t error;
    quote_numbers(&r->quoted, &line);
    r->object =
        json_loadb(r->quoted.data, r->quoted.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json_is_object(r->object)) {
        buf_addf(&r->problem, "%s", r->object ? "not a JSON object" : error.text);
        return ROW_BAD;
    }
    r->objects++;
    for (size_t i = 0; i < r->width; i++) {
        const json_t *value = json_object_get(r->object, r->names[i]);
        r->met[i] |= value != NULL;
        if (!json_field(value, &r->fields[i])) {
            buf_addf(&r->problem, "the value of '%s' is a list or an object", r->names[i]);
            return ROW_BAD;
        }
    }
    return ROW_GOOD;
}

/* A line of nothing but blanks is none: a prompt of it would ask about nothing. */
static enum row_found next_text_line(struct rows *r)
{
    struct span line;
    do
        if (!next_line(r, &line))
            return ROW_END;
    while (text_is_blank(line.data, line.len));
    r->number = r->origins[r->n_origins - 1].before + r->lines - 1;
    r->fields[0] = line;
    return ROW_GOOD;
}

/* ---- rows ---- */

static enum row_found next_in_file(struct rows *r)
{
    switch (r->format) {
    case ROWS_CSV:
        return next_csv(r);
    case ROWS_TSV:
        return next_tsv(r);
    case ROWS_JSONL:
        return next_json(r);
    default:
        return next_text_line(r);
    }
}

static bool is_table(const struct rows *r)
{
    return r->format == ROWS_CSV || r->format == ROWS_TSV;
}

static void take_names(struct rows *r)
{
    r->names = xcalloc(r->width, sizeof *r->names);
    for (size_t i = 0; i < r->width; i++)
        r->names[i] = xstrndup(r->fields[i].data ? r->fields[i].data : "", r->fields[i].len);
}

static void same_names(struct rows *r)
{
    for (size_t i = 0; i < r->width; i++)
        if (!same_bytes(r->names[i], strlen(r->names[i]), r->fields[i].data, r->fields[i].len))
            die(EX_DATAERR, "%s: column %zu is named '%.*s', in %s it is '%s'", name_of(r), i + 1,
                (int)r->fields[i].len, r->fields[i].data, r->origins[0].name, r->names[i]);
}

/* Opens the next file and reads its header; false when there is none left. */
static bool start_file(struct rows *r)
{
    if (!open_next(r))
        return false;
    if (!is_table(r) || !r->header)
        return true;
    switch (next_in_file(r)) {
    case ROW_END:
        die(EX_DATAERR, "%s: empty, not even a header", name_of(r));
    case ROW_BAD:
        die(EX_DATAERR, "%s: the header: %s", name_of(r), buf_str(&r->problem));
    case ROW_GOOD:
        if (r->names)
            same_names(r);
        else
            take_names(r);
    }
    return true;
}

struct rows *rows_open(enum row_format format, char *const *paths, int count, char delimiter,
                       bool header)
{
    struct rows *r = xcalloc(1, sizeof *r);
    r->format = format;
    r->fd = -1;
    r->delimiter = delimiter;
    r->header = header;
    r->n_paths = count;
    r->paths = xcalloc((size_t)count, sizeof *r->paths);
    for (int i = 0; i < count; i++)
        r->paths[i] = xstrdup(paths[i]);
    if (format == ROWS_CSV) {
        r->chunk = xmalloc(CHUNK + BOM);
        buf_reserve(&r->bytes, 1); /* an empty cell is one that is there */
        start_parser(r);
    }
    if (format == ROWS_LINES)
        set_fields(r, 1);
    start_file(r);
    if (is_table(r) && !header) {
        const struct span *fields;
        r->held_row = rows_next(r, &fields);
        if (r->held_row == ROW_END)
            die(EX_DATAERR, "%s: empty", name_of(r));
        if (r->held_row == ROW_BAD)
            die(EX_DATAERR, "%s: row 1, which tells how many columns there are: %s", name_of(r),
                rows_problem(r));
        r->held = true;
    }
    return r;
}

/* Dies where a CSV file's one column is several that something else separates. */
static void check_delimiter(const struct rows *r, const char *spec)
{
    const char *row = r->names ? r->names[0] : NULL;
    size_t len = row ? strlen(row) : r->fields[0].len;
    row = row ? row : r->fields[0].data;
    for (const char *d = ";\t|"; r->format == ROWS_CSV && r->width == 1 && *d; d++)
        if (*d != r->delimiter && memchr(row, *d, len))
            die(EX_DATAERR,
                "%s: no column '%s'; all of a row is one column, which %s seem to separate: say so "
                "with --delimiter '%s'",
                name_of(r), spec,
                *d == ';'   ? "semicolons"
                : *d == '|' ? "bars"
                            : "tabs",
                *d == '\t'  ? "\\t"
                : *d == ';' ? ";"
                            : "|");
}

static _Noreturn void no_column(const struct rows *r, const char *spec)
{
    check_delimiter(r, spec);
    struct buf there = {0};
    for (size_t i = 0; r->names && i < r->width; i++)
        buf_addf(&there, "%s%s", i ? ", " : "", r->names[i]);
    if (r->names)
        die(EX_DATAERR, "%s: no column '%s'; there are: %s", name_of(r), spec, buf_str(&there));
    die(EX_DATAERR, "%s: no column '%s'; there are %zu, picked by number", name_of(r), spec,
        r->width);
}

size_t rows_column(struct rows *r, const char *spec)
{
    size_t found = r->width;
    for (size_t i = 0; r->names && i < r->width; i++) {
        if (strcmp(r->names[i], spec))
            continue;
        if (found < r->width)
            die(EX_DATAERR, "%s: columns %zu and %zu are both named '%s': pick one by its number",
                name_of(r), found + 1, i + 1, spec);
        found = i;
    }
    if (found < r->width)
        return found;
    if (r->format == ROWS_JSONL) {
        r->names = xreallocarray(r->names, r->width + 1, sizeof *r->names);
        r->fields = xreallocarray(r->fields, r->width + 1, sizeof *r->fields);
        r->met = xreallocarray(r->met, r->width + 1, sizeof *r->met);
        r->names[r->width] = xstrdup(spec);
        r->met[r->width] = false;
        return r->width++;
    }
    char *end;
    errno = 0;
    unsigned long n = strtoul(spec, &end, 10);
    if (errno || *end || *spec < '0' || *spec > '9' || n < 1 || n > r->width)
        no_column(r, spec);
    return n - 1;
}

const char *rows_file(const struct rows *r)
{
    return name_of(r);
}

size_t rows_unnamed_columns(const struct rows *r)
{
    return is_table(r) && !r->names ? r->width : 0;
}

/* A key that no object had is a misspelt one: a table would have no such column. */
static void check_met(const struct rows *r)
{
    for (size_t i = 0; r->objects > 0 && i < r->width; i++)
        if (!r->met[i])
            die(EX_DATAERR, "%s: no line has the key '%s'", name_of(r), r->names[i]);
}

enum row_found rows_next(struct rows *r, const struct span **fields)
{
    enum row_found found;
    if (r->held) {
        r->held = false;
        found = r->held_row;
    } else {
        r->problem.len = 0;
        while ((found = next_in_file(r)) == ROW_END && start_file(r))
            ;
        if (found == ROW_END)
            check_met(r);
        else
            r->number++;
    }
    *fields = r->fields;
    return found;
}

const char *rows_problem(const struct rows *r)
{
    return r->problem.data; /* buf_addf() has ended it with a NUL */
}

uint64_t rows_number(const struct rows *r)
{
    return r->number;
}

char *rows_place(const struct rows *r, uint64_t number)
{
    size_t i = r->n_origins - 1;
    while (i && r->origins[i].before >= number)
        i--;
    return xasprintf("%s: row %" PRIu64, r->origins[i].name, number - r->origins[i].before);
}

void rows_close(struct rows *r)
{
    input_close(r->fd);
    for (int i = 0; i < r->n_paths; i++)
        free(r->paths[i]);
    for (size_t i = 0; i < r->n_origins; i++)
        free(r->origins[i].name);
    for (size_t i = 0; r->names && i < r->width; i++)
        free(r->names[i]);
    if (r->format == ROWS_CSV)
        csv_free(&r->parser);
    json_decref(r->object);
    buf_free(&r->problem);
    buf_free(&r->bytes);
    buf_free(&r->quoted);
    free(r->paths);
    free(r->origins);
    free(r->names);
    free(r->fields);
    free(r->chunk);
    free(r->cells);
    free(r->parsed);
    free(r->met);
    buf_free(&r->text);
    free(r);
}
