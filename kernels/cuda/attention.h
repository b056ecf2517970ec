/* Attention on the GPU: how its work is cut up, and what the forward and backward passes share.
 *
 * cuBLAS does every product, so scores lie in memory. The queries of a sequence are cut into strips
 * of at most STRIP tokens, each under all heads; a strip's rows are (token, query head), so that
 * the query heads which share a key head are rows of one product. The scores of a strip are two
 * matrices:
 *   - over the shared prefix. Strips of sequences that share it follow each other, and one product
 *     for each key head serves all of them (a "run");
 *   - over the sequence's own keys: small and causal, one product for each strip and key head.
 *     Those of one shape (a "bucket") are one call with arrays of pointers. Shapes are rounded up,
 *     which costs products with zeros but keeps the calls few. (A kernel of our own, in f32 without
 *     tensor cores, would have to reach the chip's full rate for f32 to keep up: in Mistral-7B, own
 *     parts of 100 tokens take 0.8 MFLOP a token and layer, which is 0.04 us at 20 TFLOP/s, while
 *     scores of 128 rounded columns under 32 heads move 50 kB through memory and cache, 0.03 us.)
 * One kernel goes through both parts of a row together. Its maximum and sum are therefore those of
 * the whole row, the log-sum-exp of the parts is merged before values are weighted, and what is
 * left is to add the two weighted sums and to divide by the sum.
 *
 * What is held has a bound (cuda_attention_limit()). A chunk of strips has its own scores and its
 * results at once. It goes through its prefixes' scores in sweeps, which are a few MB so that they
 * are made, turned into weights and used within the chip's cache, where the memory's bandwidth
 * would be the limit otherwise: 12 bytes for each score. A row is never divided, however long. */
#ifndef DUQ_CUDA_ATTENTION_H
#define DUQ_CUDA_ATTENTION_H

#include "kernels/cuda/vector.h"

#include <vector>

/* Tokens of a strip at most, and to what numbers of own and of prefix keys are rounded. */
enum { STRIP = 64, OWN_STEP = 32, PREFIX_STEP = 8 };

/* A bucket's pointers begin where 16 bytes can be read at once, which some of cuBLAS's kernels do
 * (NVIDIA/FasterTransformer, issue 149). */
enum { POINTERS_STEP = 16 / sizeof(void *) };

/* ---- the plan ---- */

struct strip {
    int query_row, queries; /* rows of q and out */
    int position;           /* of the first query */
    int prefix;             /* the prefix's length */
    int ordinal;            /* which of its sequence's strips it is */
    int padded;             /* queries in the product over own keys */

    int token, chunk_tokens, run_tokens; /* packed queries: its first, the chunk's, its run's */
    int prefix_begin, prefix_columns;    /* first position of the run's scores; 0: sees none */
    int own_row, own_begin, own_columns; /* first own key of its scores, and its packed row */
    size_t prefix_scores;                /* floats before [kv_heads][run_tokens, group][columns] */
    size_t own_scores;                   /* before [kv_heads][padded, group][own_columns] */
    size_t own_results;                  /* before [kv_heads][padded, group][dim] */
};

struct run {
    int first_strip, strips;
    int token, tokens; /* of the chunk's packed queries */
    int prefix_row;    /* packed key row of the prefix's first key */
    int begin, end;    /* positions that are seen, rounded */
    size_t scores;     /* floats before its scores */
};

struct sweep {
    int first_strip, strips, first_run, runs;
    int most_padded; /* of a strip */
};

struct bucket {
    int first, strips; /* of the plan's order */
    int padded, columns;
};

struct chunk {
    int first_strip, strips;
    int first_token, tokens; /* of the plan's query_rows */
    int first_sweep, sweeps, first_bucket, buckets;
    int most_queries; /* of a strip */
};

/* It depends on spans and shapes alone: the layers of a pass share one. */
struct attention_plan {
    std::vector<attention_span> spans;
    int heads, kv_heads, head_dim, window;
    size_t chunk_bytes, sweep_bytes; /* limits */

    int dim; /* head_dim rounded up to 8, which tensor cores need; the rest are zeros */
    std::vector<strip> strips;
    std::vector<chunk> chunks;
    std::vector<bucket> buckets;
    std::vector<sweep> sweeps;
    std::vector<run> runs;
    std::vector<int> order;      /* strips by chunk and bucket, some twice to fill up */
    std::vector<int> query_rows; /* of packed queries: rows of q */
    std::vector<int> key_rows;   /* of packed keys: rows of k, ~rows of prefix_k, or NO_ROW */
    int own_rows;                /* packed keys before those of prefixes */
    size_t most_tokens, most_own_scores, most_own_results, most_prefix_scores; /* at once */

    /* On the device, or NULL while it is not there. */
    struct strip *device_strips;
    int *device_order, *device_query_rows, *device_key_rows;
};

enum { NO_ROW = INT32_MIN }; /* a packed key of zeros, which rounded shapes reach */

/* The device keeps the last plan. The second has also been sent there. */
const struct attention_plan *attention_plan_of(struct device *, const struct attention *);
const struct attention_plan *attention_plan_for(struct device *, const struct attention *);
/* Bytes that it takes there. */
size_t attention_plan_bytes(const struct attention_plan *);

/* ---- packed operands ---- */

/* A matrix, and the device's array of where in it the problems of the own part lie, ordered as the
 * plan's order, key head by key head. */
template <typename T> struct operand {
    T *all;
    void **each;
};

/* Of a chunk: q, d_out, prefix_results [kv_heads][tokens, group][dim], own results and scores, and
 * of a sweep: prefix scores, as struct strip says. Of all keys: k, v, dk, dv
 * [key_rows][kv_heads][dim]. Weights (probabilities and gradients by scores) have type T and take
 * the places of the scores they are made from. */
template <typename T> struct operands {
    struct operand<T> q, k, v;
    struct operand<float> own_scores, own_results;
    float *prefix_scores, *prefix_results;
    float *sums; /* [tokens, heads] of a chunk: by what its results are divided */
    /* Of the backward pass, else NULL. */
    struct operand<T> d_out;
    struct operand<float> d_own_scores, dk, dv;
    float *d_prefix_scores;

    void *memory; /* all of it: for cuda_release() */
};

/* Makes room, and packs keys and values. */
template <typename T>
operands<T> attention_begin(struct device *, const struct attention_plan *,
                            const struct attention *, bool backward);

/* Packs the chunk's rows of `from` [., heads * head_dim]. */
template <typename T>
void attention_pack(struct device *, const struct attention_plan *, const struct chunk *,
                    const float *from, T *to);

/* ---- products: of a chunk over own keys, of a sweep over prefixes ---- */

/* scores = queries keys^T */
template <typename T>
void own_scores(struct device *, const struct attention_plan *, const struct chunk *,
                const struct operand<T> *queries, const struct operand<T> *keys,
                const struct operand<float> *scores);
template <typename T>
void prefix_scores(struct device *, const struct attention_plan *, const struct chunk *,
                   const struct sweep *, const T *queries, const T *keys, float *scores);

/* results = weights keys */
template <typename T>
void own_results(struct device *, const struct attention_plan *, const struct chunk *,
                 const struct operand<float> *weights, const struct operand<T> *keys,
                 const struct operand<float> *results);
template <typename T>
void prefix_results(struct device *, const struct attention_plan *, const struct chunk *,
                    const struct sweep *, const float *weights, const T *keys, float *results);

/* d_keys += weights^T queries */
template <typename T>
void own_key_gradients(struct device *, const struct attention_plan *, const struct chunk *,
                       const struct operand<float> *weights, const struct operand<T> *queries,
                       const struct operand<float> *d_keys);
template <typename T>
void prefix_key_gradients(struct device *, const struct attention_plan *, const struct chunk *,
                          const struct sweep *, const float *weights, const T *queries,
                          float *d_keys);

/* to[., heads * head_dim] = (prefix_results + own_results) / sums; sums NULL: 1. */
template <typename To>
void attention_merge(struct device *, const struct attention_plan *, const struct chunk *,
                     const float *prefix_results, const float *own_results, const float *sums,
                     To *to);

/* ---- for kernels that give a row to a warp ---- */

enum { ROWS_PER_BLOCK = 8 };

static inline unsigned blocks_of_rows(size_t rows)
{
    return (unsigned)div_up(rows, ROWS_PER_BLOCK);
}

static __device__ inline int row_of_warp(unsigned block)
{
    return (int)(block * ROWS_PER_BLOCK + threadIdx.x / WARP);
}

/* For the rows of scores of a sweep: a strip in x, its rows in y. */
static inline dim3 grid_of_scores(const struct attention_plan *p, const struct sweep *s)
{
    return dim3((unsigned)s->strips, blocks_of_rows((size_t)(s->most_padded * p->heads)));
}

/* What a product q.k becomes before the softmax; cap 0: times scale and no more. */
struct score_rule {
    float scale, cap;
};

static inline struct score_rule score_rule_of(const struct attention *a)
{
    return {a->scale, a->cap};
}

static __device__ inline float score_of(const struct score_rule *r, float product)
{
    /* Rounded, as in the row's log-sum-exp: a difference must not take it unrounded. */
    float x = __fmul_rn(r->scale, product);
    return r->cap > 0 ? r->cap * tanhf(x / r->cap) : x;
}

/* The derivative by the product. */
static __device__ inline float slope_of(const struct score_rule *r, float product)
{
    float t = r->cap > 0 ? tanhf(r->scale * product / r->cap) : 0.0f;
    return r->scale * (1.0f - t * t);
}

/* The first position that the query at `position` sees. */
EVERYWHERE int first_seen(int position, int window)
{
    return window && position >= window ? position - window + 1 : 0;
}

/* A row of scores, of which columns begin .. end - 1 are seen. */
struct columns {
    size_t at; /* floats before it, of own or of prefix scores */
    int n, begin, end;
};

struct score_row {
    bool query; /* or padding */
    int token, head;
    struct columns prefix, own;
};

/* Row `row` of [kv_heads][padded, group] of a strip. */
static __device__ inline struct score_row find_row(const struct strip *s, int row, int group,
                                                   int window)
{
    struct score_row r;
    int kv_head = row / (s->padded * group), in = row % (s->padded * group);
    r.token = in / group;
    r.head = kv_head * group + in % group;
    r.query = r.token < s->queries;
    int position = s->position + r.token, from = first_seen(position, window);
    r.own.at = s->own_scores + (size_t)row * (size_t)s->own_columns;
    r.own.n = s->own_columns;
    r.own.begin = max(from - s->prefix, 0) - s->own_begin;
    r.own.end = position - s->prefix - s->own_begin + 1;
    size_t prefix_row = (size_t)kv_head * (size_t)s->run_tokens * (size_t)group + (size_t)in;
    r.prefix.at = s->prefix_scores + prefix_row * (size_t)s->prefix_columns;
    r.prefix.n = s->prefix_columns;
    r.prefix.begin = max(from - s->prefix_begin, 0);
    r.prefix.end = s->prefix_columns ? s->prefix - s->prefix_begin : 0;
    return r;
}

#endif
