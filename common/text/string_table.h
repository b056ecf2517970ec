/* Strings by number and numbers by string: a vocabulary. */
#ifndef DUQ_TEXT_STRING_TABLE_H
#define DUQ_TEXT_STRING_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct string_table;

struct string_table *string_table_new(void);
void string_table_free(struct string_table *t);
/* False, and nothing changed, when the string or the number (0 and up) has an entry. */
bool string_table_add(struct string_table *t, const char *s, size_t len, int32_t number);
/* -1 when there is none. */
int32_t string_table_find(const struct string_table *t, const char *s, size_t len);
/* NULL when there is none; NUL-terminated (and may hold NUL); good until the next addition. len may
 * be NULL. */
const char *string_table_get(const struct string_table *t, int32_t number, size_t *len);
/* One more than the largest number. */
int32_t string_table_size(const struct string_table *t);

#endif
