/* Reading JSON files with errors that name the file and the place. */
#ifndef DUQ_UTIL_JSON_H
#define DUQ_UTIL_JSON_H

#include <jansson.h>

/* Reads a whole file; dies with EX_NOINPUT or EX_DATAERR (file, line and column named). */
json_t *json_read_file(const char *path);

#endif
