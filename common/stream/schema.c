#include "common/stream/schema.h"

#include "common/stream/stream.h"
#include "common/util/diag.h"
#include "common/util/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- reading the schemas ---- */

static const struct {
    const char *name;
    unsigned bit;
} type_names[] = {{"null", TYPE_NULL},     {"boolean", TYPE_BOOLEAN}, {"integer", TYPE_INTEGER},
                  {"number", TYPE_NUMBER}, {"string", TYPE_STRING},   {"array", TYPE_ARRAY},
                  {"object", TYPE_OBJECT}};
enum { N_TYPES = sizeof type_names / sizeof *type_names };

static unsigned type_bit(const char *name)
{
    for (size_t i = 0; i < N_TYPES; i++)
        if (!strcmp(name, type_names[i].name))
            return type_names[i].bit;
    die(EX_SOFTWARE, "schema: no type '%s'", name);
}

static enum element element_named(const char *name)
{
    static const char *const names[] = {
        [ELEMENT_I32] = "i32", [ELEMENT_F32] = "f32", [ELEMENT_F64] = "f64"};
    for (enum element e = ELEMENT_I32; e <= ELEMENT_F64; e++)
        if (!strcmp(name, names[e]))
            return e;
    die(EX_SOFTWARE, "schema: no element type '%s'", name);
}

static struct schema *compile(const char *name, const json_t *source);

static void compile_properties(struct schema *s, const char *name, const json_t *list)
{
    const char *key;
    json_t *value;
    s->properties = xcalloc(json_object_size(list), sizeof *s->properties);
    json_object_foreach((json_t *)list, key, value)
    {
        s->properties[s->n_properties++] =
            (struct property){.name = key, .schema = compile(name, value)};
    }
}

static void require(struct schema *s, const char *key)
{
    for (size_t i = 0; i < s->n_properties; i++)
        if (!strcmp(s->properties[i].name, key))
            s->properties[i].required = true;
}

/* One keyword; a keyword that would go unchecked is an error in the schema. */
static void compile_keyword(struct schema *s, const char *name, const char *word,
                            const json_t *value)
{
    size_t i;
    const json_t *item;
    static const char *const silent[] = {"$schema", "$id", "title", "description", "required"};
    for (i = 0; i < sizeof silent / sizeof *silent; i++)
        if (!strcmp(word, silent[i]))
            return;
    if (!strcmp(word, "type")) {
        if (json_is_string(value))
            s->types = type_bit(json_string_value(value));
        json_array_foreach(value, i, item) s->types |= type_bit(json_string_value(item));
    } else if (!strcmp(word, "enum")) {
        s->one_of = value;
    } else if (!strcmp(word, "const")) {
        s->one_of = json_pack("[O]", value);
    } else if (!strcmp(word, "minimum")) {
        s->minimum = json_number_value(value);
    } else if (!strcmp(word, "exclusiveMinimum")) {
        s->above = json_number_value(value);
    } else if (!strcmp(word, "maximum")) {
        s->maximum = json_number_value(value);
    } else if (!strcmp(word, "minLength")) {
        s->min_length = (size_t)json_integer_value(value);
    } else if (!strcmp(word, "maxLength")) {
        s->max_length = (size_t)json_integer_value(value);
    } else if (!strcmp(word, "minItems")) {
        s->min_items = (size_t)json_integer_value(value);
    } else if (!strcmp(word, "items")) {
        s->items = compile(name, value);
    } else if (!strcmp(word, "properties")) {
        compile_properties(s, name, value);
    } else if (!strcmp(word, "additionalProperties")) {
        s->closed = json_is_false(value);
    } else if (!strcmp(word, "x-element")) {
        s->element = element_named(json_string_value(value));
        s->column_if_present = true;
    } else if (!strcmp(word, "x-column")) {
        s->column_if_present = true;
    } else if (!strcmp(word, "x-shape")) {
        s->dimensions = json_array_size(value);
        item = json_array_get(value, s->dimensions - 1);
        s->per_class = !strcmp(json_string_value(item), "classes");
    } else if (!strcmp(word, "x-below")) {
        s->below_classes = true;
    } else if (!strcmp(word, "x-key")) {
        s->key = xcalloc(json_array_size(value), sizeof *s->key);
        json_array_foreach(value, i, item) s->key[s->n_key++] = json_string_value(item);
    } else {
        die(EX_SOFTWARE, "schemas/%s.json: keyword '%s' is not known here", name, word);
    }
}

static struct schema *compile(const char *name, const json_t *source)
{
    struct schema *s = xcalloc(1, sizeof *s);
    *s = (struct schema){
        .minimum = -INFINITY, .above = -INFINITY, .maximum = INFINITY, .max_length = SIZE_MAX};
    const char *word;
    json_t *value;
    json_object_foreach((json_t *)source, word, value) compile_keyword(s, name, word, value);
    size_t i;
    json_array_foreach(json_object_get(source, "required"), i, value)
        require(s, json_string_value(value));
    return s;
}

enum { MAX_SCHEMAS = 64 };

const struct schema *schema_find(const char *name)
{
    static const struct schema *found[MAX_SCHEMAS]; /* compiled at first use */
    static json_t *sources[MAX_SCHEMAS];            /* what the compiled ones point into */
    for (size_t i = 0; i < MAX_SCHEMAS && schema_texts[i].name; i++) {
        if (strcmp(schema_texts[i].name, name))
            continue;
        if (!found[i]) {
            json_error_t error;
            sources[i] = json_loads(schema_texts[i].text, JSON_REJECT_DUPLICATES, &error);
            if (!sources[i])
                die(EX_SOFTWARE, "schemas/%s.json: line %d: %s", name, error.line, error.text);
            found[i] = compile(name, sources[i]);
        }
        return found[i];
    }
    return NULL;
}

static const struct schema *property(const struct schema *s, const char *key, size_t len)
{
    for (size_t i = 0; i < s->n_properties; i++)
        if (same_bytes(s->properties[i].name, strlen(s->properties[i].name), key, len))
            return s->properties[i].schema;
    return NULL;
}

static const json_t *record_types(void)
{
    return property(schema_find("header"), "schema", 6)->one_of;
}

const struct schema *schema_of_records(const char *type)
{
    size_t i;
    const json_t *name;
    json_array_foreach(record_types(), i, name)
    {
        if (!strcmp(json_string_value(name), type))
            return schema_find(type);
    }
    return NULL;
}

const struct schema *schema_field(const struct schema *s, const char *key, size_t len)
{
    const struct schema *p = property(s, key, len);
    size_t i;
    const json_t *type;
    if (p)
        return p;
    json_array_foreach(record_types(), i, type)
    {
        p = property(schema_find(json_string_value(type)), key, len);
        if (p && p->element)
            return p;
    }
    return NULL;
}

enum element schema_element(const struct schema *s, const char *key, size_t key_len)
{
    const struct schema *p = s ? schema_field(s, key, key_len) : NULL;
    return p ? p->element : ELEMENT_NONE;
}

bool schema_per_class(const struct schema *s, const char *key, size_t key_len)
{
    const struct schema *p = schema_field(s, key, key_len);
    return p && p->element && p->per_class && p->dimensions == 1;
}

/* ---- numbers in a bin ---- */

size_t element_size(enum element e)
{
    return e == ELEMENT_F64 ? 8 : 4;
}

double element_at(enum element e, const char *bytes, size_t i)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
                   "arrays are little-endian on the wire");
    int32_t i32;
    float f32;
    double f64;
    switch (e) {
    case ELEMENT_I32:
        memcpy(&i32, bytes + 4 * i, 4);
        return i32;
    case ELEMENT_F32:
        memcpy(&f32, bytes + 4 * i, 4);
        return (double)f32;
    default:
        memcpy(&f64, bytes + 8 * i, 8);
        return f64;
    }
}

/* ---- checking ---- */

struct check {
    size_t classes;
    struct buf path; /* of the value under check: "made[2].program" */
    struct buf *why;
};

static bool wrong(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool wrong(struct check *c, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (c->path.len)
        buf_addf(c->why, "field '%s': ", buf_str(&c->path));
    buf_addf(c->why, "%s", text);
    return false;
}

static bool check_number(struct check *c, const struct schema *s, double v)
{
    if (!isfinite(v))
        return wrong(c, "%g is not a finite number", v);
    if (v < s->minimum)
        return wrong(c, "%.17g is less than %.17g", v, s->minimum);
    if (v > s->maximum)
        return wrong(c, "%.17g is more than %.17g", v, s->maximum);
    if (v <= s->above)
        return wrong(c, "%.17g is not more than %.17g", v, s->above);
    if (s->below_classes && c->classes && v >= (double)c->classes)
        return wrong(c, "%.17g, but there are %zu classes", v, c->classes);
    return true;
}

static bool check_string(struct check *c, const struct schema *s, const char *p, size_t len)
{
    size_t bad = utf8_invalid_at(p, len);
    if (bad < len)
        return wrong(c, "not UTF-8 (byte %zu of it)", bad + 1);
    if (len >= s->min_length && len <= s->max_length)
        return true;
    size_t characters = 0;
    for (size_t i = 0; i < len; i++)
        characters += (p[i] & 0xc0) != 0x80;
    if (characters < s->min_length)
        return wrong(c, "shorter than %zu", s->min_length);
    if (characters > s->max_length)
        return wrong(c, "longer than %zu", s->max_length);
    return true;
}

static bool check_bin(struct check *c, const struct schema *s, const char *bytes, size_t size)
{
    if (size % element_size(s->element))
        return wrong(c, "%zu bytes are no whole number of %zu-byte elements", size,
                     element_size(s->element));
    size_t n = size / element_size(s->element);
    if (n < s->min_items)
        return wrong(c, "less than %zu numbers", s->min_items);
    if (s->per_class && c->classes && (s->dimensions == 1 ? n != c->classes : n % c->classes))
        return wrong(c, "%zu numbers, but there are %zu classes", n, c->classes);
    for (size_t i = 0; i < n; i++)
        if (!check_number(c, s->items, element_at(s->element, bytes, i)))
            return false;
    return true;
}

static bool check(struct check *c, const struct schema *s, const msgpack_object *v);

static bool check_array(struct check *c, const struct schema *s, const msgpack_object_array *a)
{
    if (a->size < s->min_items)
        return wrong(c, "less than %zu items", s->min_items);
    size_t len = c->path.len;
    for (uint32_t i = 0; s->items && i < a->size; i++) {
        buf_addf(&c->path, "[%" PRIu32 "]", i);
        if (!check(c, s->items, &a->ptr[i]))
            return false;
        c->path.len = len;
    }
    return true;
}

static bool check_map(struct check *c, const struct schema *s, const msgpack_object *map)
{
    const msgpack_object_map *m = &map->via.map;
    size_t len = c->path.len;
    for (uint32_t i = 0; i < m->size; i++) {
        const msgpack_object_str *key = &m->ptr[i].key.via.str;
        if (m->ptr[i].key.type != MSGPACK_OBJECT_STR)
            return wrong(c, "a key is not a string");
        for (uint32_t j = 0; j < i; j++)
            if (same_bytes(m->ptr[j].key.via.str.ptr, m->ptr[j].key.via.str.size, key->ptr,
                           key->size))
                return wrong(c, "key '%.*s' comes twice", (int)key->size, key->ptr);
        const struct schema *p = property(s, key->ptr, key->size);
        if (!p && s->closed)
            return wrong(c, "key '%.*s' is not known", (int)key->size, key->ptr);
        if (!p)
            continue;
        if (len)
            buf_addc(&c->path, '.');
        buf_add(&c->path, key->ptr, key->size);
        if (!check(c, p, &m->ptr[i].val))
            return false;
        c->path.len = len;
    }
    for (size_t i = 0; i < s->n_properties; i++)
        if (s->properties[i].required && !map_get(map, s->properties[i].name))
            return wrong(c, "'%s' is missing", s->properties[i].name);
    return true;
}

static unsigned types_of(const msgpack_object *v)
{
    switch (v->type) {
    case MSGPACK_OBJECT_NIL:
        return TYPE_NULL;
    case MSGPACK_OBJECT_BOOLEAN:
        return TYPE_BOOLEAN;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return TYPE_INTEGER | TYPE_NUMBER;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return TYPE_NUMBER;
    case MSGPACK_OBJECT_STR:
        return TYPE_STRING;
    case MSGPACK_OBJECT_ARRAY:
        return TYPE_ARRAY;
    case MSGPACK_OBJECT_MAP:
        return TYPE_OBJECT;
    default:
        return 0;
    }
}

static bool check_type(struct check *c, const struct schema *s, const msgpack_object *v)
{
    if (!s->types || types_of(v) & s->types)
        return true;
    char wanted[128] = "";
    for (size_t i = 0; i < N_TYPES; i++)
        if (s->types & type_names[i].bit) {
            strcat(wanted, *wanted ? " or " : "");
            strcat(wanted, type_names[i].name);
        }
    return wrong(c, "is not of type %s", wanted);
}

static bool check_choice(struct check *c, const struct schema *s, const msgpack_object *v)
{
    if (!s->one_of)
        return true;
    json_t *have = json_from_msgpack(v);
    size_t i;
    const json_t *item;
    bool found = false;
    json_array_foreach(s->one_of, i, item) found |= json_equal(item, have);
    json_decref(have);
    return found || wrong(c, "is none of the values it may have");
}

static bool check(struct check *c, const struct schema *s, const msgpack_object *v)
{
    if (s->element && v->type == MSGPACK_OBJECT_BIN)
        return check_bin(c, s, v->via.bin.ptr, v->via.bin.size);
    if (s->element)
        return wrong(c, "is not a bin of numbers");
    if (!check_type(c, s, v) || !check_choice(c, s, v))
        return false;
    switch (v->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return check_number(c, s, (double)v->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return check_number(c, s, (double)v->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return check_number(c, s, v->via.f64);
    case MSGPACK_OBJECT_STR:
        return check_string(c, s, v->via.str.ptr, v->via.str.size);
    case MSGPACK_OBJECT_ARRAY:
        return check_array(c, s, &v->via.array);
    case MSGPACK_OBJECT_MAP:
        return check_map(c, s, v);
    default:
        return true;
    }
}

bool schema_check(const struct schema *s, const msgpack_object *value, size_t classes,
                  struct buf *why)
{
    struct check c = {.classes = classes, .why = why};
    bool good = check(&c, s, value);
    buf_free(&c.path);
    return good;
}

bool schema_check_json(const struct schema *s, const json_t *value, size_t classes, struct buf *why)
{
    struct buf packed = {0};
    msgpack_packer packer;
    msgpack_packer_init(&packer, &packed, pack_into_buf);
    pack_json(&packer, value);
    msgpack_zone *zone = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE);
    if (!zone)
        die(EX_OSERR, "out of memory");
    msgpack_object o;
    if (!object_unpack(zone, packed.data, packed.len, &o))
        die(EX_SOFTWARE, "a JSON value does not survive msgpack");
    bool good = schema_check(s, &o, classes, why);
    msgpack_zone_free(zone);
    buf_free(&packed);
    return good;
}
