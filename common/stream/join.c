#include "common/stream/join.h"

#include "common/stream/id_index.h"
#include "common/stream/store.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct join {
    struct stream_reader *other;
    struct id_index *ids; /* an id's number is its record's in store */
    struct store store;
    struct buf id;
    msgpack_zone zone;    /* of found */
    msgpack_object found; /* the record that was unpacked last */
};

/* The record's id, kept until the next call. */
static const char *id_of(struct join *j, const struct stream_reader *r,
                         const msgpack_object *record)
{
    const msgpack_object *id = map_get(record, "id");
    if (!id || id->type != MSGPACK_OBJECT_STR || memchr(id->via.str.ptr, '\0', id->via.str.size))
        stream_bad_record(r, NULL, "no id to join by");
    j->id.len = 0;
    buf_add(&j->id, id->via.str.ptr, id->via.str.size);
    return buf_str(&j->id);
}

static const msgpack_object *unpack(struct join *j, size_t number)
{
    const struct stored *s = &j->store.records[number];
    msgpack_zone_clear(&j->zone);
    object_unpack(&j->zone, s->bytes, s->len, &j->found); /* as it was read once already */
    return &j->found;
}

struct join *join_new(struct stream_reader *other)
{
    struct join *j = xcalloc(1, sizeof *j);
    j->other = other;
    j->ids = id_index_new();
    if (!msgpack_zone_init(&j->zone, MSGPACK_ZONE_CHUNK_SIZE))
        die(EX_OSERR, "out of memory");
    store_all(&j->store, other);
    for (size_t i = 0; i < j->store.count; i++) {
        bool added;
        const msgpack_object *record = unpack(j, i);
        if (record->type != MSGPACK_OBJECT_MAP)
            die(EX_DATAERR, "%s: record %zu: not a map", stream_name(other), i + 1);
        const char *id = id_of(j, other, record);
        size_t n = id_index_add(j->ids, id, &added);
        if (!added)
            die(EX_DATAERR,
                "%s: records %zu and %zu both have id '%s': nothing can be joined to it",
                stream_name(other), n + 1, i + 1, id);
    }
    return j;
}

void join_header(const struct join *j, const char *name, json_t *header)
{
    const json_t *other = stream_header(j->other);
    const json_t *ours = json_object_get(header, "classes");
    const json_t *theirs = json_object_get(other, "classes");
    if (ours && theirs && !json_equal(ours, theirs))
        die(EX_DATAERR, "%s and %s name different classes", name, stream_name(j->other));
    json_object_update_missing(header, (json_t *)other);
}

static bool is_nil(const msgpack_object *v)
{
    return !v || v->type == MSGPACK_OBJECT_NIL;
}

static const msgpack_object *field(const msgpack_object *map, const msgpack_object *key)
{
    for (uint32_t i = 0; i < map->via.map.size; i++)
        if (msgpack_object_equal(map->via.map.ptr[i].key, *key))
            return &map->via.map.ptr[i].val;
    return NULL;
}

static void check_labels(const struct join *j, const struct stream_reader *r,
                         const msgpack_object *record, const msgpack_object *found)
{
    const msgpack_object *ours = map_get(record, "label"), *theirs = map_get(found, "label");
    if (is_nil(ours) || is_nil(theirs) || msgpack_object_equal(*ours, *theirs))
        return;
    stream_bad_record(r, j->id.data, "its label differs from the one in %s: these are other data",
                      stream_name(j->other));
}

bool join_record(struct join *j, const struct stream_reader *r, const msgpack_object *record,
                 struct stream_writer *w)
{
    size_t n;
    if (!id_index_find(j->ids, id_of(j, r, record), &n))
        return false;
    const msgpack_object *found = unpack(j, n);
    check_labels(j, r, record, found);
    const msgpack_object_map *a = &record->via.map, *b = &found->via.map;
    uint32_t size = a->size;
    for (uint32_t i = 0; i < b->size; i++)
        size += field(record, &b->ptr[i].key) == NULL;
    msgpack_packer *p = stream_packer(w);
    msgpack_pack_map(p, size);
    for (uint32_t i = 0; i < a->size; i++) {
        const msgpack_object *theirs = field(found, &a->ptr[i].key);
        msgpack_pack_object(p, a->ptr[i].key);
        msgpack_pack_object(p, is_nil(&a->ptr[i].val) && theirs ? *theirs : a->ptr[i].val);
    }
    for (uint32_t i = 0; i < b->size; i++) {
        if (field(record, &b->ptr[i].key))
            continue;
        msgpack_pack_object(p, b->ptr[i].key);
        msgpack_pack_object(p, b->ptr[i].val);
    }
    stream_commit_any(w);
    return true;
}

void join_free(struct join *j)
{
    id_index_free(j->ids);
    store_free(&j->store);
    buf_free(&j->id);
    msgpack_zone_destroy(&j->zone);
    free(j);
}
