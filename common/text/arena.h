/* Memory for one text's in-between forms: taken piece by piece, given back all at once. */
#ifndef DUQ_TEXT_ARENA_H
#define DUQ_TEXT_ARENA_H

#include <stddef.h>

struct arena_block;
/* Start from {0}. */
struct arena {
    struct arena_block *blocks; /* the newest first */
    size_t used;                /* of the newest */
};

/* Bytes that stay where they are until the reset; unaligned. */
char *arena_take(struct arena *a, size_t size);
/* The same, aligned for anything. */
void *arena_take_aligned(struct arena *a, size_t size);
/* Everything taken is free again; the largest block is kept. */
void arena_reset(struct arena *a);
void arena_free(struct arena *a);

#endif
