/* Packing: which sequences share a prefix, and sequences laid back to back for one pass. */
#ifndef DUQ_MODEL_BATCH_H
#define DUQ_MODEL_BATCH_H

#include "common/model/answer_tree.h"
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

/* Own tokens of several sequences, packed. Host memory; grows. Start from {0}.
 *
 * What a sequence is asked beyond its last position are an answer tree's branches. The first one
 * follows the sequence in its span. The others are spans of their own, which see the sequence's
 * keys and values by copies: past the batch's n_tokens rows of them stand n_copies more, of the
 * sequence's rows and then the branch's, for each such span. */
struct batch {
    int n_tokens, n_spans, n_reads, n_copies;
    int32_t *tokens, *positions; /* [n_tokens] */
    /* [n_spans], queries = keys; of further branches queries < keys, and key_row counts from
     * n_tokens on */
    struct attention_span *spans;
    int *reads; /* [n_spans]: how many of a span's last positions are read at; n_reads in all */
    int32_t *copies; /* [n_copies]: the rows they are of */
    int max_position;
    int cap_tokens, cap_spans, cap_copies;
};

/* Adds s without its first `prefix` tokens, whose keys are the rows from prefix_row of a cache, and
 * the tree's branches; t NULL: it is read at its last position. Dies (EX_DATAERR) where tokens
 * times branches are more than can be kept. */
void batch_add(struct batch *b, struct sequence s, const struct answer_tree *t, int prefix,
               int prefix_row);
/* Span i as attention takes it, key_row among all of the batch's rows. */
struct attention_span batch_span(const struct batch *b, int i);
/* Whether both hold the same tokens, divided in the same way. */
bool same_batch(const struct batch *a, const struct batch *b);
void batch_clear(struct batch *b);
void batch_free(struct batch *b);

#endif
