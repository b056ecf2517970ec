/* Checks every record of a stream against its type's schema, and that the schema's key (id, or id
 * and prompt) is unique. */
#ifndef DUQ_STREAM_CHECK_H
#define DUQ_STREAM_CHECK_H

#include "common/stream/stream.h"

struct checker;

/* Checks the header. All here die with EX_DATAERR, file and record named, at what is wrong. */
struct checker *checker_new(const struct stream_reader *r);
void checker_record(struct checker *c, const msgpack_object *record);
void checker_free(struct checker *c);

#endif
