#include "common/stream/check.h"

#include "common/stream/id_index.h"
#include "common/stream/schema.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct checker {
    const struct stream_reader *r;
    const struct schema *schema;
    size_t classes; /* 0: not known */
    struct id_index *keys;
    uint64_t *records; /* by a key's number */
    size_t capacity;
    struct buf key, why;
};

struct checker *checker_new(const struct stream_reader *r)
{
    struct checker *c = xcalloc(1, sizeof *c);
    c->r = r;
    if (!schema_check_json(schema_find("header"), stream_header(r), 0, &c->why))
        die(EX_DATAERR, "%s: header: %s", stream_name(r), buf_str(&c->why));
    c->schema = schema_of_records(stream_schema(r));
    c->classes = json_array_size(json_object_get(stream_header(r), "classes"));
    c->keys = id_index_new();
    return c;
}

/* The record's id for messages, NULL when it has none. */
static const char *id_of(const msgpack_object *record, struct buf *copy)
{
    const msgpack_object *id = map_get(record, "id");
    if (!id || id->type != MSGPACK_OBJECT_STR)
        return NULL;
    buf_add(copy, id->via.str.ptr, id->via.str.size);
    return buf_str(copy);
}

static _Noreturn void bad(struct checker *c, const msgpack_object *record, const char *why)
{
    struct buf id = {0};
    stream_bad_record(c->r, id_of(record, &id), "%s", why);
}

/* The fields that are the key, as text: "id 'x', prompt 3". */
static void write_key(struct checker *c, const msgpack_object *record)
{
    c->key.len = 0;
    for (size_t i = 0; i < c->schema->n_key; i++) {
        const char *name = c->schema->key[i];
        const msgpack_object *v = map_get(record, name);
        if (!v)
            continue;
        buf_addf(&c->key, "%s%s ", c->key.len ? ", " : "", name);
        if (v->type == MSGPACK_OBJECT_STR) {
            if (memchr(v->via.str.ptr, '\0', v->via.str.size))
                bad(c, record, "its key holds a NUL byte");
            buf_addc(&c->key, '\'');
            buf_add(&c->key, v->via.str.ptr, v->via.str.size);
            buf_addc(&c->key, '\'');
        } else if (v->type == MSGPACK_OBJECT_NIL) {
            buf_add(&c->key, "null", 4);
        } else {
            buf_addf(&c->key, "%" PRIu64, v->via.u64);
        }
    }
    buf_str(&c->key);
}

static void check_key(struct checker *c, const msgpack_object *record)
{
    bool added;
    write_key(c, record);
    size_t n = id_index_add(c->keys, c->key.data, &added);
    if (!added)
        stream_bad_record(c->r, NULL, "%s: so has record %" PRIu64, c->key.data, c->records[n]);
    if (n == c->capacity) {
        c->capacity = c->capacity ? 2 * c->capacity : 1024;
        c->records = xreallocarray(c->records, c->capacity, sizeof *c->records);
    }
    c->records[n] = stream_record_number(c->r);
}

/* Where the header names no classes, the first array with a number for each tells how many. */
static void count_classes(struct checker *c, const msgpack_object *record)
{
    for (size_t i = 0; i < c->schema->n_properties && !c->classes; i++) {
        const char *name = c->schema->properties[i].name;
        const msgpack_object *v = map_get(record, name);
        if (v && v->type == MSGPACK_OBJECT_BIN && schema_per_class(c->schema, name, strlen(name)))
            c->classes = v->via.bin.size / element_size(c->schema->properties[i].schema->element);
    }
}

void checker_record(struct checker *c, const msgpack_object *record)
{
    count_classes(c, record);
    c->why.len = 0;
    if (!schema_check(c->schema, record, c->classes, &c->why))
        bad(c, record, buf_str(&c->why));
    check_key(c, record);
}

void checker_free(struct checker *c)
{
    id_index_free(c->keys);
    free(c->records);
    buf_free(&c->key);
    buf_free(&c->why);
    free(c);
}
