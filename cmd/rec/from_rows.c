/* Rows of tables to records. */
#include "cmd/rec/commands.h"
#include "common/stream/import.h"
#include "common/util/diag.h"
#include "common/util/progress.h"

#include <inttypes.h>

static void check_import(const struct import_options *o)
{
    if (!o->text)
        usage_error("--text says which column the text is in");
    if (o->labels && o->label_map)
        usage_error("--labels and --label-map say the same in two ways: give one");
    if ((o->labels || o->label_map) && !o->label)
        usage_error("%s needs --label COLUMN", o->labels ? "--labels" : "--label-map");
}

static struct import *open_import(struct rows *rows, const struct import_options *o)
{
    static const char *const options[] = {[IMPORT_ID] = "--id",
                                          [IMPORT_TEXT] = "--text",
                                          [IMPORT_CLASSES] = "--classes",
                                          [IMPORT_LABELS] = "--labels",
                                          [IMPORT_LABEL_MAP] = "--label-map"};
    struct import_fault fault;
    struct import *im = import_new(rows, o, &fault);
    if (im)
        return im;
    rows_close(rows);
    usage_error("%s%s", options[fault.part], fault.text);
}

static void run_from(const struct settings *s, const struct import_options *o,
                     enum row_format format)
{
    check_import(o);
    struct rows *rows = rows_open(format, s->files, s->n_files, s->delimiter, s->names);
    struct import *im = open_import(rows, o);
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
    if (import_empty(im))
        warn("%" PRIu64 " of %" PRIu64 " texts are empty: a prompt of such a text asks about "
             "nothing",
             import_empty(im), written);
    if (skipped && !written)
        die(EX_DATAERR, "no row could be used");
    closing_count(skipped + written, written, skipped);
    stream_finish(w);
    import_free(im);
    rows_close(rows);
}

void run_from_csv(const struct settings *s)
{
    run_from(s, &s->import, ROWS_CSV);
}

void run_from_tsv(const struct settings *s)
{
    run_from(s, &s->import, ROWS_TSV);
}

void run_from_jsonl(const struct settings *s)
{
    run_from(s, &s->import, ROWS_JSONL);
}

void run_from_lines(const struct settings *s)
{
    struct import_options whole_line = s->import;
    whole_line.text = "1";
    run_from(s, &whole_line, ROWS_LINES);
}
