#include "common/stream/json_records.h"

#include "common/stream/check.h"
#include "common/stream/rows.h"
#include "common/stream/schema.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { ZONE = 1 << 16 };

struct json_records {
    struct rows *lines;
    const struct span *line;
    json_t *exact; /* the line's object with its integers as integers; NULL: not needed yet */
    json_t *header;
    const struct schema *schema;
    struct checker *checker;
    uint64_t records;
    struct buf packed;
    msgpack_packer packer;
    msgpack_zone zone;
};

static _Noreturn void bad_line(const struct json_records *j, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void bad_line(const struct json_records *j, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    die(EX_DATAERR, "%s: line %" PRIu64 ": %s", rows_file(j->lines), rows_number(j->lines), text);
}

/* The line's object, a new reference. */
static json_t *load(const struct json_records *j, size_t flags)
{
    json_error_t error;
    json_t *object = json_loadb(j->line->data, j->line->len,
                                flags | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!object)
        bad_line(j, "%s", error.text);
    if (!json_is_object(object))
        bad_line(j, "not a JSON object");
    return object;
}

/* Goes on to the next line; false at the end. */
static bool next_line(struct json_records *j)
{
    json_decref(j->exact);
    j->exact = NULL;
    return rows_next(j->lines, &j->line) != ROW_END;
}

/* ---- values ---- */

static bool is_whole(double v)
{
    return v == floor(v) && fabs(v) < 9007199254740992.0; /* 2^53 */
}

/* A number of an array as its element. */
static void pack_element(struct json_records *j, enum element e, double v, struct buf *bin)
{
    int32_t i32;
    float f32 = (float)v;
    switch (e) {
    case ELEMENT_I32:
        if (!is_whole(v) || v < INT32_MIN || v > INT32_MAX)
            bad_line(j, "%.17g is not a whole number of 32 bits", v);
        i32 = (int32_t)v;
        buf_add(bin, &i32, sizeof i32);
        break;
    case ELEMENT_F32:
        if (!isfinite(f32))
            bad_line(j, "%.17g is too large for 32 bits", v);
        buf_add(bin, &f32, sizeof f32);
        break;
    default:
        buf_add(bin, &v, sizeof v);
        break;
    }
}

static void pack_bin(struct json_records *j, const char *key, enum element e, const json_t *list)
{
    size_t i;
    const json_t *v;
    struct buf bin = {0};
    if (!json_is_array(list))
        bad_line(j, "field '%s' is not a list of numbers", key);
    json_array_foreach(list, i, v)
    {
        if (!json_is_number(v))
            bad_line(j,
                     "field '%s': item %zu of the list is no number (to-json prints null for what "
                     "is not finite)",
                     key, i + 1);
        pack_element(j, e, json_number_value(v), &bin);
    }
    msgpack_pack_bin_with_body(&j->packer, bin.data, bin.len);
    buf_free(&bin);
}

/* The value of a field whose numbers are integers or doubles as they are written. */
static void pack_exact(struct json_records *j, const char *key)
{
    if (!j->exact)
        j->exact = load(j, 0);
    pack_json(&j->packer, json_object_get(j->exact, key));
}

/* A number of a field that may be real is a double on the wire, whole or not. */
static void pack_number(struct json_records *j, const struct schema *field, const char *key,
                        double v)
{
    if (field->types & TYPE_NUMBER)
        msgpack_pack_double(&j->packer, v);
    else if (is_whole(v))
        msgpack_pack_int64(&j->packer, (int64_t)v);
    else
        pack_exact(j, key);
}

static void pack_field(struct json_records *j, const char *key, const json_t *value)
{
    const struct schema *field = schema_field(j->schema, key, strlen(key));
    /* A list may be an array of another type, joined, though a third has no array by that name. */
    enum element e = schema_element(j->schema, key, strlen(key));
    msgpack_pack_str_with_body(&j->packer, key, strlen(key));
    if (e && ((field && field->element) || json_is_array(value)))
        pack_bin(j, key, e, value);
    else if (field && json_is_number(value))
        pack_number(j, field, key, json_number_value(value));
    else if (json_is_number(value) || json_is_array(value) || json_is_object(value))
        pack_exact(j, key);
    else
        pack_json(&j->packer, value);
}

static void check_record(struct json_records *j)
{
    msgpack_object o;
    char *excess = object_excess(j->packed.data, j->packed.len);
    if (excess)
        bad_line(j, "the record would have %s", excess);
    msgpack_zone_clear(&j->zone);
    object_unpack(&j->zone, j->packed.data, j->packed.len, &o); /* as it was packed here */
    if (checker_record(j->checker, &o, ++j->records))
        return;
    const char *id = checker_id(j->checker);
    if (id)
        bad_line(j, "id %s: %s", id, checker_problem(j->checker));
    bad_line(j, "%s", checker_problem(j->checker));
}

/* The key that goes first: the object's first one that would not make a header or a trailer of the
 * record there. NULL: no other is there, nor what a record must have. */
static const char *first_key(json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (strcmp(key, "duq") != 0 && strcmp(key, "end") != 0)
            return key;
    }
    return NULL;
}

bool json_records_next(struct json_records *j, const char **bytes, size_t *len)
{
    if (!next_line(j))
        return false;
    /* Where a number is real it may be written as an integer, whose minus zero would be lost. */
    json_t *object = load(j, JSON_DECODE_INT_AS_REAL);
    const char *key, *first = first_key(object);
    json_t *value;
    j->packed.len = 0;
    msgpack_pack_map(&j->packer, json_object_size(object));
    if (first)
        pack_field(j, first, json_object_get(object, first));
    json_object_foreach(object, key, value)
    {
        if (key != first)
            pack_field(j, key, value);
    }
    json_decref(object);
    check_record(j);
    *bytes = j->packed.data;
    *len = j->packed.len;
    return true;
}

/* ---- the whole ---- */

/* The header with the version in front, where readers look for it. */
static json_t *read_header(struct json_records *j)
{
    if (!next_line(j))
        die(EX_DATAERR, "%s: empty, not even a header", rows_file(j->lines));
    json_t *read = load(j, 0);
    if (!json_object_get(read, "duq") || !json_object_get(read, "schema"))
        bad_line(j, "not a header, with the keys \"duq\" and \"schema\": rec to-json --header "
                    "prints one");
    json_t *header = json_object();
    json_object_set(header, "duq", json_object_get(read, "duq"));
    json_object_update_missing(header, read);
    json_decref(read);
    return header;
}

struct json_records *json_records_open(const char *path)
{
    struct json_records *j = xcalloc(1, sizeof *j);
    j->lines = rows_open(ROWS_LINES, (char *const[]){(char *)path}, path != NULL, 0, false);
    if (!msgpack_zone_init(&j->zone, ZONE))
        die(EX_OSERR, "out of memory");
    msgpack_packer_init(&j->packer, &j->packed, pack_into_buf);
    j->header = read_header(j);
    j->checker = checker_new(rows_file(j->lines), j->header);
    j->schema = schema_of_records(json_string_value(json_object_get(j->header, "schema")));
    return j;
}

const json_t *json_records_header(const struct json_records *j)
{
    return j->header;
}

void json_records_close(struct json_records *j)
{
    rows_close(j->lines);
    checker_free(j->checker);
    json_decref(j->exact);
    json_decref(j->header);
    buf_free(&j->packed);
    msgpack_zone_destroy(&j->zone);
    free(j);
}
