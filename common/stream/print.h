/* Records as text: a JSON object or a CSV row. */
#ifndef DUQ_STREAM_PRINT_H
#define DUQ_STREAM_PRINT_H

#include "common/stream/stream.h"
#include "common/util/mem.h"

/* Adds the record as one line of JSON (with its newline). Arrays become lists of numbers, as the
 * schemas say; f32 have 9 digits and f64 17, which is enough to get the same number back, and in
 * keys that the schema does not name a point or an exponent, by which they are no integers; what is
 * not finite is null. Dies with EX_DATAERR where a string is not UTF-8 or no schema knows what a
 * bin holds. */
void print_json(struct buf *out, const struct stream_reader *r, const msgpack_object *record);

/* Adds the value of a record's field by that name as JSON, in the same way, without a newline. */
void print_value(struct buf *out, const struct stream_reader *r, const msgpack_object_str *key,
                 const msgpack_object *v);

struct csv_columns;

/* The columns of a CSV table: the fields of the schema, in its order, arrays (and those
 * that the schema says) only if the first record has them; then other fields of the first record.
 * An array with a number for each class has a column for each class ("probs.NAME", or "probs.0"
 * where the classes have no names); another is one cell, its numbers separated by spaces. */
struct csv_columns *csv_columns_new(const struct stream_reader *r, const msgpack_object *first);
void csv_columns_free(struct csv_columns *c);
void print_csv_header(struct buf *out, const struct csv_columns *c);
/* nil is an empty cell, what is not finite "nan", "inf" or "-inf". Dies with EX_DATAERR at a field
 * that has no column. */
void print_csv(struct buf *out, const struct csv_columns *c, const struct stream_reader *r,
               const msgpack_object *record);

#endif
