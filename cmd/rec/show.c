/* Records as a table, and how they are spread, for people. */
#include "common/stream/show.h"
#include "cmd/rec/commands.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/outfile.h"
#include "common/util/terminal.h"

void run_show(const struct settings *s)
{
    enum { ROWS = 10 };
    plain_text_only(s, "a table");
    struct stream_reader *r = open_input(s);
    struct show *show = show_new(r, s->number < 0 ? ROWS : (size_t)s->number);
    msgpack_object record;
    unsigned long n = 0;
    for (; stream_next(r, &record); n++)
        show_add(show, r, &record);
    struct outfile *f = outfile_open(s->common.output);
    struct buf text = {0};
    size_t columns = terminal_columns();
    show_table(show, &text, s->full ? SIZE_MAX : columns);
    if (!s->table)
        show_histograms(show, &text, columns);
    outfile_write(f, text.data, text.len);
    closing_count(n, n, 0);
    outfile_finish(f);
    buf_free(&text);
    show_free(show);
    stream_close(r);
}
