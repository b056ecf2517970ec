/* Attention's operands as panels (kernels/cpu/path.h), in f32 or in pairs of bf16.
 *
 * Queries are columns of B: PANEL of them, the query heads that share a key head side by side. Keys
 * come in blocks of KEY_BLOCK absolute positions that begin at position 0, whether a key lies in
 * the prefix or is the sequence's own. Keys and values are panels of A, packed once: those of a
 * prefix for all sequences that share it. */
#ifndef DUQ_CPU_ATTENTION_PANELS_H
#define DUQ_CPU_ATTENTION_PANELS_H

#include "kernels/cpu/cpu.h"

/* KEY_STEP: a block's keys are counted up to a multiple of this, with zeros. */
enum { KEY_BLOCK = 64, KEY_STEP = 32, MOST_HEAD_DIM = 1024 };

/* How one call's operands are packed: in pairs where `type` is BF16 and the path multiplies them.
 */
struct operands {
    const struct attention *a;
    const struct path *path;
    const struct multiplier *multiplier;
    bool pairs; /* words are pairs of bf16 */
    int head_dim;
    int dim_words;  /* of a sum over dimensions */
    int row_floats; /* head_dim, filled up to whole panels */
};

/* Ends the program (EX_UNAVAILABLE) where head_dim is more than MOST_HEAD_DIM. */
struct operands operands_of(const struct device *, const struct attention *, enum dtype type);

/* Words of a sum over n keys, or queries; n is a multiple of 32. */
static inline int position_words(const struct operands *o, int n)
{
    return o->pairs ? n / 2 : n;
}

/* Words between A's panels where the sum has `words`, and of all panels that hold `rows`. */
size_t panel_step(const struct operands *, int words);
size_t panels_size(const struct operands *, int rows, int words);

/* ---- keys ---- */

/* Keys packed together: whole blocks of a prefix, or a sequence's own keys and the rest of its
 * prefix in the blocks from `block` on. Their positions below `prefix` are rows of prefix_k. */
struct key_run {
    int prefix_row, prefix, key_row, end; /* end: positions, counted from 0 */
    int block, blocks;
    size_t first; /* of the packed blocks: block b of key head h is number
                   * first + (b - block) * kv_heads + h */
};

/* Of each span its own run, and that of the blocks its prefix shares; both in runs. */
struct key_runs {
    struct key_run *runs;
    size_t n, blocks;  /* blocks: packed in all */
    int *own, *shared; /* [spans]: indices of runs; shared is -1 where there is none */
};

struct key_runs key_runs_of(const struct attention *);
void key_runs_free(struct key_runs *);

/* The run that holds a span's block. */
static inline const struct key_run *run_of_block(const struct key_runs *k, int span, int block)
{
    const struct key_run *own = &k->runs[k->own[span]];
    return block < own->block ? &k->runs[k->shared[span]] : own;
}

/* The number of a run's packed block. */
static inline size_t packed_block(const struct operands *o, const struct key_run *r, int block,
                                  int kv_head)
{
    return r->first + (size_t)(block - r->block) * (size_t)o->a->kv_heads + (size_t)kv_head;
}

/* The keys of a run's block, up to a multiple of KEY_STEP. */
static inline int keys_of_block(const struct key_run *r, int block)
{
    int n = r->end - block * KEY_BLOCK;
    n = n < KEY_BLOCK ? n : KEY_BLOCK;
    return (n + KEY_STEP - 1) / KEY_STEP * KEY_STEP;
}

/* All runs' blocks of k and v as A's panels, `blocks` of each kind that is asked for (NULL is not):
 * with a row for each key, the sum over dimensions; with a row for each dimension, the sum over
 * keys. */
struct packed_keys {
    size_t row_size, column_size; /* words of a packed block */
    uint32_t *k_rows, *k_columns, *v_rows, *v_columns;
};

/* Words of a packed block. */
size_t key_rows_size(const struct operands *);
size_t key_columns_size(const struct operands *);

void pack_keys(const struct operands *, const struct key_runs *, const struct packed_keys *);

/* ---- queries ---- */

/* The queries that share one panel of B. */
struct query_panel {
    int span, kv_head, first; /* first: of a span's, counted token by token and head */
    int queries;
    int32_t last[PANEL]; /* a query's own position: the last it sees */
    size_t row[PANEL];   /* its number among all queries and heads: row * heads + head */
};

/* All of a call's panels; the caller frees them. */
struct query_panel *query_panels_of(const struct attention *, size_t *n);

/* The first block that any of a panel's queries sees, and the last. */
static inline int first_block(const struct operands *o, const struct query_panel *p)
{
    int begin = o->a->window ? p->last[0] - o->a->window + 1 : 0;
    return begin > 0 ? begin / KEY_BLOCK : 0;
}

static inline int last_block(const struct query_panel *p)
{
    return p->last[PANEL - 1] / KEY_BLOCK;
}

/* scores = K Q^T of a block, capped where the call caps them, keys that a query does not see being
 * minus infinity: k and q are packed, q times the scale where scores are capped. slope: of the cap,
 * [keys][PANEL]; NULL where nobody asks. */
void score_block(const struct operands *, const struct query_panel *, int block, int keys,
                 const uint32_t *k, const uint32_t *q, float *scores, float *slope);

/* Rows of q, or of another [., heads * head_dim], times factor: to[query][row_floats]. Columns
 * without a query repeat the last one, or are zero. */
void gather_queries(const struct operands *, const struct query_panel *, const float *from,
                    float factor, bool repeat, float *to);

/* B's panel of gathered rows: a column for each, the sum over dimensions. */
void pack_query_columns(const struct operands *, float *rows, uint32_t *to);
/* B's panels of n rows (of queries): a column for each dimension, panel after panel, the sum over
 * the rows. */
void pack_query_rows(const struct operands *, const float *rows, uint32_t *to);
/* B's panel of [keys][PANEL]: the sum over keys. Returns where it is: to, or x itself. */
const uint32_t *pack_scores(const struct operands *, const float *x, int keys, uint32_t *to);
/* A's panels of [keys][PANEL]: a row for each key, the sum over queries. */
void pack_score_rows(const struct operands *, const float *x, int keys, uint32_t *to);

/* x[row_floats][PANEL] as rows: to[query][row_floats]. */
void turn_columns(const struct operands *, const float *x, float *to);

#endif
