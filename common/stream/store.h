/* Whole records kept in memory, in any order: for shards, samples and joins. */
#ifndef DUQ_STREAM_STORE_H
#define DUQ_STREAM_STORE_H

#include "common/stream/stream.h"

struct stored {
    uint64_t number; /* where it stood in its stream, counted from 0 */
    size_t len;
    char *bytes;
};

struct store {
    struct stored *records;
    size_t count, capacity;
};

/* Reads all records that are left. */
void store_all(struct store *s, struct stream_reader *r);

/* Reads all records that are left and keeps n of them, each set of n as likely as another (all,
 * where there are less), in the stream's order; returns how many there were. The choice depends on
 * seed and the number of records alone. Algorithm R (Vitter 1985), Philox numbers. */
uint64_t store_sample(struct store *s, struct stream_reader *r, size_t n, uint64_t seed);

/* Puts them into an order that depends on seed and their number alone (Fisher and Yates). */
void store_shuffle(struct store *s, uint64_t seed);

void store_free(struct store *s);

#endif
