#include "common/stream/print.h"

#include "common/stream/schema.h"
#include "common/util/diag.h"
#include "common/util/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* json: what is not finite, "nan", "inf" or "-inf", is null. */
static void print_real(struct buf *out, double v, bool single, bool json)
{
    if (!isfinite(v))
        buf_addf(out, "%s", json ? "null" : isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
    else
        buf_addf(out, "%.*g", single ? 9 : 17, v);
}

/* Whether the record's schema says what kind of number the field holds. */
static bool kind_is_known(const struct stream_reader *r, const msgpack_object_str *key)
{
    const struct schema *s = schema_of_records(stream_schema(r));
    return s && schema_field(s, key->ptr, key->size);
}

/* A number that stands by itself. Where no schema says that it is real, the text does. */
static void print_number(struct buf *out, const struct stream_reader *r,
                         const msgpack_object_str *key, const msgpack_object *v)
{
    size_t at = out->len;
    print_real(out, v->via.f64, v->type == MSGPACK_OBJECT_FLOAT32, true);
    bool whole = strspn(buf_str(out) + at, "-0123456789") == out->len - at;
    if (whole && !kind_is_known(r, key))
        buf_addf(out, ".0");
}

static void print_element(struct buf *out, enum element e, const char *bytes, size_t i, bool json)
{
    char text[16];
    if (e == ELEMENT_I32)
        buf_add(out, text, (size_t)snprintf(text, sizeof text, "%d", (int)element_at(e, bytes, i)));
    else
        print_real(out, element_at(e, bytes, i), e == ELEMENT_F32, json);
}

/* What a bin field holds, and how many numbers. */
static enum element bin_element(const struct stream_reader *r, const msgpack_object_str *key,
                                const msgpack_object_bin *bin, size_t *count)
{
    enum element e = schema_element(schema_of_records(stream_schema(r)), key->ptr, key->size);
    if (!e)
        stream_bad_record(r, NULL, "field '%.*s' is binary and no schema says of what",
                          (int)key->size, key->ptr);
    if (bin->size % element_size(e))
        stream_bad_record(r, NULL, "field '%.*s' has %" PRIu32 " bytes, no whole number of numbers",
                          (int)key->size, key->ptr, bin->size);
    *count = bin->size / element_size(e);
    return e;
}

/* ---- JSON ---- */

static void print_string(struct buf *out, const struct stream_reader *r, const char *p, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    if (utf8_invalid_at(p, len) < len)
        stream_bad_record(r, NULL, "a string is not UTF-8");
    buf_addc(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)p[i];
        /* U+0080 to U+009F, which terminals obey as they do those below U+0020. */
        bool high = c == 0xc2 && (unsigned char)p[i + 1] < 0xa0;
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && !high)
            continue;
        buf_add(out, p + from, i - from);
        if (high)
            c = (unsigned char)p[++i];
        from = i + 1;
        const char *known = strchr("\"\"\\\\\nn\rr\tt", c);
        if (c && known)
            buf_add(out, (char[]){'\\', known[1]}, 2);
        else
            buf_add(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
    }
    buf_add(out, p + from, len - from);
    buf_addc(out, '"');
}

void print_value(struct buf *out, const struct stream_reader *r, const msgpack_object_str *key,
                 const msgpack_object *v)
{
    size_t n;
    enum element e;
    switch (v->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        buf_addf(out, "%s", v->via.boolean ? "true" : "false");
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        buf_addf(out, "%" PRIu64, v->via.u64);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        buf_addf(out, "%" PRId64, v->via.i64);
        break;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        print_number(out, r, key, v);
        break;
    case MSGPACK_OBJECT_STR:
        print_string(out, r, v->via.str.ptr, v->via.str.size);
        break;
    case MSGPACK_OBJECT_BIN:
        e = bin_element(r, key, &v->via.bin, &n);
        buf_addc(out, '[');
        for (size_t i = 0; i < n; i++) {
            if (i)
                buf_addc(out, ',');
            print_element(out, e, v->via.bin.ptr, i, true);
        }
        buf_addc(out, ']');
        break;
    case MSGPACK_OBJECT_ARRAY:
        buf_addc(out, '[');
        for (uint32_t i = 0; i < v->via.array.size; i++) {
            if (i)
                buf_addc(out, ',');
            print_value(out, r, key, &v->via.array.ptr[i]);
        }
        buf_addc(out, ']');
        break;
    case MSGPACK_OBJECT_MAP:
        buf_addc(out, '{');
        for (uint32_t i = 0; i < v->via.map.size; i++) {
            const msgpack_object_kv *kv = &v->via.map.ptr[i];
            if (kv->key.type != MSGPACK_OBJECT_STR)
                stream_bad_record(r, NULL, "a key is not a string");
            if (i)
                buf_addc(out, ',');
            print_string(out, r, kv->key.via.str.ptr, kv->key.via.str.size);
            buf_addc(out, ':');
            print_value(out, r, key ? key : &kv->key.via.str, &kv->val);
        }
        buf_addc(out, '}');
        break;
    default:
        buf_addf(out, "null");
        break;
    }
}

void print_json(struct buf *out, const struct stream_reader *r, const msgpack_object *record)
{
    print_value(out, r, NULL, record);
    buf_addc(out, '\n');
}

/* ---- CSV ---- */

struct csv_columns {
    char **names; /* of the records' fields */
    size_t count;
    size_t *spread; /* per field: into how many columns, 0 for one cell */
    const json_t *classes;
};

/* value: the first record's, NULL when it has none. */
static void add_column(struct csv_columns *c, const struct schema *s, const char *name, size_t len,
                       const msgpack_object *value)
{
    size_t i = c->count++;
    c->names = xreallocarray(c->names, c->count, sizeof *c->names);
    c->spread = xreallocarray(c->spread, c->count, sizeof *c->spread);
    c->names[i] = xstrndup(name, len);
    c->spread[i] = 0;
    if (value && value->type == MSGPACK_OBJECT_BIN && schema_per_class(s, name, len))
        c->spread[i] = value->via.bin.size / element_size(schema_element(s, name, len));
}

struct csv_columns *csv_columns_new(const struct stream_reader *r, const msgpack_object *first)
{
    struct csv_columns *c = xcalloc(1, sizeof *c);
    const struct schema *s = schema_of_records(stream_schema(r));
    if (!s)
        die(EX_DATAERR, "%s: no schema for '%s' records", stream_name(r), stream_schema(r));
    c->classes = json_object_get(stream_header(r), "classes");
    for (size_t i = 0; i < s->n_properties; i++) {
        const struct property *p = &s->properties[i];
        const msgpack_object *value = map_get(first, p->name);
        if (value || !p->schema->column_if_present)
            add_column(c, s, p->name, strlen(p->name), value);
    }
    for (uint32_t j = 0; j < first->via.map.size; j++) {
        const msgpack_object_kv *kv = &first->via.map.ptr[j];
        if (kv->key.type != MSGPACK_OBJECT_STR)
            stream_bad_record(r, NULL, "a key is not a string");
        const msgpack_object_str *key = &kv->key.via.str;
        size_t i = 0;
        while (i < c->count && !str_is(key, c->names[i]))
            i++;
        if (i == c->count)
            add_column(c, s, key->ptr, key->size, &kv->val);
    }
    return c;
}

void csv_columns_free(struct csv_columns *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        free(c->names[i]);
    free(c->names);
    free(c->spread);
    free(c);
}

static void print_cell(struct buf *out, const char *p, size_t len)
{
    bool quote = false;
    for (size_t i = 0; i < len; i++)
        quote |= p[i] == ',' || p[i] == '"' || p[i] == '\n' || p[i] == '\r';
    if (!quote) {
        buf_add(out, p, len);
        return;
    }
    buf_addc(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '"')
            buf_addc(out, '"');
        buf_addc(out, p[i]);
    }
    buf_addc(out, '"');
}

void print_csv_header(struct buf *out, const struct csv_columns *c)
{
    struct buf name = {0};
    const char *between = "";
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < (c->spread[i] ? c->spread[i] : 1); k++) {
            name.len = 0;
            const char *class = json_string_value(json_array_get(c->classes, k));
            if (!c->spread[i])
                buf_addf(&name, "%s", c->names[i]);
            else if (class)
                buf_addf(&name, "%s.%s", c->names[i], class);
            else
                buf_addf(&name, "%s.%zu", c->names[i], k);
            buf_addf(out, "%s", between);
            print_cell(out, name.data, name.len);
            between = ",";
        }
    buf_addc(out, '\n');
    buf_free(&name);
}

static void print_field(struct buf *out, const struct csv_columns *c, size_t i,
                        const struct stream_reader *r, const msgpack_object_kv *kv)
{
    const msgpack_object *v = &kv->val;
    size_t n;
    enum element e;
    struct buf value = {0};
    switch (v->type) {
    case MSGPACK_OBJECT_NIL:
        for (size_t k = 1; k < c->spread[i]; k++)
            buf_addc(out, ',');
        break;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        print_real(out, v->via.f64, v->type == MSGPACK_OBJECT_FLOAT32, false);
        break;
    case MSGPACK_OBJECT_STR:
        print_cell(out, v->via.str.ptr, v->via.str.size);
        break;
    case MSGPACK_OBJECT_BIN:
        e = bin_element(r, &kv->key.via.str, &v->via.bin, &n);
        if (c->spread[i] && n != c->spread[i])
            stream_bad_record(r, NULL, "field '%s' has %zu numbers, the first record's had %zu",
                              c->names[i], n, c->spread[i]);
        for (size_t k = 0; k < n; k++) {
            if (k)
                buf_addc(out, c->spread[i] ? ',' : ' ');
            print_element(out, e, v->via.bin.ptr, k, false);
        }
        break;
    default:
        print_value(&value, r, &kv->key.via.str, v);
        print_cell(out, value.data, value.len);
        buf_free(&value);
        break;
    }
}

void print_csv(struct buf *out, const struct csv_columns *c, const struct stream_reader *r,
               const msgpack_object *record)
{
    const msgpack_object_map *m = &record->via.map;
    size_t found = 0;
    for (size_t i = 0; i < c->count; i++) {
        const msgpack_object_kv *kv = NULL;
        for (uint32_t j = 0; j < m->size && !kv; j++)
            if (m->ptr[j].key.type == MSGPACK_OBJECT_STR &&
                str_is(&m->ptr[j].key.via.str, c->names[i]))
                kv = &m->ptr[j];
        if (i)
            buf_addc(out, ',');
        found += kv != NULL;
        if (kv)
            print_field(out, c, i, r, kv);
        for (size_t k = 1; !kv && k < c->spread[i]; k++)
            buf_addc(out, ',');
    }
    if (found != m->size)
        stream_bad_record(r, NULL,
                          "it has fields that the first record has not, and the table no columns "
                          "for them: use rec to-json");
    buf_addc(out, '\n');
}
