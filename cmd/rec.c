/* rec: record streams from and to CSV, TSV and JSON lines; taken apart, put together, checked. */
#include "common/stream/check.h"
#include "common/stream/import.h"
#include "common/stream/join.h"
#include "common/stream/print.h"
#include "common/stream/schema.h"
#include "common/stream/store.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/options.h"
#include "common/util/outfile.h"
#include "common/util/progress.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    struct common_options common;
    struct import_options import;
    char delimiter;
    bool names; /* the first row of a table has the columns' names */
    bool header, shuffle, inner;
    long number, skip, index; /* number, index: -1 when not given */
    uint64_t seed;
    char **files;
    int n_files;
    int argc; /* of the whole command line, for the stream's header */
    char **argv;
};

/* ---- what the commands share ---- */

static struct stream_reader *open_input(const struct settings *s)
{
    return stream_open_all(s->files, s->n_files, NULL);
}

static struct stream_writer *create_output(const struct settings *s, json_t *header)
{
    return stream_create(s->common.output, s->common.compress, header);
}

/* A stream of the same records as the input's. */
static struct stream_writer *create_like(const struct settings *s, const struct stream_reader *r)
{
    return create_output(s,
                         stream_header_from(stream_header(r), stream_schema(r), s->argc, s->argv));
}

static void plain_text_only(const struct settings *s, const char *what)
{
    if (s->common.compress)
        usage_error("%s is not compressed here: pipe it through zstd", what);
}

static void write_text(struct buf *text, struct outfile *f)
{
    if (fwrite(text->data, 1, text->len, outfile_stream(f)) != text->len)
        die_errno("%s", outfile_name(f));
    text->len = 0;
}

/* ---- rows to records ---- */

static size_t list_length(const char *list)
{
    size_t n = 1;
    for (; (list = strchr(list, ',')); list++)
        n++;
    return n;
}

static void check_import(const struct import_options *o)
{
    if (!o->text)
        usage_error("--text says which column the text is in");
    if (o->labels && o->label_map)
        usage_error("--labels and --label-map say the same in two ways: give one");
    if ((o->labels || o->label_map) && !o->label)
        usage_error("%s needs --label COLUMN", o->labels ? "--labels" : "--label-map");
    if (o->labels && o->classes && list_length(o->labels) != list_length(o->classes))
        usage_error("--labels has %zu for %zu --classes", list_length(o->labels),
                    list_length(o->classes));
}

static struct import *open_import(struct rows *rows, const struct import_options *o)
{
    static const char *const options[] = {[IMPORT_ID] = "--id",
                                          [IMPORT_TEXT] = "--text",
                                          [IMPORT_CLASSES] = "--classes",
                                          [IMPORT_LABELS] = "--labels",
                                          [IMPORT_LABEL_MAP] = "--label-map"};
    struct import *im = import_new(rows, o);
    const struct import_fault *fault = import_fault(im);
    if (fault)
        usage_error("%s%s", options[fault->part], fault->text);
    return im;
}

static void run_from(const struct settings *s, enum row_format format)
{
    check_import(&s->import);
    struct rows *rows = rows_open(format, s->files, s->n_files, s->delimiter, s->names);
    struct import *im = open_import(rows, &s->import);
    json_t *header = stream_header_from(NULL, "example", s->argc, s->argv);
    json_t *classes = import_classes(im);
    if (classes)
        json_object_set_new(header, "classes", classes);
    struct stream_writer *w = create_output(s, header);
    struct example e;
    progress_start("records", 0);
    while (import_next(im, &e)) {
        example_write(w, &e);
        progress_update(stream_written(w));
    }
    progress_end();
    uint64_t skipped = import_skipped(im), written = stream_written(w);
    if (skipped)
        warn("%" PRIu64 " of %" PRIu64 " rows are bad and were passed over (-v names them)",
             skipped, skipped + written);
    if (skipped && !written)
        die(EX_DATAERR, "no row could be used");
    closing_count(skipped + written, written, skipped);
    stream_finish(w);
    import_free(im);
    rows_close(rows);
}

static void run_from_csv(const struct settings *s)
{
    run_from(s, ROWS_CSV);
}

static void run_from_tsv(const struct settings *s)
{
    run_from(s, ROWS_TSV);
}

static void run_from_jsonl(const struct settings *s)
{
    run_from(s, ROWS_JSONL);
}

/* ---- records to text ---- */

static void add_header(struct buf *text, const struct stream_reader *r)
{
    char *header = json_dumps(stream_header(r), JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (!header)
        die(EX_OSERR, "out of memory");
    buf_addf(text, "%s\n", header);
    free(header);
}

static void run_to_json(const struct settings *s)
{
    plain_text_only(s, "JSON");
    struct stream_reader *r = open_input(s);
    struct outfile *f = outfile_open(s->common.output);
    struct buf text = {0};
    if (s->header) {
        add_header(&text, r);
        write_text(&text, f);
    }
    msgpack_object record;
    unsigned long n = 0;
    for (; stream_next(r, &record); n++) {
        print_json(&text, r, &record);
        write_text(&text, f);
    }
    closing_count(n, n, 0);
    outfile_finish(f);
    buf_free(&text);
    stream_close(r);
}

static void run_to_csv(const struct settings *s)
{
    plain_text_only(s, "CSV");
    struct stream_reader *r = open_input(s);
    struct outfile *f = outfile_open(s->common.output);
    struct buf text = {0};
    struct csv_columns *columns = NULL;
    msgpack_object record;
    unsigned long n = 0;
    for (; stream_next(r, &record); n++) {
        if (!columns) {
            columns = csv_columns_new(r, &record);
            print_csv_header(&text, columns);
        }
        print_csv(&text, columns, r, &record);
        write_text(&text, f);
    }
    closing_count(n, n, 0);
    outfile_finish(f);
    csv_columns_free(columns);
    buf_free(&text);
    stream_close(r);
}

/* ---- streams to streams ---- */

static void run_cat(const struct settings *s)
{
    struct stream_reader *r = open_input(s);
    struct stream_writer *w = create_like(s, r);
    const char *bytes;
    size_t len;
    progress_start("records", 0);
    while (stream_next_bytes(r, &bytes, &len)) {
        stream_write_raw(w, bytes, len);
        progress_update(stream_written(w));
    }
    progress_end();
    closing_count(stream_written(w), stream_written(w), 0);
    stream_finish(w);
    stream_close(r);
}

static void run_head(const struct settings *s)
{
    uint64_t wanted = s->number < 0 ? 10 : (uint64_t)s->number, skip = (uint64_t)s->skip, seen = 0;
    struct stream_reader *r = open_input(s);
    struct stream_writer *w = create_like(s, r);
    const char *bytes;
    size_t len;
    while (stream_written(w) < wanted && stream_next_bytes(r, &bytes, &len))
        if (seen++ >= skip)
            stream_write_raw(w, bytes, len);
    if (seen && !stream_written(w))
        die(EX_DATAERR, "%s: holds %" PRIu64 " records: none is left after --skip %" PRIu64,
            stream_name(r), seen, skip);
    if (s->number >= 0 && stream_written(w) < wanted)
        warn("%s: %" PRIu64 " records where %" PRIu64 " were asked for", stream_name(r),
             stream_written(w), wanted);
    closing_count(seen, stream_written(w), 0);
    stream_finish(w);
    stream_close(r);
}

static void write_stored(struct stream_writer *w, const struct store *store, size_t from,
                         size_t until)
{
    for (size_t i = from; i < until; i++)
        stream_write_raw(w, store->records[i].bytes, store->records[i].len);
}

static void run_sample(const struct settings *s)
{
    if (s->number < 0 && !s->shuffle)
        usage_error("sample needs -n N, --shuffle, or both");
    struct stream_reader *r = open_input(s);
    struct store store = {0};
    size_t wanted = s->number < 0 ? SIZE_MAX : (size_t)s->number;
    uint64_t seen = store_sample(&store, r, wanted, s->seed);
    if (s->shuffle)
        store_shuffle(&store, s->seed);
    if (s->number >= 0 && store.count < wanted)
        warn("%s: %zu records where %zu were asked for", stream_name(r), store.count, wanted);
    closing_count(seen, store.count, 0);
    struct stream_writer *w = create_like(s, r);
    write_stored(w, &store, 0, store.count);
    stream_finish(w);
    store_free(&store);
    stream_close(r);
}

/* Shard i of n has the records from count * i / n on. Its header is the input's, without a step of
 * split's own: what is done to the shards does not tell into how many they were cut. */
static void write_shard(const struct settings *s, const struct stream_reader *r,
                        const struct store *store, const char *path, long i)
{
    struct stream_writer *w =
        stream_create(path, s->common.compress, json_deep_copy(stream_header(r)));
    size_t n = (size_t)s->number, shard = (size_t)i;
    write_stored(w, store, store->count * shard / n, store->count * (shard + 1) / n);
    stream_finish(w);
}

static void run_split(const struct settings *s)
{
    if (s->number < 1)
        usage_error("split needs -n N, the number of shards");
    if (s->index < 0 && !s->common.output)
        usage_error("split needs -o PREFIX for the shards' names (or --index I for one of them)");
    if (s->index >= s->number)
        usage_error("--index %ld: shards are numbered from 0 to %ld", s->index, s->number - 1);
    struct stream_reader *r = open_input(s);
    struct store store = {0};
    store_all(&store, r);
    closing_count(store.count, store.count, 0);
    if (store.count < (size_t)s->number)
        die(EX_DATAERR, "%s: %zu records do not fill %ld shards", stream_name(r), store.count,
            s->number);
    if (s->index >= 0) {
        write_shard(s, r, &store, s->common.output, s->index);
    } else {
        int digits = snprintf(NULL, 0, "%ld", s->number - 1);
        for (long i = 0; i < s->number; i++) {
            char *path = xasprintf("%s.%0*ld.mp%s", s->common.output, digits, i,
                                   s->common.compress ? ".zst" : "");
            write_shard(s, r, &store, path, i);
            free(path);
        }
    }
    store_free(&store);
    stream_close(r);
}

static void run_join(const struct settings *s)
{
    if (s->n_files != 2)
        usage_error("join needs two FILEs ('-' is standard input)");
    struct stream_reader *other = stream_open(s->files[1], NULL);
    struct join *j = join_new(other);
    struct stream_reader *r = stream_open(s->files[0], NULL);
    json_t *header = stream_header_from(stream_header(r), stream_schema(r), s->argc, s->argv);
    join_header(j, stream_name(r), header);
    struct stream_writer *w = create_output(s, header);
    msgpack_object record;
    unsigned long seen = 0;
    for (; stream_next(r, &record); seen++)
        if (!join_record(j, r, &record, w) && !s->inner)
            stream_bad_record(r, NULL, "its id is not in %s (--inner leaves such records out)",
                              stream_name(other));
    if (seen && !stream_written(w))
        die(EX_DATAERR, "%s and %s have no id in common", stream_name(r), stream_name(other));
    closing_count(seen, stream_written(w), seen - stream_written(w));
    stream_finish(w);
    join_free(j);
    stream_close(r);
    stream_close(other);
}

/* ---- looking at streams ---- */

struct tally {
    int64_t label; /* NO_LABEL for nil */
    uint64_t count;
};

static int by_label(const void *a, const void *b)
{
    const struct tally *x = a, *y = b;
    return (x->label > y->label) - (x->label < y->label);
}

static void tally_label(struct tally **tallies, size_t *n, const msgpack_object *label)
{
    int64_t value = label->type == MSGPACK_OBJECT_POSITIVE_INTEGER && label->via.u64 <= INT32_MAX
                        ? (int64_t)label->via.u64
                        : NO_LABEL;
    size_t i = 0;
    while (i < *n && (*tallies)[i].label != value)
        i++;
    if (i == *n) {
        *tallies = xreallocarray(*tallies, ++*n, sizeof **tallies);
        (*tallies)[i] = (struct tally){value, 0};
    }
    (*tallies)[i].count++;
}

static void run_count(const struct settings *s)
{
    plain_text_only(s, "a count");
    struct stream_reader *r = open_input(s);
    struct outfile *f = outfile_open(s->common.output);
    struct tally *tallies = NULL;
    size_t n_labels = 0;
    uint64_t n = 0;
    msgpack_object record;
    for (; stream_next(r, &record); n++) {
        const msgpack_object *label = map_get(&record, "label");
        if (label)
            tally_label(&tallies, &n_labels, label);
    }
    FILE *out = outfile_stream(f);
    fprintf(out, "%" PRIu64 "\n", n);
    if (n_labels)
        qsort(tallies, n_labels, sizeof *tallies, by_label);
    const json_t *classes = json_object_get(stream_header(r), "classes");
    for (size_t i = 0; i < n_labels && verbosity != QUIET; i++) {
        const struct tally *t = &tallies[i];
        const char *name = t->label == NO_LABEL
                               ? NULL
                               : json_string_value(json_array_get(classes, (size_t)t->label));
        if (t->label == NO_LABEL)
            fprintf(out, "nil");
        else
            fprintf(out, "%" PRId64, t->label);
        fprintf(out, "\t%s\t%" PRIu64 "\n", name ? name : "-", t->count);
    }
    outfile_finish(f);
    free(tallies);
    stream_close(r);
}

static void check_file(const char *path)
{
    struct stream_reader *r = stream_open(path, NULL);
    struct checker *c = checker_new(r);
    msgpack_object record;
    unsigned long n = 0;
    for (; stream_next(r, &record); n++)
        checker_record(c, &record);
    inform("%s: %lu '%s' records, all as they should be", stream_name(r), n, stream_schema(r));
    if (!n)
        die(EX_DATAERR, "%s: holds no records", stream_name(r));
    checker_free(c);
    stream_close(r);
}

static void run_check(const struct settings *s)
{
    if (!s->n_files)
        check_file(NULL);
    for (int i = 0; i < s->n_files; i++)
        check_file(s->files[i]);
}

/* ---- the command line ---- */

static void take_delimiter(void *target, const char *option, const char *value)
{
    bool tab = !strcmp(value, "\\t");
    if (!tab && (strlen(value) != 1 || strchr("\"\r\n", *value)))
        usage_error("%s: '%s' is not one character (\\t is a tab)", option, value);
    *(char *)target = tab ? '\t' : *value;
}

#define TEXT(m) OPTION_TEXT(struct settings, m)
#define SET(m) OPTION_SET(struct settings, m)
#define WHOLE(m, min, max) OPTION_WHOLE(struct settings, m, min, max)

/* The rows of several commands. */
#define IMPORT_ROWS                                                                                \
    {"text", 0, "TEMPLATE",                                                                        \
     "what becomes the text: a column's name or number, or text with\n"                            \
     "{NAME} or {NUMBER} in it: 'Question: {2} {3}'",                                              \
     TEXT(import.text)},                                                                           \
        {"id", 0, "TEMPLATE", "what becomes the id (the row's number)", TEXT(import.id)},          \
        {"label", 0, "COLUMN", "what becomes the label (none: all labels nil)",                    \
         TEXT(import.label)},                                                                      \
        {"classes", 0, "A,B,...", "the classes' names, class 0 first", TEXT(import.classes)},      \
        {"labels", 0, "X,Y,...", "what stands for class 0, 1 ... in the label column",             \
         TEXT(import.labels)},                                                                     \
    {                                                                                              \
        "label-map", 0, "X=1,Y=0", "the same, one by one", TEXT(import.label_map)                  \
    }
#define NO_HEADER_ROW                                                                              \
    {                                                                                              \
        "no-header", 0, NULL, "the first row holds data: columns go by number",                    \
            OPTION_CLEAR(struct settings, names)                                                   \
    }
#define SKIP_BAD_ROW                                                                               \
    {                                                                                              \
        "skip-bad", 0, NULL, "pass over bad rows and count them, instead of stopping",             \
            SET(import.skip_bad)                                                                   \
    }
#define NUMBER_ROW(argument, help)                                                                 \
    {                                                                                              \
        NULL, 'n', argument, help, WHOLE(number, 1, INT32_MAX)                                     \
    }

static const struct option_row csv_rows[] = {
    IMPORT_ROWS,
    NO_HEADER_ROW,
    {"delimiter", 0, "CHAR", "what ends a field in from-csv (,)",
     OPTION_OWN(struct settings, delimiter, take_delimiter)},
    SKIP_BAD_ROW,
    OPTIONS_END};
static const struct option_row tsv_rows[] = {IMPORT_ROWS, NO_HEADER_ROW, SKIP_BAD_ROW, OPTIONS_END};
static const struct option_row jsonl_rows[] = {IMPORT_ROWS, SKIP_BAD_ROW, OPTIONS_END};
static const struct option_row json_rows[] = {
    {"header", 0, NULL, "the header as the first line", SET(header)}, OPTIONS_END};
static const struct option_row head_rows[] = {
    NUMBER_ROW("N", "how many (10)"),
    {"skip", 0, "K", "after passing over K", WHOLE(skip, 0, INT64_MAX)},
    OPTIONS_END};
static const struct option_row sample_rows[] = {
    NUMBER_ROW("N", "random records;"),
    {"shuffle", 0, NULL, "in random order (all without -n);\n", SET(shuffle)},
    {"seed", 0, "S", "another choice (0)", WHOLE(seed, 0, INT64_MAX)},
    OPTIONS_END};
static const struct option_row split_rows[] = {
    NUMBER_ROW("N", NULL),
    {"output", 0, "PREFIX", "N shards PREFIX.0.mp ...;", OPTION_WORDS},
    {"index", 0, "I", "shard I alone", WHOLE(index, 0, INT32_MAX)},
    OPTIONS_END};
static const struct option_row join_rows[] = {
    {"inner", 0, NULL, "leave out what has no partner there", SET(inner)}, OPTIONS_END};
static const struct option_row no_rows[] = {OPTIONS_END};

static const struct command commands[] = {
    {"from-csv", "rows to 'example' records:", csv_rows, 29, run_from_csv},
    {"from-tsv", NULL, tsv_rows, 0, run_from_tsv},
    {"from-jsonl", NULL, jsonl_rows, 0, run_from_jsonl},
    {"to-json", "records as JSON, one a line;", json_rows, 0, run_to_json},
    {"to-csv", "records as a table", no_rows, 0, run_to_csv},
    {"cat", "the streams in FILEs, verified, as one", no_rows, 0, run_cat},
    {"head", "the first records;", head_rows, 0, run_head},
    {"sample", "", sample_rows, 0, run_sample},
    {"split", "", split_rows, 0, run_split},
    {"join", "the records of the first FILE with the fields of the second's by id;\n", join_rows, 0,
     run_join},
    {"count", "how many records, in all and by label (-q: in all)", no_rows, 0, run_count},
    {"check", "each FILE against the schema of its records", no_rows, 0, run_check},
    {0}};

static const struct program program = {
    .name = "rec",
    .about = "usage: rec COMMAND [OPTION ...] [FILE ...]\n"
             "Makes record streams of tables, and takes streams apart, puts them together, checks "
             "and\n"
             "shows them.\n"
             "\n"
             "  rec from-csv --id idx --text sentence --label label train.csv >all.mp\n"
             "  rec head -n 10000 all.mp >train.mp; rec head --skip 10000 -n 45 all.mp >shots.mp\n"
             "  rec to-json teacher.test.mp | jq -c 'select(.epistemic > 0.1)'\n"
             "\n"
             "Commands:\n",
    .commands = commands,
    .name_column = 6,
    .help_column = 28};

int main(int argc, char **argv)
{
    program_start(&program, argc, argv);
    const struct command *command = command_find(&program, argc, argv);
    struct settings s = {
        .import = {.row_remedy = "--skip-bad passes over such rows",
                   .label_remedy = "--labels or --label-map tells what it stands for"},
        .delimiter = ',',
        .names = true,
        .number = -1,
        .index = -1,
        .argc = argc,
        .argv = argv};
    /* Messages name argv[0], and operands move; the stream's header has them as they were. */
    char **arguments = xcalloc((size_t)argc, sizeof *arguments);
    memcpy(arguments, argv + 1, (size_t)(argc - 1) * sizeof *arguments);
    char *name = xasprintf("rec %s", command->name);
    arguments[0] = name;
    int first = options_parse(&program, command->rows, argc - 1, arguments, &s.common);
    s.files = arguments + first;
    s.n_files = argc - 1 - first;
    command->run(&s);
    free(arguments);
    free(name);
    return 0;
}
