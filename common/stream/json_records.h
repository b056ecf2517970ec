/* Records from JSON lines: a line with a header, then a line for each record, as `rec to-json
 * --header` prints them. What was printed comes back as the same bytes: numbers of keys that the
 * schema does not name are integers or doubles as they are written, 1 or 1.0. */
#ifndef DUQ_STREAM_JSON_RECORDS_H
#define DUQ_STREAM_JSON_RECORDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_records;

/* path NULL or "-": standard input. Reads the header. All here die with EX_DATAERR, file and line
 * named, at a line that is not JSON, at a number that its field cannot hold, and at what the
 * schemas do not allow. */
struct json_records *json_records_open(const char *path);

/* The header, borrowed. */
const json_t *json_records_header(const struct json_records *j);

/* The next record's bytes, living until the next call; false at the end. */
bool json_records_next(struct json_records *j, const char **bytes, size_t *len);

void json_records_close(struct json_records *j);

#endif
