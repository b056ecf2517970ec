/* JSON: files, with errors that name the file and the place; values as text, and compared. */
#ifndef DUQ_UTIL_JSON_H
#define DUQ_UTIL_JSON_H

#include <jansson.h>
#include <stdio.h>

/* Reads a whole file; dies with EX_NOINPUT or EX_DATAERR (file, line and column named). */
json_t *json_read_file(const char *path);

/* A string of bytes that need not be UTF-8, such as a path: each that is not becomes U+FFFD. New
 * reference. */
json_t *json_lossy(const char *bytes);

/* An integer where the number is whole and exact, so that it is written as one; else a real, which
 * it must be able to be. New reference. */
json_t *json_number(double number);

/* The value, whatever it is, as text, which the caller frees; flags: as json_dumps(). Dies
 * (EX_OSERR) where it cannot be made. */
char *json_text(const json_t *value, size_t flags);

/* The same text and a newline. What cannot be written is the stream's error, as of fwrite(). */
void json_write(const json_t *value, size_t flags, FILE *to);

/* The first key of `now`, or else of `then`, whose value is another in the other one, or not there;
 * NULL: they are the same. but: a key that does not count, or NULL. */
const char *json_differing_key(const json_t *then, const json_t *now, const char *but);
/* The same of all keys. *before and *after receive both values as text, which the caller frees. */
const char *json_difference(const json_t *then, const json_t *now, char **before, char **after);

#endif
