#include "common/stream/check.h"

#include "common/stream/id_index.h"
#include "common/stream/schema.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct checker {
    const struct schema *schema;
    size_t classes; /* 0: not known */
    struct id_index *keys;
    uint64_t *records; /* by a key's number */
    size_t capacity;
    struct buf key, why, id;
    bool has_id;
};

struct checker *checker_new(const char *name, const json_t *header)
{
    struct checker *c = xcalloc(1, sizeof *c);
    if (!schema_check_json(schema_find("header"), header, 0, &c->why))
        die(EX_DATAERR, "%s: header: %s", name, buf_str(&c->why));
    c->schema = schema_of_records(json_string_value(json_object_get(header, "schema")));
    c->classes = json_array_size(json_object_get(header, "classes"));
    c->keys = id_index_new();
    return c;
}

const char *checker_problem(const struct checker *c)
{
    return c->why.data;
}

const char *checker_id(const struct checker *c)
{
    return c->has_id ? c->id.data : NULL;
}

static void take_id(struct checker *c, const msgpack_object *record)
{
    const msgpack_object *id = map_get(record, "id");
    c->id.len = 0;
    c->has_id = id && id->type == MSGPACK_OBJECT_STR;
    if (c->has_id)
        buf_add(&c->id, id->via.str.ptr, id->via.str.size);
    buf_str(&c->id);
}

/* The fields that are the key, as text: "id 'x', prompt 3". */
static bool write_key(struct checker *c, const msgpack_object *record)
{
    c->key.len = 0;
    for (size_t i = 0; i < c->schema->n_key; i++) {
        const char *name = c->schema->key[i];
        const msgpack_object *v = map_get(record, name);
        if (!v)
            continue;
        buf_addf(&c->key, "%s%s ", c->key.len ? ", " : "", name);
        if (v->type == MSGPACK_OBJECT_STR) {
            if (memchr(v->via.str.ptr, '\0', v->via.str.size)) {
                buf_addf(&c->why, "its key holds a NUL byte");
                return false;
            }
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
    return true;
}

static bool check_key(struct checker *c, const msgpack_object *record, uint64_t number)
{
    bool added;
    if (!write_key(c, record))
        return false;
    size_t n = id_index_add(c->keys, c->key.data, &added);
    if (!added) {
        c->has_id = false;
        buf_addf(&c->why, "%s: so has record %" PRIu64, c->key.data, c->records[n]);
        return false;
    }
    if (n == c->capacity) {
        c->capacity = c->capacity ? 2 * c->capacity : 1024;
        c->records = xreallocarray(c->records, c->capacity, sizeof *c->records);
    }
    c->records[n] = number;
    return true;
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

bool checker_record(struct checker *c, const msgpack_object *record, uint64_t number)
{
    count_classes(c, record);
    c->why.len = 0;
    bool good = schema_check(c->schema, record, c->classes, &c->why);
    take_id(c, record);
    good = good && check_key(c, record, number);
    buf_str(&c->why);
    return good;
}

void checker_free(struct checker *c)
{
    id_index_free(c->keys);
    free(c->records);
    buf_free(&c->key);
    buf_free(&c->why);
    buf_free(&c->id);
    free(c);
}
