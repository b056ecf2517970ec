#include "common/stream/stream.h"

#include "common/stream/header.h"
#include "common/util/diag.h"
#include "common/util/digest.h"
#include "common/util/input.h"
#include "common/util/json.h"
#include "common/util/mem.h"
#include "common/util/outfile.h"
#include "common/util/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

/* PACKED is when records are written though the input does not pause: what a pipe holds, so that
 * the next program is not left without for long. */
enum { CHUNK = 1 << 18, PACKED = 1 << 16, ZONE = 8192 };

/* What bounds what a corrupted or hostile object can make the reader take up, and none of ours
 * comes near: its bytes, how deep it is, the values in it, each of which takes many times its byte
 * in memory, and the keys of a map, which are looked through one by one. */
enum { MAX_RECORD = 1 << 26, MAX_DEPTH = 24, MAX_ITEMS = 1 << 20, MAX_KEYS = 1 << 12 };

/* Bytes with those before at already used up. */
struct unread {
    struct buf bytes;
    size_t at;
};

struct stream_reader {
    char **paths;
    int n_paths, opened;
    int fd;
    char *name, *schema;
    json_t *header;
    struct unread raw;  /* zstd bytes, not yet decoded */
    struct unread data; /* plain or decoded bytes */
    ZSTD_DCtx *zstd;
    bool compressed; /* raw is where the file's bytes go, not data */
    bool frame_open; /* inside a zstd frame */
    msgpack_zone zone;
    XXH64_state_t *hash;
    uint64_t header_sum;
    uint64_t count;  /* records of the present part */
    uint64_t number; /* records of the present file */
    int parts;       /* headers seen in the present file */
    bool mixed;      /* headers of several ways to compute, and it was said */
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

static _Noreturn void not_a_stream(const struct stream_reader *r)
{
    die(EX_DATAERR, "%s: not a duq stream (rec from-csv makes one of a CSV file)", r->name);
}

/* ---- bytes ---- */

static const char *rest(const struct unread *w)
{
    return w->bytes.data + w->at;
}

static size_t left(const struct unread *w)
{
    return w->bytes.len - w->at;
}

static void drop_used(struct unread *w)
{
    if (!w->at)
        return;
    memmove(w->bytes.data, w->bytes.data + w->at, left(w));
    w->bytes.len -= w->at;
    w->at = 0;
}

static void move_rest(struct unread *to, struct unread *from)
{
    to->bytes.len = to->at = 0;
    buf_add(&to->bytes, rest(from), left(from));
    from->bytes.len = from->at = 0;
}

/* Reads more of the file; false at its end. */
static bool read_more(struct stream_reader *r, struct unread *into)
{
    drop_used(into);
    buf_reserve(&into->bytes, CHUNK);
    ssize_t n = input_read(r->fd, into->bytes.data + into->bytes.len, CHUNK);
    if (n < 0)
        die_errno("%s: after record %" PRIu64, r->name, r->number);
    into->bytes.len += (size_t)n;
    return n > 0;
}

/* Four bytes, unless the file ends before. */
static void read_magic(struct stream_reader *r, struct unread *w)
{
    while (left(w) < 4 && read_more(r, w))
        ;
}

/* A zstd frame or a skippable one, as pzstd puts in front. */
static bool starts_zstd(const struct unread *w)
{
    const unsigned char *p = (const unsigned char *)rest(w);
    return left(w) >= 4 && (!memcmp(p, "\x28\xb5\x2f\xfd", 4) ||
                            ((p[0] & 0xf0) == 0x50 && !memcmp(p + 1, "\x2a\x4d\x18", 3)));
}

/* Gets more decoded bytes; false at the end of the file. Between streams it may also return with
 * none, for the encoding may change there. */
static bool fill(struct stream_reader *r)
{
    if (!r->compressed)
        return read_more(r, &r->data);
    drop_used(&r->data);
    for (;;) {
        if (!r->frame_open) {
            read_magic(r, &r->raw);
            if (!left(&r->raw))
                return false;
            if (!starts_zstd(&r->raw))
                bad_stream(r, "the zstd data goes on with something else: the stream is corrupted");
            ZSTD_DCtx_reset(r->zstd, ZSTD_reset_session_only);
            r->frame_open = true;
        }
        buf_reserve(&r->data.bytes, CHUNK);
        ZSTD_inBuffer in = {rest(&r->raw), left(&r->raw), 0};
        ZSTD_outBuffer out = {r->data.bytes.data + r->data.bytes.len, CHUNK, 0};
        size_t more = ZSTD_decompressStream(r->zstd, &out, &in);
        if (ZSTD_getErrorCode(more) == ZSTD_error_memory_allocation)
            die(EX_OSERR, "%s: out of memory for its zstd data", r->name);
        if (ZSTD_isError(more))
            bad_stream(r, "the zstd data is corrupted (%s)", ZSTD_getErrorName(more));
        r->raw.at += in.pos;
        r->data.bytes.len += out.pos;
        r->frame_open = more != 0;
        if (out.pos || (!r->frame_open && !r->inside))
            return true;
        if (r->frame_open && !left(&r->raw) && !read_more(r, &r->raw))
            bad_stream(r, "the zstd data ends in the middle: the stream was cut off");
    }
}

/* Opens the next of the paths; without any, standard input. */
static void open_file(struct stream_reader *r)
{
    const char *path = r->n_paths ? r->paths[r->opened] : "-";
    r->opened++;
    r->number = 0;
    r->parts = 0;
    free(r->name);
    r->name = xstrdup(strcmp(path, "-") ? path : "standard input");
    r->fd = input_open(path);
}

static bool next_file(struct stream_reader *r)
{
    if (!r->parts)
        die(EX_DATAERR, "%s: empty, not even a header: did the program before it fail?", r->name);
    if (r->opened >= r->n_paths)
        return false;
    input_close(r->fd);
    open_file(r);
    return true;
}

/* Between streams: sees to it that data holds the next one's first bytes, going from plain to zstd
 * and back and from file to file; false at the end of the last. */
static bool find_stream(struct stream_reader *r)
{
    for (;;) {
        if (r->compressed && left(&r->data))
            return true;
        if (r->compressed && r->frame_open) {
            fill(r);
            continue;
        }
        struct unread *w = r->compressed ? &r->raw : &r->data;
        read_magic(r, w);
        if (!left(w)) {
            if (!next_file(r))
                return false;
        } else if (starts_zstd(w)) {
            if (!r->zstd && !(r->zstd = ZSTD_createDCtx()))
                die(EX_OSERR, "out of memory");
            if (!r->compressed)
                move_rest(&r->raw, &r->data);
            r->compressed = true;
            fill(r);
        } else {
            if (r->compressed)
                move_rest(&r->data, &r->raw);
            r->compressed = false;
            return true;
        }
    }
}

/* ---- objects ---- */

/* How far the bytes of one object have been looked through: what is still to come at each level. */
struct scan {
    size_t pos;
    unsigned depth;
    uint64_t items[MAX_DEPTH];
    uint64_t all; /* values so far, and those that are announced */
};

enum found { WHOLE, MORE, CORRUPTED, TOO_LARGE };

static uint64_t big_endian(const unsigned char *p, unsigned width)
{
    uint64_t v = 0;
    while (width--)
        v = v << 8 | *p++;
    return v;
}

/* Finds where the object that begins at p ends, without building it: so that nothing is allocated
 * for what a damaged length only claims to be there. Goes on where it left off after MORE. */
static enum found scan_object(const char *bytes, size_t have, struct scan *s)
{
    /* For the codes 0xc0 to 0xdf: the width of a length that follows, or of the value itself.
     * Extension types (0xc7 to 0xc9, 0xd4 to 0xd8) and 0xc1 have no place in a stream. */
    static const unsigned char length_width[32] = {
        [0x04] = 1, [0x05] = 2, [0x06] = 4, [0x19] = 1, [0x1a] = 2,
        [0x1b] = 4, [0x1c] = 2, [0x1d] = 4, [0x1e] = 2, [0x1f] = 4};
    static const unsigned char value_width[32] = {
        [0x0a] = 4, [0x0b] = 8, [0x0c] = 1, [0x0d] = 2, [0x0e] = 4,
        [0x0f] = 8, [0x10] = 1, [0x11] = 2, [0x12] = 4, [0x13] = 8};
    const unsigned char *p = (const unsigned char *)bytes;
    while (s->depth) {
        if (!s->items[s->depth - 1]) {
            s->depth--;
            continue;
        }
        if (s->pos >= have)
            return MORE;
        unsigned c = p[s->pos];
        uint64_t head = 1, body = 0, items = 0;
        if (c < 0x80 || c >= 0xe0) {
            /* a small integer */
        } else if (c < 0x90) {
            items = 2 * (c & 15);
        } else if (c < 0xa0) {
            items = c & 15;
        } else if (c < 0xc0) {
            body = c & 31;
        } else {
            unsigned width = length_width[c - 0xc0];
            if (c == 0xc1 || (c >= 0xc7 && c <= 0xc9) || (c >= 0xd4 && c <= 0xd8))
                return CORRUPTED;
            if (width > have - s->pos - 1)
                return MORE;
            head += width;
            uint64_t length = big_endian(p + s->pos + 1, width);
            if (c >= 0xde)
                items = 2 * length;
            else if (c >= 0xdc)
                items = length;
            else
                body = length + value_width[c - 0xc0];
        }
        bool map = (c >= 0x80 && c < 0x90) || c == 0xde || c == 0xdf;
        s->items[s->depth - 1]--;
        s->all += items;
        if (s->pos + head + body + items > MAX_RECORD)
            return CORRUPTED;
        if (s->all > MAX_ITEMS || (map && items > 2 * MAX_KEYS))
            return TOO_LARGE;
        s->pos += head + body;
        if (items) {
            if (s->depth == MAX_DEPTH)
                return CORRUPTED;
            s->items[s->depth++] = items;
        }
    }
    return s->pos <= have ? WHOLE : MORE;
}

/* Whether the object is a map and its first key is this one (of less than 32 bytes). */
static bool first_key_is(const char *bytes, size_t len, const char *key)
{
    if (!len)
        return false;
    const unsigned char *p = (const unsigned char *)bytes;
    size_t n = strlen(key), head = *p == 0xde ? 3 : *p == 0xdf ? 5 : 1;
    if ((head == 1 && (*p & 0xf0) != 0x80) || len < head + 1 + n)
        return false;
    return p[head] == (0xa0 | n) && !memcmp(p + head + 1, key, n);
}

/* Reads the next object of whatever kind; false at the end of the input. start, len: its bytes. */
static bool next_object(struct stream_reader *r, const char **start, size_t *len)
{
    if (!r->inside && !find_stream(r))
        return false;
    struct scan s = {.depth = 1, .items = {1}};
    for (;;) {
        switch (scan_object(rest(&r->data), left(&r->data), &s)) {
        case WHOLE:
            *start = rest(&r->data);
            *len = s.pos;
            r->data.at += s.pos;
            return true;
        case CORRUPTED:
            if (!r->parts)
                not_a_stream(r);
            bad_stream(r, "the bytes of the next are not msgpack: the stream is corrupted");
        case TOO_LARGE:
            if (!r->parts)
                not_a_stream(r);
            bad_stream(r, "the next has more than %d values, or a map in it more than %d keys",
                       MAX_ITEMS, MAX_KEYS);
        case MORE:
            if (fill(r))
                continue;
            if (!r->parts && first_key_is(rest(&r->data), left(&r->data), "duq"))
                die(EX_DATAERR, "%s: cut off within its header; make it again", r->name);
            if (!r->parts)
                not_a_stream(r);
            if (left(&r->data))
                bad_stream(r, "the stream was cut off in the middle of the next; make it again");
            bad_stream(r, "the stream ends without its trailer: it was cut off; make it again");
        }
    }
}

/* msgpack's empty strings and bins are at NULL, where no function of string.h may look. */
static void place_empty(msgpack_object *o)
{
    if (o->type == MSGPACK_OBJECT_STR && !o->via.str.size)
        o->via.str.ptr = "";
    else if (o->type == MSGPACK_OBJECT_BIN && !o->via.bin.size)
        o->via.bin.ptr = "";
    else if (o->type == MSGPACK_OBJECT_ARRAY)
        for (uint32_t i = 0; i < o->via.array.size; i++)
            place_empty(&o->via.array.ptr[i]);
    else if (o->type == MSGPACK_OBJECT_MAP)
        for (uint32_t i = 0; i < o->via.map.size; i++) {
            place_empty(&o->via.map.ptr[i].key);
            place_empty(&o->via.map.ptr[i].val);
        }
}

bool object_unpack(msgpack_zone *zone, const char *bytes, size_t len, msgpack_object *object)
{
    size_t off = 0;
    errno = 0;
    msgpack_unpack_return found = msgpack_unpack(bytes, len, &off, zone, object);
    if (found == MSGPACK_UNPACK_SUCCESS || found == MSGPACK_UNPACK_EXTRA_BYTES) {
        place_empty(object);
        return true;
    }
    /* It takes what it has no memory for to be wrong. */
    if (found == MSGPACK_UNPACK_NOMEM_ERROR || errno == ENOMEM)
        die(EX_OSERR, "out of memory");
    return false;
}

static msgpack_object unpack(struct stream_reader *r, const char *start, size_t len)
{
    msgpack_object o;
    msgpack_zone_clear(&r->zone);
    if (!object_unpack(&r->zone, start, len, &o))
        bad_stream(r, "the bytes of the next are not msgpack: the stream is corrupted");
    return o;
}

bool str_is(const msgpack_object_str *s, const char *text)
{
    return same_bytes(s->ptr, s->size, text, strlen(text));
}

const msgpack_object *map_get(const msgpack_object *map, const char *key)
{
    if (map->type != MSGPACK_OBJECT_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        if (kv->key.type == MSGPACK_OBJECT_STR && str_is(&kv->key.via.str, key))
            return &kv->val;
    }
    return NULL;
}

json_t *json_from_msgpack(const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        return json_boolean(o->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return o->via.u64 <= INT64_MAX ? json_integer((json_int_t)o->via.u64)
                                       : json_real((double)o->via.u64);
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

/* Whether JSON has such a value, so that it is passed on as it was. */
static bool is_json(const msgpack_object *o)
{
    bool good = true;
    switch (o->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return o->via.u64 <= INT64_MAX;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return isfinite(o->via.f64);
    case MSGPACK_OBJECT_STR:
        return utf8_invalid_at(o->via.str.ptr, o->via.str.size) == o->via.str.size;
    case MSGPACK_OBJECT_ARRAY:
        for (uint32_t i = 0; i < o->via.array.size; i++)
            good = good && is_json(&o->via.array.ptr[i]);
        return good;
    case MSGPACK_OBJECT_MAP:
        for (uint32_t i = 0; i < o->via.map.size; i++) {
            const msgpack_object_kv *kv = &o->via.map.ptr[i];
            good = good && kv->key.type == MSGPACK_OBJECT_STR && is_json(&kv->key) &&
                   !memchr(kv->key.via.str.ptr, '\0', kv->key.via.str.size) && is_json(&kv->val);
        }
        return good;
    default:
        return o->type != MSGPACK_OBJECT_BIN;
    }
}

/* How one comes by records of a schema. */
static const char *made_by(const char *schema)
{
    static const char *const makers[][2] = {
        {"example", ": rec from-csv and the like make them"},
        {"prompt", ": prompt-expand makes them"},
        {"tokens", ": tok makes them"},
        {"scores", ": lm-score makes them"},
        {"weights", ": bpe-fit makes them"},
        {"prediction", ": bpe-fit --apply makes them, and lm-score --adapter"},
        {"rule", ": decide makes them"},
    };
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
        if (!strcmp(schema, makers[i][0]))
            return makers[i][1];
    return "";
}

/* Takes in a header: the first one is kept, later ones are held against it. */
static void take_header(struct stream_reader *r, const char *bytes, size_t len, const char *wanted)
{
    msgpack_object o = unpack(r, bytes, len);
    const msgpack_object *version = map_get(&o, "duq");
    if (version->type != MSGPACK_OBJECT_POSITIVE_INTEGER || version->via.u64 != STREAM_VERSION)
        bad_stream(r, "stream format version is not %d: made by another duq", STREAM_VERSION);
    if (!is_json(&o))
        bad_stream(r, "the header has what JSON has not: a binary value, text that is not UTF-8, a "
                      "key that is no text or a number out of range");
    json_t *header = json_from_msgpack(&o);
    const char *schema = json_string_value(json_object_get(header, "schema"));
    if (!schema)
        bad_stream(r, "the header names no schema");
    if (wanted && strcmp(schema, wanted))
        die(EX_DATAERR, "%s: holds '%s' records, '%s' records are wanted here%s", r->name, schema,
            wanted, made_by(wanted));
    r->inside = true;
    r->count = 0;
    r->parts++;
    r->header_sum = XXH64(bytes, len, 0);
    XXH64_reset(r->hash, 0);
    if (!r->header) {
        r->header = header;
        r->schema = xstrdup(schema);
        return;
    }
    const char *key = header_difference(r->header, header, HEADER_JOINED);
    if (key)
        bad_stream(r, "a concatenated stream's header has another '%s' than the first's", key);
    /* Numbers of another precision, or of another order of additions, mean the same. */
    const char *computed = json_string_value(json_object_get(r->header, "compute"));
    const char *here = json_string_value(json_object_get(header, "compute"));
    if (computed && here && strcmp(computed, here) != 0 && !r->mixed) {
        r->mixed = true;
        warn("%s: computed in %s, what came before in %s: results may differ in their last digits "
             "(--compute, and DUQ_ISA on processors of several kinds, make them the same)",
             r->name, here, computed);
    }
    json_decref(header);
}

static bool is_sum(const msgpack_object *o, uint64_t sum)
{
    char hex[17];
    snprintf(hex, sizeof hex, "%016" PRIx64, sum);
    return o->type == MSGPACK_OBJECT_STR && o->via.str.size == 16 &&
           !memcmp(hex, o->via.str.ptr, 16);
}

static void take_trailer(struct stream_reader *r, const char *bytes, size_t len)
{
    msgpack_object o = unpack(r, bytes, len);
    const msgpack_object *count = map_get(&o, "end");
    const msgpack_object *sum = map_get(&o, "xxh64");
    const msgpack_object *header = map_get(&o, "header");
    if (o.via.map.size != 3 || count->type != MSGPACK_OBJECT_POSITIVE_INTEGER || !sum || !header)
        bad_stream(r, "the trailer is corrupted");
    if (count->via.u64 != r->count)
        bad_stream(r, "the trailer counts %" PRIu64 " records where %" PRIu64 " were read",
                   count->via.u64, r->count);
    if (!is_sum(sum, XXH64_digest(r->hash)))
        bad_stream(r,
                   "the checksum of records %" PRIu64 " to %" PRIu64
                   " is wrong: they are corrupted; make the stream again",
                   r->number - r->count + 1, r->number);
    if (!is_sum(header, r->header_sum))
        bad_stream(r,
                   "the checksum of the header is wrong: it is corrupted; make the stream again");
    r->inside = false;
}

struct stream_reader *stream_open(const char *path, const char *schema)
{
    char *paths[] = {(char *)path};
    return stream_open_all(paths, path != NULL, schema);
}

struct stream_reader *stream_open_all(char *const *paths, int count, const char *schema)
{
    struct stream_reader *r = xcalloc(1, sizeof *r);
    r->n_paths = count;
    r->paths = xcalloc((size_t)count, sizeof *r->paths);
    for (int i = 0; i < count; i++)
        r->paths[i] = xstrdup(paths[i]);
    open_file(r);
    r->hash = digest_new();
    if (!msgpack_zone_init(&r->zone, ZONE))
        die(EX_OSERR, "out of memory");
    const char *bytes;
    size_t len;
    next_object(r, &bytes, &len); /* dies where there is nothing at all */
    if (!first_key_is(bytes, len, "duq"))
        not_a_stream(r);
    take_header(r, bytes, len, schema);
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

bool stream_next_bytes(struct stream_reader *r, const char **bytes, size_t *len)
{
    while (next_object(r, bytes, len)) {
        if (!r->inside) {
            if (!first_key_is(*bytes, *len, "duq")) {
                if (!r->parts)
                    not_a_stream(r);
                bad_stream(r, "bytes after the trailer are not another stream: corrupted");
            }
            take_header(r, *bytes, *len, r->schema);
        } else if (first_key_is(*bytes, *len, "end")) {
            take_trailer(r, *bytes, *len);
        } else if (first_key_is(*bytes, *len, "duq")) {
            bad_stream(r, "a new stream begins where the trailer is due: one was cut off");
        } else {
            XXH64_update(r->hash, *bytes, *len);
            r->count++;
            r->number++;
            return true;
        }
    }
    return false;
}

bool stream_next(struct stream_reader *r, msgpack_object *record)
{
    const char *bytes;
    size_t len;
    if (!stream_next_bytes(r, &bytes, &len))
        return false;
    *record = unpack(r, bytes, len);
    if (record->type != MSGPACK_OBJECT_MAP)
        stream_bad_record(r, NULL, "not a map: the stream is corrupted");
    return true;
}

void *stream_alloc(struct stream_reader *r, size_t size)
{
    void *p = msgpack_zone_malloc(&r->zone, size ? size : 1);
    if (!p)
        die(EX_OSERR, "out of memory (%zu bytes asked for)", size);
    return p;
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
    input_close(r->fd);
    ZSTD_freeDCtx(r->zstd);
    XXH64_freeState(r->hash);
    msgpack_zone_destroy(&r->zone);
    json_decref(r->header);
    buf_free(&r->raw.bytes);
    buf_free(&r->data.bytes);
    for (int i = 0; i < r->n_paths; i++)
        free(r->paths[i]);
    free(r->paths);
    free(r->schema);
    free(r->name);
    free(r);
}

/* ---- writing ---- */

struct stream_writer {
    struct outfile *file;
    ZSTD_CCtx *zstd;
    struct buf packed; /* bytes waiting to be compressed or written */
    size_t committed;  /* how many of them belong to whole records */
    bool held_back;    /* something was committed that may not have reached the file yet */
    char *coded;       /* [CHUNK] compressed bytes */
    msgpack_packer packer;
    XXH64_state_t *hash;
    uint64_t header_sum;
    uint64_t count;
};

int pack_into_buf(void *data, const char *bytes, size_t len)
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
    json_array_append_new(made, json_pack("{s:s, s:s, s:o}", "program", program_name, "version",
                                          DUQ_VERSION, "arguments", json_lossy(buf_str(&line))));
    buf_free(&line);
    json_object_set_new(h, "made", made);
    return h;
}

/* Writes out the committed bytes; what a packer has begun stays. */
static void drain(struct stream_writer *w, ZSTD_EndDirective how)
{
    if (!w->zstd) {
        outfile_write(w->file, w->packed.data, w->committed);
    } else {
        ZSTD_inBuffer in = {w->packed.data, w->committed, 0};
        size_t more;
        do {
            ZSTD_outBuffer out = {w->coded, CHUNK, 0};
            more = ZSTD_compressStream2(w->zstd, &out, &in, how);
            if (ZSTD_isError(more))
                die(EX_OSERR, "%s: zstd: %s", outfile_name(w->file), ZSTD_getErrorName(more));
            outfile_write(w->file, w->coded, out.pos);
        } while (in.pos < in.size || (how != ZSTD_e_continue && more));
    }
    w->packed.len -= w->committed;
    memmove(w->packed.data, w->packed.data + w->committed, w->packed.len);
    w->committed = 0;
}

static void drain_held_back(void *writer)
{
    struct stream_writer *w = writer;
    if (w->held_back)
        drain(w, ZSTD_e_flush);
    w->held_back = false;
}

char *object_excess(const char *bytes, size_t len)
{
    if (len > MAX_RECORD)
        return xasprintf("%zu bytes, the most is %d", len, MAX_RECORD);
    struct scan s = {.depth = 1, .items = {1}};
    enum found found = scan_object(bytes, len, &s);
    if (found == TOO_LARGE)
        return xasprintf("more than %d values, or a map in it more than %d keys", MAX_ITEMS,
                         MAX_KEYS);
    return found == WHOLE ? NULL : xasprintf("values nested more than %d deep", MAX_DEPTH);
}

/* What the reader would refuse is not written. */
static void check_pending(const struct stream_writer *w, const char *what)
{
    char *excess = object_excess(w->packed.data + w->committed, w->packed.len - w->committed);
    if (excess)
        die(EX_DATAERR, "%s: %s would have %s", outfile_name(w->file), what, excess);
}

struct stream_writer *stream_create(const char *path, bool compress, json_t *header)
{
    struct stream_writer *w = xcalloc(1, sizeof *w);
    w->file = outfile_open(path);
    if (isatty(fileno(outfile_stream(w->file))))
        die(EX_USAGE,
            "%s is a terminal, which cannot show a binary stream: add '| rec show' to look at it, "
            "or keep it with -o FILE",
            outfile_name(w->file));
    outfile_before_flush(w->file, drain_held_back, w);
    if (compress) {
        if (!(w->zstd = ZSTD_createCCtx()))
            die(EX_OSERR, "out of memory");
        w->coded = xmalloc(CHUNK);
    }
    w->hash = digest_new();
    msgpack_packer_init(&w->packer, &w->packed, pack_into_buf);
    pack_json(&w->packer, header);
    check_pending(w, "the header");
    w->committed = w->packed.len;
    w->held_back = true;
    w->header_sum = XXH64(w->packed.data, w->packed.len, 0);
    json_decref(header);
    return w;
}

msgpack_packer *stream_packer(struct stream_writer *w)
{
    return &w->packer;
}

static void check_record(const struct stream_writer *w)
{
    char what[40];
    snprintf(what, sizeof what, "record %" PRIu64, w->count + 1);
    check_pending(w, what);
}

void stream_commit(struct stream_writer *w)
{
    size_t len = w->packed.len - w->committed;
    if (len > MAX_RECORD)
        check_record(w);
    XXH64_update(w->hash, w->packed.data + w->committed, len);
    w->committed = w->packed.len;
    w->held_back = true;
    w->count++;
    if (w->packed.len >= PACKED)
        drain(w, ZSTD_e_continue);
}

void stream_commit_any(struct stream_writer *w)
{
    check_record(w);
    stream_commit(w);
}

void stream_write_raw(struct stream_writer *w, const void *bytes, size_t len)
{
    buf_add(&w->packed, bytes, len);
    stream_commit(w);
}

void stream_flush(struct stream_writer *w)
{
    outfile_flush(w->file);
}

uint64_t stream_written(const struct stream_writer *w)
{
    return w->count;
}

static void pack_sum(msgpack_packer *p, const char *key, uint64_t sum)
{
    char hex[17];
    snprintf(hex, sizeof hex, "%016" PRIx64, sum);
    msgpack_pack_str_with_body(p, key, strlen(key));
    msgpack_pack_str_with_body(p, hex, 16);
}

void stream_finish(struct stream_writer *w)
{
    msgpack_pack_map(&w->packer, 3);
    msgpack_pack_str_with_body(&w->packer, "end", 3);
    msgpack_pack_uint64(&w->packer, w->count);
    pack_sum(&w->packer, "xxh64", XXH64_digest(w->hash));
    pack_sum(&w->packer, "header", w->header_sum);
    w->committed = w->packed.len;
    drain(w, ZSTD_e_end);
    outfile_finish(w->file);
    ZSTD_freeCCtx(w->zstd);
    XXH64_freeState(w->hash);
    buf_free(&w->packed);
    free(w->coded);
    free(w);
}
