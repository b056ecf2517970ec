/* Record streams: header map, record maps, trailer map; msgpack, optionally under zstd.
 *
 * On the wire (man/duq-stream.5 has the whole of it):
 *   header   map, first key "duq" (format version 1), then "schema" (record type) and what the
 *            programs that made the stream say of it: "task", "classes", "model", "made" ...
 *   record   map, of the header's schema (schemas/NAME.json)
 *   trailer  map, first key "end" (record count), then "xxh64" (of the records' bytes) and "header"
 *            (XXH64 of the header's bytes), each 16 hex digits
 * Streams concatenate, plain and compressed ones in any order. */
#ifndef DUQ_STREAM_H
#define DUQ_STREAM_H

#include <jansson.h>
#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STREAM_VERSION = 1 };

/* ---- reading ---- */

struct stream_reader;

/* path NULL or "-": standard input. schema: the record type the caller can use, or NULL for any.
 * Reads up to the first header. Dies: EX_NOINPUT when it cannot be opened, EX_DATAERR when it is
 * not a stream, is of another schema or another format version. */
struct stream_reader *stream_open(const char *path, const char *schema);
/* As stream_open(), for a program's operands: the files are read in order as one stream; none at
 * all is standard input. */
struct stream_reader *stream_open_all(char *const *paths, int count, const char *schema);

/* The first header as a JSON object; borrowed, lives as long as the reader. */
const json_t *stream_header(const struct stream_reader *r);
const char *stream_schema(const struct stream_reader *r);
/* The user's name for the file now being read, for messages ("standard input"). */
const char *stream_name(const struct stream_reader *r);

/* The next record, across concatenated streams; false at the end. The object and what it points to
 * live until the next call. Dies with EX_DATAERR, naming the record, at a cut or corrupted stream
 * and at a header that disagrees with the first in schema, model, tokenizer, task or classes. */
bool stream_next(struct stream_reader *r, msgpack_object *record);
/* As stream_next(), but the record's bytes as they are, known to be one whole msgpack object. */
bool stream_next_bytes(struct stream_reader *r, const char **bytes, size_t *len);
/* Memory, 8-byte aligned, that lives as long as the record last returned by stream_next(). */
void *stream_alloc(struct stream_reader *r, size_t size);

/* Number of the record last returned, counted from 1 in its file (over concatenated streams). */
uint64_t stream_record_number(const struct stream_reader *r);

/* Dies with EX_DATAERR: "FILE: record N (id ID): MESSAGE". id may be NULL. */
_Noreturn void stream_bad_record(const struct stream_reader *r, const char *id, const char *format,
                                 ...) __attribute__((format(printf, 3, 4)));

void stream_close(struct stream_reader *r);

/* ---- writing ---- */

struct stream_writer;

/* A header for a new stream that follows from an input's: a copy of it (or an empty one for NULL)
 * with "schema" replaced and this program's step appended to "made". The caller sets more keys. */
json_t *stream_header_from(const json_t *input, const char *schema, int argc, char **argv);

/* path NULL or "-": standard output; otherwise the file appears when stream_finish() has run.
 * Takes over the header. */
struct stream_writer *stream_create(const char *path, bool compress, json_t *header);
/* Pack exactly one map into the packer, then commit it. */
msgpack_packer *stream_packer(struct stream_writer *w);
void stream_commit(struct stream_writer *w);
/* The same of a record whose values are not this program's own: what readers would refuse (too many
 * values, too deep) is an error (65). stream_commit() looks at the size alone. */
void stream_commit_any(struct stream_writer *w);
/* An already encoded record, as it is. */
void stream_write_raw(struct stream_writer *w, const void *bytes, size_t len);
/* Hands what is complete to the next program now, for writers whose records come slowly. */
void stream_flush(struct stream_writer *w);
uint64_t stream_written(const struct stream_writer *w);
/* Trailer, flush, rename; dies with EX_IOERR when anything was not written. */
void stream_finish(struct stream_writer *w);

/* ---- msgpack helpers ---- */

bool str_is(const msgpack_object_str *s, const char *text);
/* A map's value by key, NULL when absent. */
const msgpack_object *map_get(const msgpack_object *map, const char *key);
/* The whole object that the bytes are, as a tree whose strings point into them (empty ones at "");
 * false where it is not msgpack or nests too deep. */
bool object_unpack(msgpack_zone *zone, const char *bytes, size_t len, msgpack_object *object);
/* What the object has that no reader takes ("more than 1048576 values ..."), for the caller to
 * free; NULL: nothing. */
char *object_excess(const char *bytes, size_t len);
/* What a packer writes by, into a struct buf. */
int pack_into_buf(void *buf, const char *bytes, size_t len);
/* Packs any JSON value. */
void pack_json(msgpack_packer *p, const json_t *value);
/* Any msgpack value as JSON (bin as null; use the schemas for those). New reference. */
json_t *json_from_msgpack(const msgpack_object *object);

#endif
