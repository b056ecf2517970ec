/* JSON lines back to the records that they were printed of. */
#include "cmd/rec/commands.h"
#include "common/stream/json_records.h"
#include "common/util/progress.h"

void run_from_json(const struct settings *s)
{
    if (s->n_files > 1)
        usage_error("from-json reads one file, whose first line is the header");
    struct json_records *j = json_records_open(s->n_files ? s->files[0] : NULL);
    struct stream_writer *w = create_output(s, json_deep_copy(json_records_header(j)));
    const char *bytes;
    size_t len;
    progress_start("records", 0);
    while (json_records_next(j, &bytes, &len)) {
        stream_write_raw(w, bytes, len);
        progress_update(stream_written(w));
    }
    progress_end();
    closing_count(stream_written(w), stream_written(w), 0);
    stream_finish(w);
    json_records_close(j);
}
