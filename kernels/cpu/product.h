/* The driver of all matrix products C = A B of the CPU: it packs A, cuts C into pieces for the
 * threads and each piece's sum into blocks that fit the caches, and leaves the arithmetic to the
 * path's multiplier. An element of C is a sum in the order of k, whatever the cut. */
#ifndef DUQ_CPU_PRODUCT_H
#define DUQ_CPU_PRODUCT_H

#include "kernels/cpu/path.h"

/* Memory kept from product to product. */
struct room {
    void *p;
    size_t bytes;
};
/* At least so much, 64-byte aligned; what it held is lost. */
void *room_reserve(struct room *r, size_t bytes);

struct product {
    const struct path *path;
    const struct multiplier *multiplier;
    int rows, columns;
    int words;           /* of the sum: path.h */
    const void *context; /* of the two functions below */
    /* Writes A's rows first, ..., first + count - 1 as a panel. */
    void (*pack_rows)(const struct product *, int first, int count, uint32_t *panel);
    /* The words first, ..., first + n - 1 of B's panel, [n][PANEL]: where they lie, or in scratch.
     * first is a multiple of BLOCK_WORDS. */
    const uint32_t *(*columns_of)(const struct product *, int panel, int first, int n,
                                  void *scratch);
    /* Pairs of panels, 2 i and 2 i + 1, stay together in a piece, and this takes their rows and the
     * panels' sums [BLOCK_ROWS][PANEL]; NULL: they go where the fields below say. */
    void (*store_pair)(const struct product *, int row, int rows, int panel, const float *even,
                       const float *odd);
    /* Where C, scaled, and the bias of its columns (NULL: none) go, rows y_step floats apart; added
     * to what is there where it accumulates. */
    float scale;
    const float *bias;
    float *y;
    size_t y_step;
    bool accumulate;
};

/* A's rows are packed so many at a time, for its packed copy is not to grow with the batch. */
enum { BLOCK_WORDS = 512, ROWS_AT_ONCE = 1008 };

/* By all threads. */
void product_run(const struct product *, struct room *);

/* A panel of `count` rows of `bytes` bytes each, row_step bytes apart: to[chunk][row][CHUNK], rows
 * and chunks filled up with zeros. */
void panel_of_rows(const struct multiplier *, const void *from, size_t row_step, size_t bytes,
                   int count, uint32_t *to);
/* Of [k][count] words, step words apart. */
void panel_of_columns(const struct path *, const void *from, size_t step, int k, int count,
                      uint32_t *to);

/* multiplier.multiply() of whole panels of A and what is left over: words word, ..., word + n - 1
 * of the panels at a, `step` words apart, that hold `rows` rows. */
void panels_multiply(const struct multiplier *, const uint32_t *a, size_t step, int word,
                     const uint32_t *b, int rows, int columns, int n, float *c, bool add);

static inline int chunks_of(int words)
{
    return (words + CHUNK - 1) / CHUNK;
}

#endif
