/* Packing: which sequences share a prefix, and sequences laid back to back for one pass. */
#ifndef DUQ_MODEL_BATCH_H
#define DUQ_MODEL_BATCH_H

#include "kernels/ops.h"

struct sequence {
    const int32_t *tokens;
    int n; /* at least 1 */
};

/* Sequences that begin with the same `prefix` tokens (0: nothing shared), as a range of the order
 * that find_groups() returns. */
struct group {
    int first, count;
    int prefix; /* shorter than each of them: a last token is always a sequence's own */
};

/* Orders the sequences by their tokens (order: [n], indices into s) and divides that order into
 * groups such that the fewest tokens are computed, each prefix once. Groups come in order and cover
 * all. Returns how many; *groups is the caller's to free. */
int find_groups(const struct sequence *s, int n, int32_t *order, struct group **groups);

/* Own tokens of several sequences, packed. Host memory; grows. Start from {0}. */
struct batch {
    int n_tokens, n_spans;
    int32_t *tokens, *positions;  /* [n_tokens] */
    struct attention_span *spans; /* [n_spans], queries = keys */
    int max_position;
    int cap_tokens, cap_spans;
};

/* Adds s without its first `prefix` tokens, whose keys are the rows from prefix_row of a cache. */
void batch_add(struct batch *b, struct sequence s, int prefix, int prefix_row);
/* Whether both hold the same tokens, divided in the same way. */
bool same_batch(const struct batch *a, const struct batch *b);
void batch_clear(struct batch *b);
void batch_free(struct batch *b);

#endif
