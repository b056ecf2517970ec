/* Streams to streams: put together, cut, drawn from, joined. */
#include "cmd/rec/commands.h"
#include "common/stream/join.h"
#include "common/stream/store.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/progress.h"

#include <inttypes.h>
#include <stdlib.h>

void run_cat(const struct settings *s)
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

void run_head(const struct settings *s)
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
    if (wanted) /* of none, it need not have one */
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

void run_sample(const struct settings *s)
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

void run_split(const struct settings *s)
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

void run_join(const struct settings *s)
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
