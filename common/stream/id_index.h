/* The ids of a stream, numbered in the order in which they first appear. */
#ifndef DUQ_STREAM_ID_INDEX_H
#define DUQ_STREAM_ID_INDEX_H

#include <stdbool.h>
#include <stddef.h>

struct id_index;

struct id_index *id_index_new(void);
/* The number of an id, given to it now if it is new (*added, which may be NULL). */
size_t id_index_add(struct id_index *index, const char *id, bool *added);
/* The number of an id; false when it was never added. */
bool id_index_find(const struct id_index *index, const char *id, size_t *number);
/* The id of a number; lives until the next id is added. */
const char *id_index_name(const struct id_index *index, size_t number);
size_t id_index_count(const struct id_index *index);
void id_index_free(struct id_index *index);

#endif
