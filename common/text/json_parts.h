/* Reading the parts of a tokenizer.json: {"type": NAME, ...}. All die with EX_DATAERR, naming the
 * file, the part and the field. */
#ifndef DUQ_TEXT_JSON_PARTS_H
#define DUQ_TEXT_JSON_PARTS_H

#include "common/text/pattern.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* role: "normalizer", "pre-tokenizer" ... */
const char *json_part_type(const json_t *part, const char *role, const char *path);
_Noreturn void json_part_refuse(const char *role, const char *type, const char *path);
/* A copy, NUL-terminated; len may be NULL. */
char *json_part_string(const json_t *part, const char *key, const char *type, const char *path,
                       size_t *len);
/* A missing or null flag has the fallback's value. */
bool json_part_flag(const json_t *part, const char *key, bool fallback, const char *type,
                    const char *path);
int64_t json_part_integer(const json_t *part, const char *key, const char *type, const char *path);
const json_t *json_part_array(const json_t *part, const char *key, const char *type,
                              const char *path);
/* The part's "pattern". */
struct pattern *json_part_pattern(const json_t *part, const char *type, const char *path);

#endif
