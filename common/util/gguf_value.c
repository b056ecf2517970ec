/* The values of a GGUF file's settings. */
#include "common/util/diag.h"
#include "common/util/gguf.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

/* A fixed-size element. New reference; NULL where JSON has no such number. */
static json_t *json_number(enum gguf_kind kind, const unsigned char *bytes)
{
#define LOAD(kind, type, make)                                                                     \
    case kind: {                                                                                   \
        type v;                                                                                    \
        memcpy(&v, bytes, sizeof v);                                                               \
        return make;                                                                               \
    }
    switch (kind) {
        LOAD(GGUF_U8, uint8_t, json_integer(v))
        LOAD(GGUF_I8, int8_t, json_integer(v))
        LOAD(GGUF_U16, uint16_t, json_integer(v))
        LOAD(GGUF_I16, int16_t, json_integer(v))
        LOAD(GGUF_U32, uint32_t, json_integer(v))
        LOAD(GGUF_I32, int32_t, json_integer(v))
        LOAD(GGUF_U64, uint64_t, v > INT64_MAX ? NULL : json_integer((json_int_t)v))
        LOAD(GGUF_I64, int64_t, json_integer(v))
        LOAD(GGUF_F32, float, json_real((double)v))
        LOAD(GGUF_F64, double, json_real(v))
        LOAD(GGUF_BOOL, uint8_t, v > 1 ? NULL : json_boolean(v))
    case GGUF_STRING:
    case GGUF_ARRAY:
        break;
    }
#undef LOAD
    return NULL;
}

bool gguf_next_string(struct gguf_strings *strings, const char **s, size_t *len)
{
    const struct gguf_setting *array = strings->setting;
    if (strings->at == array->size)
        return false;
    uint64_t n;
    memcpy(&n, array->bytes + strings->at, sizeof n);
    *s = (const char *)array->bytes + strings->at + sizeof n;
    *len = (size_t)n;
    strings->at += sizeof n + (size_t)n;
    return true;
}

static json_t *next_json(struct gguf_strings *strings, size_t i)
{
    const struct gguf_setting *s = strings->setting;
    if (s->kind != GGUF_STRING)
        return json_number(s->kind, s->bytes + s->size / s->count * i);
    const char *text;
    size_t len;
    return gguf_next_string(strings, &text, &len) ? json_stringn(text, len) : NULL;
}

json_t *gguf_json(const struct gguf *g, const struct gguf_setting *s)
{
    struct gguf_strings strings = {.setting = s};
    json_t *array = json_array();
    for (size_t i = 0; i < s->count; i++) {
        json_t *element = next_json(&strings, i);
        if (!element)
            die(EX_DATAERR,
                "%s: %s holds what is no number, no truth value or not UTF-8 (element %zu)",
                gguf_path(g), s->key, i);
        json_array_append_new(array, element);
    }
    if (s->is_array)
        return array;
    json_t *single = json_incref(json_array_get(array, 0));
    json_decref(array);
    return single;
}

/* The single value of a key; NULL where it is absent. New reference. */
static json_t *value_of(const struct gguf *g, const char *key)
{
    const struct gguf_setting *s = gguf_find(g, key);
    return s ? gguf_json(g, s) : NULL;
}

bool gguf_bool(const struct gguf *g, const char *key, bool fallback)
{
    json_t *v = value_of(g, key);
    if (v && !json_is_boolean(v))
        die(EX_DATAERR, "%s: %s is neither true nor false", gguf_path(g), key);
    bool value = v ? json_is_true(v) : fallback;
    json_decref(v);
    return value;
}

int64_t gguf_whole(const struct gguf *g, const char *key, int64_t fallback)
{
    json_t *v = value_of(g, key);
    if (v && !json_is_integer(v))
        die(EX_DATAERR, "%s: %s is not a whole number", gguf_path(g), key);
    int64_t value = v ? json_integer_value(v) : fallback;
    json_decref(v);
    return value;
}

char *gguf_text(const struct gguf *g, const char *key)
{
    json_t *v = value_of(g, key);
    if (v && !json_is_string(v))
        die(EX_DATAERR, "%s: %s is not a text", gguf_path(g), key);
    char *text = v ? xstrdup(json_string_value(v)) : NULL;
    json_decref(v);
    return text;
}

const struct gguf_setting *gguf_array(const struct gguf *g, const char *key, enum gguf_kind kind)
{
    static const char *const names[] = {
        [GGUF_I32] = "whole numbers (i32)", [GGUF_F32] = "f32", [GGUF_STRING] = "strings"};
    const struct gguf_setting *s = gguf_find(g, key);
    if (s && (!s->is_array || s->kind != kind))
        die(EX_DATAERR, "%s: %s is not an array of %s", gguf_path(g), key, names[kind]);
    return s;
}
