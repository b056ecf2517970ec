/* Records of one stream completed by those of another with the same id. */
#ifndef DUQ_STREAM_JOIN_H
#define DUQ_STREAM_JOIN_H

#include "common/stream/stream.h"

struct join;

/* Reads all of other. Dies with EX_DATAERR where an id is there twice or missing. */
struct join *join_new(struct stream_reader *other);

/* Adds to a header the keys it lacks and other's has; dies with EX_DATAERR where both name classes
 * and they differ. name: of the stream whose header it is. */
void join_header(const struct join *j, const char *name, json_t *header);

/* Writes the record of r with every field that it lacks, or has as nil, from other's record of its
 * id; false, and nothing is written, when there is none. Dies with EX_DATAERR where both have a
 * label and they differ. */
bool join_record(struct join *j, const struct stream_reader *r, const msgpack_object *record,
                 struct stream_writer *w);

void join_free(struct join *j);

#endif
