#include "common/text/json_parts.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

const char *json_part_type(const json_t *part, const char *role, const char *path)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    if (!type)
        die(EX_DATAERR, "%s: a %s without a type", path, role);
    return type;
}

void json_part_refuse(const char *role, const char *type, const char *path)
{
    die(EX_DATAERR, "%s: the %s '%s' is not supported", path, role, type);
}

char *json_part_string(const json_t *part, const char *key, const char *type, const char *path,
                       size_t *len)
{
    const json_t *value = json_object_get(part, key);
    if (!json_is_string(value))
        die(EX_DATAERR, "%s: %s: '%s' is missing or not a string", path, type, key);
    size_t n = json_string_length(value);
    char *copy = xmalloc(n + 1);
    memcpy(copy, json_string_value(value), n + 1);
    if (len)
        *len = n;
    return copy;
}

bool json_part_flag(const json_t *part, const char *key, bool fallback, const char *type,
                    const char *path)
{
    const json_t *value = json_object_get(part, key);
    if (!value || json_is_null(value))
        return fallback;
    if (!json_is_boolean(value))
        die(EX_DATAERR, "%s: %s: '%s' is neither true nor false", path, type, key);
    return json_is_true(value);
}

int64_t json_part_integer(const json_t *part, const char *key, const char *type, const char *path)
{
    const json_t *value = json_object_get(part, key);
    if (!json_is_integer(value))
        die(EX_DATAERR, "%s: %s: '%s' is missing or not a whole number", path, type, key);
    return json_integer_value(value);
}

const json_t *json_part_array(const json_t *part, const char *key, const char *type,
                              const char *path)
{
    const json_t *value = json_object_get(part, key);
    if (!json_is_array(value))
        die(EX_DATAERR, "%s: %s: '%s' is missing or not an array", path, type, key);
    return value;
}

struct pattern *json_part_pattern(const json_t *part, const char *type, const char *path)
{
    char *where = xasprintf("%s: %s", path, type);
    struct pattern *p = pattern_from_json(json_object_get(part, "pattern"), where);
    free(where);
    return p;
}
