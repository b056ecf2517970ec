#include "common/util/json.h"

#include "common/util/diag.h"

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
