/* Checks a stream's header and every record of it against its type's schema, and that the schema's
 * key (id, or id and prompt) is unique. */
#ifndef DUQ_STREAM_CHECK_H
#define DUQ_STREAM_CHECK_H

#include "common/stream/stream.h"

struct checker;

/* Checks the header; dies with EX_DATAERR at what is wrong. name: of the file, for that. */
struct checker *checker_new(const char *name, const json_t *header);

/* Whether the record is as it should be; number: its own, for messages about another. */
bool checker_record(struct checker *c, const msgpack_object *record, uint64_t number);
/* What is wrong with the last one that is not, and its id, or NULL where that does not help. */
const char *checker_problem(const struct checker *c);
const char *checker_id(const struct checker *c);

void checker_free(struct checker *c);

#endif
