#include "common/util/json.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdio.h>

json_t *json_read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        die_errno("%s", path);
    json_error_t error;
    json_t *value = json_loadf(f, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    fclose(f);
    if (!value)
        die(EX_DATAERR, "%s: line %d, column %d: %s", path, error.line, error.column, error.text);
    return value;
}

static char *text_of(const json_t *value)
{
    /* 15 digits: 0.1 is said as 0.1. */
    size_t flags = JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15);
    return value ? json_dumps(value, flags) : xstrdup("not set");
}

const char *json_difference(const json_t *then, const json_t *now, char **before, char **after)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)now, key, value)
    {
        const json_t *old = json_object_get(then, key);
        if (old && json_equal(old, value))
            continue;
        *before = text_of(old);
        *after = text_of(value);
        return key;
    }
    return NULL;
}
