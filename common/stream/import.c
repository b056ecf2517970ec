#include "common/stream/import.h"

#include "common/stream/header.h"
#include "common/stream/id_index.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Literal text, or a column. */
struct piece {
    char *literal; /* NULL for a column */
    size_t column;
};

struct template
{
    struct piece *pieces;
    size_t count;
};

struct import {
    struct rows *rows;
    const struct import_options *options;
    struct import_fault fault; /* its text NULL: none */
    struct template id, text;
    bool has_id, has_label;
    size_t label;
    char **classes;
    size_t n_classes;
    json_t *class_names;     /* as JSON; NULL where there are none */
    struct id_index *labels; /* raw labels */
    long *class_of_label;    /* by their number there */
    bool mapped;             /* labels is all there is: no plain numbers */
    bool named_by_numbers;   /* classes are: a label that is none of them is no class's number */
    struct id_index *ids;
    uint64_t *row_of_id; /* by its number there */
    size_t cap_ids;
    struct buf id_text, text_text, label_text;
    struct buf problem;
    uint64_t skipped, empty;
};

static void set_fault(struct import *im, enum import_part part, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The first one stays. */
static void set_fault(struct import *im, enum import_part part, const char *format, ...)
{
    if (im->fault.text)
        return;
    va_list args;
    va_start(args, format);
    if (vasprintf(&im->fault.text, format, args) < 0)
        die(EX_OSERR, "out of memory");
    va_end(args);
    im->fault.part = part;
}

/* ---- templates ---- */

static struct piece *add_piece(struct template *t)
{
    t->pieces = xreallocarray(t->pieces, t->count + 1, sizeof *t->pieces);
    t->pieces[t->count] = (struct piece){0};
    return &t->pieces[t->count++];
}

static void add_literal(struct template *t, struct buf *text)
{
    if (text->len)
        add_piece(t)->literal = xstrdup(buf_str(text));
    text->len = 0;
}

/* The column that begins at p's brace; returns its closing brace, NULL where there is none. */
static const char *add_column(struct import *im, struct template *t, const char *p)
{
    const char *end = strchr(p, '}');
    if (!end || end == p + 1)
        return NULL;
    char *name = xstrndup(p + 1, (size_t)(end - p - 1));
    add_piece(t)->column = rows_column(im->rows, name);
    free(name);
    return end;
}

static void parse_template(struct import *im, struct template *t, enum import_part part,
                           const char *spec)
{
    if (!strpbrk(spec, "{}")) {
        add_piece(t)->column = rows_column(im->rows, spec);
        return;
    }
    struct buf text = {0};
    for (const char *p = spec; *p && !im->fault.text; p++) {
        if ((*p == '{' || *p == '}') && p[1] == *p) {
            buf_addc(&text, *p++);
        } else if (*p == '{') {
            add_literal(t, &text);
            const char *end = add_column(im, t, p);
            if (end)
                p = end;
            else
                set_fault(im, part, " '%s': a '{' without a column and '}' (write {{ for a brace)",
                          spec);
        } else if (*p == '}') {
            set_fault(im, part, " '%s': a '}' without its '{' (write }} for a brace)", spec);
        } else {
            buf_addc(&text, *p);
        }
    }
    add_literal(t, &text);
    buf_free(&text);
}

/* What pandas.read_csv takes for a missing value if not told otherwise (its versions 2 and 3). */
static bool is_missing(struct span cell)
{
    static const char *const values[] = {"",         "#N/A", "#N/A N/A", "#NA",    "-1.#IND",
                                         "-1.#QNAN", "-NaN", "-nan",     "1.#IND", "1.#QNAN",
                                         "<NA>",     "N/A",  "NA",       "NULL",   "NaN",
                                         "None",     "n/a",  "nan",      "null"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (same_bytes(cell.data, cell.len, values[i], strlen(values[i])))
            return true;
    return false;
}

/* false where a column's value is null. */
static bool fill_template(const struct template *t, const struct span *fields,
                          enum import_missing missing, struct buf *out)
{
    out->len = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct piece *p = &t->pieces[i];
        if (p->literal) {
            buf_add(out, p->literal, strlen(p->literal));
        } else {
            struct span cell = fields[p->column];
            if (!cell.data)
                return false;
            if (missing == MISSING_PANDAS && is_missing(cell))
                cell = (struct span){"nan", 3};
            buf_add(out, cell.data, cell.len);
        }
    }
    buf_str(out);
    return true;
}

static void free_template(struct template *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->pieces[i].literal);
    free(t->pieces);
}

/* ---- labels ---- */

/* The next of "a,b,c" as it is written; false after the last. */
static bool next_entry(const char **at, struct span *entry)
{
    if (!*at)
        return false;
    const char *p = *at;
    while (*p && *p != ',')
        p += *p == '\\' && p[1] ? 2 : 1;
    *entry = (struct span){*at, (size_t)(p - *at)};
    *at = *p ? p + 1 : NULL;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The name that is written there, the caller's. A backslash keeps what would otherwise be the
 * list's: a comma, a backslash, a blank at an end. */
static char *read_name(struct import *im, enum import_part part, struct span written)
{
    struct buf name = {0};
    bool loose = written.len && is_blank(written.data[0]); /* the blank is the list's */
    for (size_t i = 0; i < written.len; i++) {
        char c = written.data[i];
        if (c == '\\') {
            c = ++i < written.len ? written.data[i] : '\0';
            if (c != ',' && c != '\\' && !is_blank(c))
                set_fault(im, part,
                          ": '%.*s': a backslash stands before a comma, a blank or another "
                          "backslash",
                          (int)written.len, written.data);
        } else if (i + 1 == written.len) {
            loose = loose || is_blank(c);
        }
        buf_addc(&name, c);
    }
    if (loose)
        set_fault(im, part,
                  ": '%.*s' begins or ends with a blank (one that belongs to it has a backslash "
                  "before it)",
                  (int)written.len, written.data);
    return buf_str(&name);
}

/* The names of "a,b,c"; they are the caller's. */
static char **read_names(struct import *im, enum import_part part, const char *list, size_t *count)
{
    char **names = NULL;
    struct span entry;
    *count = 0;
    for (const char *at = list; next_entry(&at, &entry);) {
        if (!entry.len)
            set_fault(im, part, " '%s': an empty name", list);
        names = xreallocarray(names, *count + 1, sizeof *names);
        names[(*count)++] = read_name(im, part, entry);
    }
    return names;
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static void take_classes(struct import *im, const char *classes)
{
    im->classes = read_names(im, IMPORT_CLASSES, classes, &im->n_classes);
    im->class_names = json_array();
    for (size_t i = 0; i < im->n_classes; i++) {
        if (!header_class_fits(im->classes[i]))
            set_fault(im, IMPORT_CLASSES,
                      ": '%s' begins or ends with a blank or holds a line break", im->classes[i]);
        for (size_t other = 0; other < i; other++)
            if (!strcmp(im->classes[i], im->classes[other]))
                set_fault(im, IMPORT_CLASSES, ": '%s' is given twice", im->classes[i]);
        if (json_array_append_new(im->class_names, json_string(im->classes[i])))
            set_fault(im, IMPORT_CLASSES, ": '%s' is not UTF-8", im->classes[i]);
    }
}

/* The name of one class that stood for another would be taken for either. */
static void check_other_classes(struct import *im, enum import_part part, const char *raw,
                                long class)
{
    for (size_t i = 0; i < im->n_classes; i++)
        if ((long)i != class && !strcmp(raw, im->classes[i]))
            set_fault(im, part, ": '%s', which is the name of a class, cannot stand for '%s'", raw,
                      im->classes[class]);
}

static void map_label(struct import *im, enum import_part part, const char *raw, long class)
{
    bool added;
    size_t n = id_index_add(im->labels, raw, &added);
    if (!added) {
        set_fault(im, part, ": '%s' is given twice", raw);
        return;
    }
    check_other_classes(im, part, raw, class);
    im->class_of_label = xreallocarray(im->class_of_label, n + 1, sizeof *im->class_of_label);
    im->class_of_label[n] = class;
}

static void map_in_order(struct import *im, enum import_part part, char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        map_label(im, part, names[i], (long)i);
}

static void map_list(struct import *im, const char *list)
{
    size_t n;
    char **names = read_names(im, IMPORT_LABELS, list, &n);
    if (im->classes && n != im->n_classes)
        set_fault(im, IMPORT_LABELS, " has %zu names for %zu classes", n, im->n_classes);
    else
        map_in_order(im, IMPORT_LABELS, names, n);
    free_names(names, n);
}

/* "spam=1" */
static void map_pair(struct import *im, struct span pair)
{
    size_t equals = pair.len;
    while (equals && pair.data[equals - 1] != '=')
        equals--;
    if (!equals) {
        set_fault(im, IMPORT_LABEL_MAP, ": '%.*s' is not LABEL=CLASS", (int)pair.len, pair.data);
        return;
    }
    char *raw = read_name(im, IMPORT_LABEL_MAP, (struct span){pair.data, equals - 1});
    char *number = xstrndup(pair.data + equals, pair.len - equals), *end;
    long last = im->n_classes ? (long)im->n_classes - 1 : INT32_MAX;
    errno = 0;
    long class = strtol(number, &end, 10);
    if (errno || *number < '0' || *number > '9' || *end || class > last)
        set_fault(im, IMPORT_LABEL_MAP, ": '%s' is not a whole number from 0 to %ld", number, last);
    else
        map_label(im, IMPORT_LABEL_MAP, raw, class);
    free(raw);
    free(number);
}

static void map_pairs(struct import *im, const char *list)
{
    struct span pair;
    for (const char *at = list; next_entry(&at, &pair);)
        map_pair(im, pair);
}

/* Whether a class has another one's number, or none's, for its name. */
static bool has_other_number(const char *name, size_t class)
{
    char own[24];
    snprintf(own, sizeof own, "%zu", class);
    return *name && name[strspn(name, "0123456789")] == '\0' && strcmp(name, own) != 0;
}

static void map_labels(struct import *im, const struct import_options *o)
{
    im->labels = id_index_new();
    im->mapped = o->labels || o->label_map;
    if (o->classes)
        take_classes(im, o->classes);
    if (o->labels)
        map_list(im, o->labels);
    else if (o->label_map)
        map_pairs(im, o->label_map);
    else
        map_in_order(im, IMPORT_CLASSES, im->classes, im->n_classes);
    for (size_t i = 0; i < im->n_classes; i++)
        im->named_by_numbers |= has_other_number(im->classes[i], i);
}

/* The class of a raw label, -1 when it has none. */
static long class_of(struct import *im, struct span raw)
{
    size_t n;
    if (!memchr(raw.data, '\0', raw.len)) {
        im->label_text.len = 0;
        buf_add(&im->label_text, raw.data, raw.len);
        if (id_index_find(im->labels, buf_str(&im->label_text), &n))
            return im->class_of_label[n];
    }
    if (im->mapped || im->named_by_numbers || !raw.len || raw.len > 9)
        return -1;
    long v = 0;
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.data[i] < '0' || raw.data[i] > '9')
            return -1;
        v = 10 * v + (raw.data[i] - '0');
    }
    return im->n_classes && v >= (long)im->n_classes ? -1 : v;
}

/* ---- examples ---- */

static bool uses(const struct template *t, size_t column)
{
    for (size_t i = 0; i < t->count; i++)
        if (!t->pieces[i].literal && t->pieces[i].column == column)
            return true;
    return false;
}

static void check_columns(const struct import *im)
{
    size_t n = im->options->ignore_unused ? 0 : rows_unnamed_columns(im->rows);
    for (size_t c = 0; c < n; c++)
        if (!uses(&im->text, c) && !uses(&im->id, c) && !(im->has_label && im->label == c))
            die(EX_DATAERR, "%s: column %zu of %zu is not used: %s", rows_file(im->rows), c + 1, n,
                im->options->column_remedy);
}

struct import *import_new(struct rows *rows, const struct import_options *o,
                          struct import_fault *fault)
{
    struct import *im = xcalloc(1, sizeof *im);
    im->rows = rows;
    im->options = o;
    map_labels(im, o);
    if (!im->fault.text)
        parse_template(im, &im->text, IMPORT_TEXT, o->text);
    if ((im->has_id = o->id && !im->fault.text)) {
        parse_template(im, &im->id, IMPORT_ID, o->id);
        im->ids = id_index_new();
    }
    if ((im->has_label = o->label && !im->fault.text))
        im->label = rows_column(rows, o->label);
    if (!im->fault.text) {
        check_columns(im);
        return im;
    }
    *fault = im->fault;
    import_free(im);
    return NULL;
}

json_t *import_classes(const struct import *im)
{
    return json_incref(im->class_names);
}

static bool bad_row(struct import *im, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* false, for its caller to return. */
static bool bad_row(struct import *im, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    im->problem.len = 0;
    buf_addf(&im->problem, "%s", text);
    return false;
}

static bool take_text(struct import *im, const struct span *fields)
{
    if (!fill_template(&im->text, fields, im->options->missing, &im->text_text))
        return bad_row(im, "it has no text");
    size_t bad = utf8_invalid_at(im->text_text.data, im->text_text.len);
    if (bad < im->text_text.len)
        return bad_row(im,
                       "the text is not UTF-8 (byte %zu of it): convert the file with iconv "
                       "(-f WINDOWS-1252, or what it is in)",
                       bad + 1);
    return true;
}

static bool take_label(struct import *im, const struct span *fields, int *label)
{
    *label = NO_LABEL;
    if (!im->has_label || !fields[im->label].data)
        return true;
    struct span raw = fields[im->label];
    long class = class_of(im, raw);
    if (class < 0 && !raw.len) /* as rec to-csv writes nil */
        return true;
    if (class < 0 && im->mapped)
        return bad_row(im, "label '%.*s' is not among those given", (int)raw.len, raw.data);
    if (class < 0 && im->named_by_numbers)
        return bad_row(im, "label '%.*s' is no class name, and the names are numbers (%s)",
                       (int)raw.len, raw.data, im->options->label_remedy);
    if (class < 0 && im->n_classes)
        return bad_row(im, "label '%.*s' is neither a class name nor a number from 0 to %zu (%s)",
                       (int)raw.len, raw.data, im->n_classes - 1, im->options->label_remedy);
    if (class < 0)
        return bad_row(im, "label '%.*s' is not a class number (%s)", (int)raw.len, raw.data,
                       im->options->label_remedy);
    *label = (int)class;
    return true;
}

/* Last of all, so that only rows in use take an id. */
static bool take_id(struct import *im, const struct span *fields)
{
    if (!im->has_id) {
        im->id_text.len = 0;
        buf_addf(&im->id_text, "%" PRIu64, rows_number(im->rows));
        return true;
    }
    if (!fill_template(&im->id, fields, MISSING_AS_IS, &im->id_text) || !im->id_text.len)
        return bad_row(im, "it has no id");
    if (utf8_invalid_at(im->id_text.data, im->id_text.len) < im->id_text.len)
        return bad_row(im, "the id is not UTF-8");
    if (memchr(im->id_text.data, '\0', im->id_text.len))
        return bad_row(im, "the id holds a NUL byte");
    bool added;
    size_t n = id_index_add(im->ids, im->id_text.data, &added);
    if (added) {
        if (n == im->cap_ids) {
            im->cap_ids = im->cap_ids ? 2 * im->cap_ids : 1024;
            im->row_of_id = xreallocarray(im->row_of_id, im->cap_ids, sizeof *im->row_of_id);
        }
        im->row_of_id[n] = rows_number(im->rows);
        return true;
    }
    char *place = rows_place(im->rows, im->row_of_id[n]);
    bad_row(im, "id '%s' is that of %s too", im->id_text.data, place);
    free(place);
    return false;
}

static void report(struct import *im, const char *problem)
{
    char *place = rows_place(im->rows, rows_number(im->rows));
    if (!im->options->skip_bad)
        die(EX_DATAERR, "%s: %s (%s)", place, problem, im->options->row_remedy);
    inform("%s: passed over: %s", place, problem);
    im->skipped++;
    free(place);
}

bool import_next(struct import *im, struct example *e)
{
    const struct span *fields;
    enum row_found found;
    while ((found = rows_next(im->rows, &fields)) != ROW_END) {
        if (found == ROW_BAD) {
            report(im, rows_problem(im->rows));
        } else if (!take_text(im, fields) || !take_label(im, fields, &e->label) ||
                   !take_id(im, fields)) {
            report(im, im->problem.data);
        } else {
            e->id = im->id_text.data;
            e->text = (struct span){im->text_text.data, im->text_text.len};
            im->empty += text_is_blank(e->text.data, e->text.len);
            return true;
        }
    }
    return false;
}

uint64_t import_empty(const struct import *im)
{
    return im->empty;
}

uint64_t import_skipped(const struct import *im)
{
    return im->skipped;
}

void import_free(struct import *im)
{
    free_template(&im->id);
    free_template(&im->text);
    free_names(im->classes, im->n_classes);
    json_decref(im->class_names);
    id_index_free(im->labels);
    id_index_free(im->ids);
    free(im->class_of_label);
    free(im->row_of_id);
    buf_free(&im->id_text);
    buf_free(&im->text_text);
    buf_free(&im->label_text);
    buf_free(&im->problem);
    free(im);
}
