/* The record types' schemas (schemas/NAME.json, carried in the program) and the check of a value
 * against one. They describe a record as `rec to-json` prints it, in JSON Schema (draft 2020-12,
 * the keywords that schema.c reads), and with words of our own how it travels:
 *   x-element  the array is a msgpack bin of "i32", "f32" or "f64", little-endian
 *   x-shape    names of the array's dimensions; a last one of "classes" is the number of classes
 *   x-below    "classes": the number is less than the number of classes
 *   x-column   "if-present": a CSV table has its column only if the first record has the field, as
 *              it is with arrays
 *   x-key      the fields that together are unique within a stream */
#ifndef DUQ_STREAM_SCHEMA_H
#define DUQ_STREAM_SCHEMA_H

#include "common/util/mem.h"

#include <jansson.h>
#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>

/* schemas/NAME.json, one entry a file and a last one with a NULL name. */
struct schema_text {
    const char *name, *text;
};
extern const struct schema_text schema_texts[];

enum element { ELEMENT_NONE, ELEMENT_I32, ELEMENT_F32, ELEMENT_F64 };

struct property {
    const char *name;
    bool required;
    struct schema *schema;
};

struct schema {
    unsigned types;                 /* TYPE_..., 0 is any */
    const json_t *one_of;           /* "enum" or "const" as an array, NULL for any value */
    double minimum, above, maximum; /* above: exclusiveMinimum */
    size_t min_length, max_length, min_items;
    bool below_classes;
    bool column_if_present; /* true for arrays, too */
    struct schema *items;
    struct property *properties;
    size_t n_properties;
    bool closed; /* no other properties */
    enum element element;
    size_t dimensions;
    bool per_class; /* x-shape ends in "classes" */
    const char **key;
    size_t n_key;
};

enum {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,
    TYPE_NUMBER = 8,
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64
};

/* NULL when there is no schemas/NAME.json. Schemas live to the program's end. */
const struct schema *schema_find(const char *name);

/* Of a record type, of those that schemas/header.json lists; NULL when it is none. */
const struct schema *schema_of_records(const char *type);

/* A record's field by that name, of its own type, or an array joined from a record of another one;
 * NULL when it is neither. */
const struct schema *schema_field(const struct schema *s, const char *key, size_t key_len);

/* What a bin field of a record holds: as its own type's schema says; for a field joined from
 * another type, as that one's does. ELEMENT_NONE when no schema knows, or s is NULL, as that of an
 * unknown record type. */
enum element schema_element(const struct schema *s, const char *key, size_t key_len);

/* Whether that field is an array with one number for each class. */
bool schema_per_class(const struct schema *s, const char *key, size_t key_len);

size_t element_size(enum element e);
/* The i-th number of a bin's bytes, which need not be aligned. */
double element_at(enum element e, const char *bytes, size_t i);

/* Whether the value is as the schema says, numbers finite, strings UTF-8; if not, why has the
 * reason added ("field 'label': 7, but there are 2 classes"). classes: their number, 0 when not
 * known. */
bool schema_check(const struct schema *s, const msgpack_object *value, size_t classes,
                  struct buf *why);
/* The same for a JSON value. */
bool schema_check_json(const struct schema *s, const json_t *value, size_t classes,
                       struct buf *why);

#endif
