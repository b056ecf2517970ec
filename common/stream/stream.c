#include "common/stream/stream.h"

#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

/* Records nest little; what nests deeper is not ours and would exhaust the stack. */
enum { CHUNK = 1 << 16 };

/* The keys in which concatenated headers must agree: they say what a record means. */
static const char *const essential[] = {"schema",  "task",         "classes", "tokenizer",
                                        "model",   "class_tokens", "prompts", "head",
                                        "adapter", "weights"};

struct stream_reader {
    int fd;
    char *name, *schema;
    json_t *header;
    ZSTD_DStream *zstd; /* NULL while the bytes are plain */
    bool frame_open;    /* inside a zstd frame */
    struct buf raw;     /* bytes from the file, not yet decoded */
    size_t raw_at;
    bool raw_end;
    struct buf data; /* decoded bytes */
    size_t at;
    msgpack_unpacked object;
    XXH64_state_t *hash;
    uint64_t count;  /* records of the present part */
    uint64_t number; /* records of all parts */
    bool inside;     /* between a header and its trailer */
};

static _Noreturn void bad_stream(const struct stream_reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void bad_stream(const struct stream_reader *r, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    die(EX_DATAERR, "%s: after record %" PRIu64 ": %s", r->name, r->number, text);
}

/* ---- bytes ---- */

static bool fill_raw(struct stream_reader *r)
{
    if (r->raw_end)
        return false;
    if (r->raw_at == r->raw.len)
        r->raw_at = r->raw.len = 0;
    buf_reserve(&r->raw, CHUNK);
    ssize_t n;
    do
        n = read(r->fd, r->raw.data + r->raw.len, CHUNK);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        die(EX_IOERR, "%s: after record %" PRIu64 ": %s", r->name, r->number, strerror(errno));
    if (n == 0)
        r->raw_end = true;
    r->raw.len += (size_t)n;
    return n > 0;
}

static bool starts_zstd(const char *p, size_t len)
{
    return len >= 4 && !memcmp(p, "\x28\xb5\x2f\xfd", 4);
}

/* At a boundary between plain streams, decoded bytes that begin a zstd frame go back to the raw
 * side. */
static void push_back(struct stream_reader *r)
{
    struct buf rest = {0};
    buf_add(&rest, r->data.data + r->at, r->data.len - r->at);
    buf_add(&rest, r->raw.data + r->raw_at, r->raw.len - r->raw_at);
    buf_free(&r->raw);
    r->raw = rest;
    r->raw_at = 0;
    r->at = r->data.len = 0;
}

/* Decodes more bytes to the end of data; false at the end of the input. */
static bool fill(struct stream_reader *r)
{
    if (r->at) {
        memmove(r->data.data, r->data.data + r->at, r->data.len - r->at);
        r->data.len -= r->at;
        r->at = 0;
    }
    for (;;) {
        if (!r->frame_open) {
            while (r->raw.len - r->raw_at < 4 && fill_raw(r))
                ;
            if (r->raw_at == r->raw.len)
                return false;
            /* Between frames and streams alone may the encoding change. */
            if (!r->inside && r->data.len == 0) {
                bool zstd = starts_zstd(r->raw.data + r->raw_at, r->raw.len - r->raw_at);
                if (zstd && !r->zstd && !(r->zstd = ZSTD_createDStream()))
                    die(EX_OSERR, "out of memory");
                if (!zstd) {
                    ZSTD_freeDStream(r->zstd);
                    r->zstd = NULL;
                }
            }
            if (!r->zstd) {
                buf_add(&r->data, r->raw.data + r->raw_at, r->raw.len - r->raw_at);
                r->raw_at = r->raw.len;
                return true;
            }
            ZSTD_DCtx_reset(r->zstd, ZSTD_reset_session_only);
            r->frame_open = true;
        }
        buf_reserve(&r->data, CHUNK);
        ZSTD_inBuffer in = {r->raw.data, r->raw.len, r->raw_at};
        ZSTD_outBuffer out = {r->data.data + r->data.len, CHUNK, 0};
        size_t left = ZSTD_decompressStream(r->zstd, &out, &in);
        if (ZSTD_isError(left))
            bad_stream(r, "the zstd data is corrupted (%s)", ZSTD_getErrorName(left));
        r->raw_at = in.pos;
        r->data.len += out.pos;
        if (left == 0)
            r->frame_open = false;
        if (out.pos)
            return true;
        if (left && r->raw_at == r->raw.len && !fill_raw(r))
            bad_stream(r, "the zstd data ends in the middle: the stream was cut off");
    }
}

/* ---- objects ---- */

/* Reads the next object of whatever kind; false at the end of the input. start, len: its bytes. */
static bool next_object(struct stream_reader *r, const char **start, size_t *len)
{
    for (;;) {
        if (!r->inside && r->at < r->data.len && !r->zstd &&
            starts_zstd(r->data.data + r->at, r->data.len - r->at))
            push_back(r);
        size_t off = 0, have = r->data.len - r->at;
        msgpack_unpack_return got =
            have ? msgpack_unpack_next(&r->object, r->data.data + r->at, have, &off)
                 : MSGPACK_UNPACK_CONTINUE;
        switch (got) {
        case MSGPACK_UNPACK_SUCCESS:
        case MSGPACK_UNPACK_EXTRA_BYTES:
            *start = r->data.data + r->at;
            *len = off;
            r->at += off;
            return true;
        case MSGPACK_UNPACK_CONTINUE:
            if (fill(r))
                continue;
            if (have)
                bad_stream(r, "the stream was cut off in the middle of a record; make it again");
            return false;
        case MSGPACK_UNPACK_NOMEM_ERROR:
            die(EX_OSERR, "out of memory");
        default:
            bad_stream(r, "the bytes are not msgpack: the stream is corrupted or not a duq stream");
        }
    }
}

const msgpack_object *map_get(const msgpack_object *map, const char *key)
{
    if (map->type != MSGPACK_OBJECT_MAP)
        return NULL;
    size_t n = strlen(key);
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        if (kv->key.type == MSGPACK_OBJECT_STR && kv->key.via.str.size == n &&
            !memcmp(kv->key.via.str.ptr, key, n))
            return &kv->val;
    }
    return NULL;
}

static bool first_key_is(const msgpack_object *map, const char *key)
{
    if (map->type != MSGPACK_OBJECT_MAP || map->via.map.size == 0)
        return false;
    const msgpack_object *k = &map->via.map.ptr[0].key;
    return k->type == MSGPACK_OBJECT_STR && k->via.str.size == strlen(key) &&
           !memcmp(k->via.str.ptr, key, k->via.str.size);
}

json_t *json_from_msgpack(const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        return json_boolean(o->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return json_integer((json_int_t)o->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return json_integer((json_int_t)o->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64: {
        json_t *real = json_real(o->via.f64);
        return real ? real : json_null(); /* NaN and infinities have no JSON */
    }
    case MSGPACK_OBJECT_STR: {
        json_t *s = json_stringn(o->via.str.ptr, o->via.str.size);
        return s ? s : json_null(); /* not UTF-8 */
    }
    case MSGPACK_OBJECT_ARRAY: {
        json_t *a = json_array();
        for (uint32_t i = 0; i < o->via.array.size; i++)
            json_array_append_new(a, json_from_msgpack(&o->via.array.ptr[i]));
        return a;
    }
    case MSGPACK_OBJECT_MAP: {
        json_t *m = json_object();
        for (uint32_t i = 0; i < o->via.map.size; i++) {
            const msgpack_object_kv *kv = &o->via.map.ptr[i];
            if (kv->key.type == MSGPACK_OBJECT_STR)
                json_object_setn_new(m, kv->key.via.str.ptr, kv->key.via.str.size,
                                     json_from_msgpack(&kv->val));
        }
        return m;
    }
    default:
        return json_null();
    }
}

/* Takes in a header object: the first one is kept, later ones are held against it. */
static void take_header(struct stream_reader *r, const char *wanted)
{
    const msgpack_object *o = &r->object.data;
    const msgpack_object *version = map_get(o, "duq");
    if (version->type != MSGPACK_OBJECT_POSITIVE_INTEGER || version->via.u64 != STREAM_VERSION)
        bad_stream(r, "stream format version is not %d: made by another duq", STREAM_VERSION);
    json_t *header = json_from_msgpack(o);
    const char *schema = json_string_value(json_object_get(header, "schema"));
    if (!schema)
        bad_stream(r, "the header names no schema");
    if (wanted && strcmp(schema, wanted))
        die(EX_DATAERR, "%s: holds '%s' records, '%s' records are wanted here", r->name, schema,
            wanted);
    r->inside = true;
    r->count = 0;
    XXH64_reset(r->hash, 0);
    if (!r->header) {
        r->header = header;
        r->schema = xstrdup(schema);
        return;
    }
    for (size_t i = 0; i < sizeof essential / sizeof *essential; i++) {
        const json_t *a = json_object_get(r->header, essential[i]);
        const json_t *b = json_object_get(header, essential[i]);
        if (a != b && !(a && b && json_equal(a, b)))
            bad_stream(r, "a concatenated stream's header has another '%s' than the first's",
                       essential[i]);
    }
    json_decref(header);
}

static void take_trailer(struct stream_reader *r)
{
    const msgpack_object *count = map_get(&r->object.data, "end");
    const msgpack_object *sum = map_get(&r->object.data, "xxh64");
    if (count->type != MSGPACK_OBJECT_POSITIVE_INTEGER || !sum || sum->type != MSGPACK_OBJECT_STR ||
        sum->via.str.size != 16)
        bad_stream(r, "the trailer is damaged");
    if (count->via.u64 != r->count)
        bad_stream(r, "the trailer counts %" PRIu64 " records where %" PRIu64 " were read",
                   count->via.u64, r->count);
    char have[17];
    snprintf(have, sizeof have, "%016" PRIx64, (uint64_t)XXH64_digest(r->hash));
    if (memcmp(have, sum->via.str.ptr, 16))
        bad_stream(r, "the checksum of the last %" PRIu64 " records is wrong: corrupted", r->count);
    r->inside = false;
}

struct stream_reader *stream_open(const char *path, const char *schema)
{
    struct stream_reader *r = xcalloc(1, sizeof *r);
    if (!path || !strcmp(path, "-")) {
        r->name = xstrdup("standard input");
        r->fd = STDIN_FILENO;
    } else {
        r->name = xstrdup(path);
        r->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (r->fd < 0)
            die_errno("%s", path);
    }
    if (!(r->hash = XXH64_createState()))
        die(EX_OSERR, "out of memory");
    msgpack_unpacked_init(&r->object);
    const char *start;
    size_t len;
    if (!next_object(r, &start, &len))
        die(EX_DATAERR, "%s: empty, not even a header: did the program before it fail?", r->name);
    if (!first_key_is(&r->object.data, "duq"))
        die(EX_DATAERR, "%s: not a duq stream (rec from-csv makes one of a CSV file)", r->name);
    take_header(r, schema);
    return r;
}

const json_t *stream_header(const struct stream_reader *r)
{
    return r->header;
}

const char *stream_schema(const struct stream_reader *r)
{
    return r->schema;
}

const char *stream_name(const struct stream_reader *r)
{
    return r->name;
}

uint64_t stream_record_number(const struct stream_reader *r)
{
    return r->number;
}

bool stream_next(struct stream_reader *r, msgpack_object *record)
{
    for (;;) {
        const char *start;
        size_t len;
        if (!next_object(r, &start, &len)) {
            if (r->inside)
                bad_stream(r, "the stream ends without its trailer: it was cut off; make it again");
            return false;
        }
        const msgpack_object *o = &r->object.data;
        if (!r->inside) {
            if (!first_key_is(o, "duq"))
                bad_stream(r, "bytes after the trailer are not another stream");
            take_header(r, r->schema);
        } else if (first_key_is(o, "end")) {
            take_trailer(r);
        } else if (first_key_is(o, "duq")) {
            bad_stream(r, "a new stream begins where the trailer is due: one was cut off");
        } else if (o->type != MSGPACK_OBJECT_MAP) {
            bad_stream(r, "record %" PRIu64 " is not a map: corrupted", r->number + 1);
        } else {
            XXH64_update(r->hash, start, len);
            r->count++;
            r->number++;
            *record = *o;
            return true;
        }
    }
}

void stream_bad_record(const struct stream_reader *r, const char *id, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (id)
        die(EX_DATAERR, "%s: record %" PRIu64 " (id %s): %s", r->name, r->number, id, text);
    die(EX_DATAERR, "%s: record %" PRIu64 ": %s", r->name, r->number, text);
}

void stream_close(struct stream_reader *r)
{
    if (!r)
        return;
    if (r->fd != STDIN_FILENO)
        close(r->fd);
    ZSTD_freeDStream(r->zstd);
    XXH64_freeState(r->hash);
    msgpack_unpacked_destroy(&r->object);
    json_decref(r->header);
    buf_free(&r->raw);
    buf_free(&r->data);
    free(r->schema);
    free(r->name);
    free(r);
}

/* ---- writing ---- */

struct stream_writer {
    struct outfile *file;
    ZSTD_CStream *zstd;
    struct buf packed; /* bytes waiting to be compressed or written */
    size_t committed;  /* how many of them belong to whole records */
    msgpack_packer packer;
    XXH64_state_t *hash;
    uint64_t count;
};

static int append(void *data, const char *bytes, size_t len)
{
    buf_add(data, bytes, len);
    return 0;
}

void pack_json(msgpack_packer *p, const json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        msgpack_pack_map(p, json_object_size(value));
        json_object_foreach((json_t *)value, key, item)
        {
            msgpack_pack_str_with_body(p, key, strlen(key));
            pack_json(p, item);
        }
        break;
    case JSON_ARRAY:
        msgpack_pack_array(p, json_array_size(value));
        json_array_foreach(value, i, item) pack_json(p, item);
        break;
    case JSON_STRING:
        msgpack_pack_str_with_body(p, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        msgpack_pack_int64(p, json_integer_value(value));
        break;
    case JSON_REAL:
        msgpack_pack_double(p, json_real_value(value));
        break;
    case JSON_TRUE:
        msgpack_pack_true(p);
        break;
    case JSON_FALSE:
        msgpack_pack_false(p);
        break;
    case JSON_NULL:
        msgpack_pack_nil(p);
        break;
    }
}

json_t *stream_header_from(const json_t *input, const char *schema, int argc, char **argv)
{
    json_t *h = json_object();
    json_object_set_new(h, "duq", json_integer(STREAM_VERSION));
    json_object_set_new(h, "schema", json_string(schema));
    json_t *made = json_array();
    if (input) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)input, key, value)
        {
            if (!strcmp(key, "made")) {
                json_decref(made);
                made = json_deep_copy(value);
            } else if (strcmp(key, "duq") && strcmp(key, "schema")) {
                json_object_set_new(h, key, json_deep_copy(value));
            }
        }
    }
    struct buf line = {0};
    for (int i = 1; i < argc; i++)
        buf_addf(&line, "%s%s", i > 1 ? " " : "", argv[i]);
    json_t *arguments = json_stringn(line.data ? line.data : "", line.len);
    json_array_append_new(made,
                          json_pack("{s:s, s:s, s:o}", "program", program_name, "version",
                                    DUQ_VERSION, "arguments", arguments ? arguments : json_null()));
    buf_free(&line);
    json_object_set_new(h, "made", made);
    return h;
}

static void write_out(struct stream_writer *w, const void *bytes, size_t len)
{
    FILE *f = outfile_stream(w->file);
    if (fwrite(bytes, 1, len, f) != len)
        die(EX_IOERR, "%s: not written: %s", outfile_name(w->file), strerror(errno));
}

static void drain(struct stream_writer *w, ZSTD_EndDirective how)
{
    if (!w->zstd) {
        write_out(w, w->packed.data, w->packed.len);
    } else {
        ZSTD_inBuffer in = {w->packed.data, w->packed.len, 0};
        size_t left;
        do {
            char bytes[CHUNK];
            ZSTD_outBuffer out = {bytes, sizeof bytes, 0};
            left = ZSTD_compressStream2(w->zstd, &out, &in, how);
            if (ZSTD_isError(left))
                die(EX_SOFTWARE, "zstd: %s", ZSTD_getErrorName(left));
            write_out(w, bytes, out.pos);
        } while (in.pos < in.size || (how != ZSTD_e_continue && left));
    }
    w->packed.len = w->committed = 0;
}

struct stream_writer *stream_create(const char *path, bool compress, json_t *header)
{
    struct stream_writer *w = xcalloc(1, sizeof *w);
    w->file = outfile_open(path);
    if (compress && !(w->zstd = ZSTD_createCStream()))
        die(EX_OSERR, "out of memory");
    if (!(w->hash = XXH64_createState()))
        die(EX_OSERR, "out of memory");
    XXH64_reset(w->hash, 0);
    msgpack_packer_init(&w->packer, &w->packed, append);
    pack_json(&w->packer, header);
    w->committed = w->packed.len;
    json_decref(header);
    return w;
}

msgpack_packer *stream_packer(struct stream_writer *w)
{
    return &w->packer;
}

void stream_commit(struct stream_writer *w)
{
    XXH64_update(w->hash, w->packed.data + w->committed, w->packed.len - w->committed);
    w->committed = w->packed.len;
    w->count++;
    if (w->packed.len >= CHUNK)
        drain(w, ZSTD_e_continue);
}

void stream_write_raw(struct stream_writer *w, const void *bytes, size_t len)
{
    buf_add(&w->packed, bytes, len);
    stream_commit(w);
}

void stream_flush(struct stream_writer *w)
{
    drain(w, ZSTD_e_flush);
    if (fflush(outfile_stream(w->file)))
        die(EX_IOERR, "%s: not written: %s", outfile_name(w->file), strerror(errno));
}

uint64_t stream_written(const struct stream_writer *w)
{
    return w->count;
}

void stream_finish(struct stream_writer *w)
{
    char sum[17];
    snprintf(sum, sizeof sum, "%016" PRIx64, (uint64_t)XXH64_digest(w->hash));
    msgpack_pack_map(&w->packer, 2);
    msgpack_pack_str_with_body(&w->packer, "end", 3);
    msgpack_pack_uint64(&w->packer, w->count);
    msgpack_pack_str_with_body(&w->packer, "xxh64", 5);
    msgpack_pack_str_with_body(&w->packer, sum, 16);
    drain(w, ZSTD_e_end);
    outfile_finish(w->file);
    ZSTD_freeCStream(w->zstd);
    XXH64_freeState(w->hash);
    buf_free(&w->packed);
    free(w);
}
