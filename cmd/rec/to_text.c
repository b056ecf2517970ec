/* Records as JSON lines and as tables. */
#include "cmd/rec/commands.h"
#include "common/stream/print.h"
#include "common/util/diag.h"
#include "common/util/json.h"
#include "common/util/mem.h"
#include "common/util/outfile.h"

#include <stdlib.h>

static void write_text(struct buf *text, struct outfile *f)
{
    outfile_write_text(f, text->data, text->len);
    text->len = 0;
}

static void add_header(struct buf *text, const struct stream_reader *r)
{
    char *header = json_text(stream_header(r), JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (!header)
        die(EX_OSERR, "out of memory");
    buf_addf(text, "%s\n", header);
    free(header);
}

void run_to_json(const struct settings *s)
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

void run_to_csv(const struct settings *s)
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
