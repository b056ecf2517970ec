/* What the forward and backward passes of attention share: packed operands, their products by
 * cuBLAS, merging what the prefix and the own keys gave (attention.h). */
#include "kernels/cuda/attention.h"

#include <algorithm>

/* ---- packing: a warp has a row ---- */

/* to[dim] = from[width], then zeros; all zeros where from is NULL. */
template <int V, typename T>
static __device__ inline void pack_row(const float *from, int width, T *to, int dim)
{
    for (int i = (int)(threadIdx.x % WARP) * V; i < dim; i += WARP * V) {
        vector<float, V> x = {};
        if (from && i < width)
            x = load<V>(from + i);
        store<V>(to + i, x);
    }
}

/* [key][kv_head][dim] of k and v (blockIdx.y 0 and 1), in the packed order. */
template <typename T> struct key_packing {
    const float *k, *v, *prefix_k, *prefix_v;
    T *to_k, *to_v;
};

template <typename T, int V>
static __global__ void pack_keys(struct key_packing<T> p, const int *rows, int n, int kv_heads,
                                 int head_dim, int dim)
{
    int at = row_of_warp(blockIdx.x);
    if (at >= n)
        return;
    int row = rows[at / kv_heads];
    const float *from = nullptr;
    if (row != NO_ROW) {
        const float *own = blockIdx.y ? p.v : p.k;
        const float *prefix = blockIdx.y ? p.prefix_v : p.prefix_k;
        size_t head = (size_t)(row < 0 ? ~row : row) * (size_t)kv_heads + (size_t)(at % kv_heads);
        from = (row < 0 ? prefix : own) + head * (size_t)head_dim;
    }
    T *to = blockIdx.y ? p.to_v : p.to_k;
    pack_row<V>(from, head_dim, to + (size_t)at * (size_t)dim, dim);
}

template <typename T>
static void pack_all_keys(struct device *d, const struct attention_plan *p,
                          const struct attention *a, const struct operands<T> *o)
{
    struct key_packing<T> packing = {
        a->k, a->v, a->prefix_k, a->prefix_v, o->k.all, o->v.all
    };
    size_t n = p->key_rows.size() * (size_t)p->kv_heads;
    bool four = p->head_dim % 4 == 0 && fours(a->k, a->v, a->prefix_k, a->prefix_v);
    auto pack = four ? pack_keys<T, 4> : pack_keys<T, 1>;
    LAUNCH(d, pack, dim3(blocks_of_rows(n), 2), ROWS_PER_BLOCK * WARP, 0, packing,
           p->device_key_rows, (int)n, p->kv_heads, p->head_dim, p->dim);
}

/* Rows of a chunk's packed queries. Past the last key head come rows of zeros, which the last
 * strip's product reads. */
static size_t packed_query_rows(const struct attention_plan *p, size_t tokens)
{
    return tokens * (size_t)p->heads + (size_t)(STRIP * (p->heads / p->kv_heads));
}

/* to[kv_head][token, head of the group][dim] */
template <typename T, int V>
static __global__ void pack_queries(const float *from, const int *rows, int tokens, int n,
                                    int heads, int group, int head_dim, int dim, T *to)
{
    int at = row_of_warp(blockIdx.x);
    if (at >= n)
        return;
    const float *row = nullptr;
    if (at < tokens * heads) {
        int kv_head = at / (tokens * group), in = at % (tokens * group);
        size_t head = (size_t)rows[in / group] * (size_t)heads;
        head += (size_t)(kv_head * group + in % group);
        row = from + head * (size_t)head_dim;
    }
    pack_row<V>(row, head_dim, to + (size_t)at * (size_t)dim, dim);
}

template <typename T>
void attention_pack(struct device *d, const struct attention_plan *p, const struct chunk *c,
                    const float *from, T *to)
{
    size_t n = packed_query_rows(p, (size_t)c->tokens);
    bool four = p->head_dim % 4 == 0 && fours(from);
    auto pack = four ? pack_queries<T, 4> : pack_queries<T, 1>;
    LAUNCH(d, pack, blocks_of_rows(n), ROWS_PER_BLOCK * WARP, 0, from,
           p->device_query_rows + c->first_token, c->tokens, (int)n, p->heads,
           p->heads / p->kv_heads, p->head_dim, p->dim, to);
}

/* ---- where the own part's problems lie ---- */

template <typename T>
static __device__ inline void point(const struct operand<T> *o, size_t i, size_t at)
{
    if (o->all)
        o->each[i] = o->all + at;
}

template <typename T>
static __global__ void point_at_problems(struct operands<T> o, const struct strip *strips,
                                         const int *order, size_t n, int kv_heads, int group,
                                         int dim)
{
    size_t i = flat_index<1>();
    if (i >= n)
        return;
    struct strip s = strips[order[i / (size_t)kv_heads]];
    size_t head = i % (size_t)kv_heads, width = (size_t)dim;
    size_t rows = head * (size_t)s.padded * (size_t)group;
    size_t query = (head * (size_t)s.chunk_tokens + (size_t)s.token) * (size_t)group * width;
    size_t key = ((size_t)s.own_row * (size_t)kv_heads + head) * width;
    size_t scores = s.own_scores + rows * (size_t)s.own_columns;
    point(&o.q, i, query);
    point(&o.d_out, i, query);
    point(&o.k, i, key);
    point(&o.v, i, key);
    point(&o.dk, i, key);
    point(&o.dv, i, key);
    point(&o.own_scores, i, scores);
    point(&o.d_own_scores, i, scores);
    point(&o.own_results, i, s.own_results + rows * width);
}

/* Takes pieces of one allocation; counts them while there is none. */
struct carving {
    char *memory;
    size_t used;
};

template <typename T> static T *carve(struct carving *c, size_t n)
{
    T *piece = c->memory ? reinterpret_cast<T *>(c->memory + c->used) : nullptr;
    c->used += (n * sizeof(T) + 255) / 256 * 256;
    return piece;
}

template <typename T> static operand<T> carve_operand(struct carving *c, size_t n, size_t problems)
{
    T *all = carve<T>(c, n);
    return {all, carve<void *>(c, problems)};
}

template <typename T>
static operands<T> lay_out(const struct attention_plan *p, bool backward, struct carving *c)
{
    size_t problems = p->order.size() * (size_t)p->kv_heads;
    size_t queries = packed_query_rows(p, p->most_tokens) * (size_t)p->dim;
    size_t keys = p->key_rows.size() * (size_t)p->kv_heads * (size_t)p->dim;
    operands<T> o = {};
    o.q = carve_operand<T>(c, queries, problems);
    o.k = carve_operand<T>(c, keys, problems);
    o.v = carve_operand<T>(c, keys, problems);
    o.own_scores = carve_operand<float>(c, p->most_own_scores, problems);
    o.own_results = carve_operand<float>(c, p->most_own_results, problems);
    o.prefix_scores = carve<float>(c, p->most_prefix_scores);
    o.prefix_results = carve<float>(c, queries);
    o.sums = carve<float>(c, p->most_tokens * (size_t)p->heads);
    if (backward) {
        o.d_out = carve_operand<T>(c, queries, problems);
        o.d_own_scores = carve_operand<float>(c, p->most_own_scores, problems);
        o.d_prefix_scores = carve<float>(c, p->most_prefix_scores);
        o.dk = carve_operand<float>(c, keys, problems);
        o.dv = carve_operand<float>(c, keys, problems);
    }
    o.memory = c->memory;
    return o;
}

template <typename T> static size_t operand_bytes(const struct attention_plan *p, bool backward)
{
    struct carving carving = {};
    lay_out<T>(p, backward, &carving);
    return carving.used;
}

size_t cuda_attention_memory(struct device *d, const struct attention *a, bool backward)
{
    if (a->n_spans == 0)
        return 0;
    const struct attention_plan *p = attention_plan_of(d, a);
    return attention_plan_bytes(p) + (d->compute == F32 ? operand_bytes<float>(p, backward)
                                                        : operand_bytes<bf16>(p, backward));
}

template <typename T>
operands<T> attention_begin(struct device *d, const struct attention_plan *p,
                            const struct attention *a, bool backward)
{
    struct carving carving = {static_cast<char *>(cuda_alloc(d, operand_bytes<T>(p, backward))), 0};
    struct operands<T> o = lay_out<T>(p, backward, &carving);
    pack_all_keys(d, p, a, &o);
    size_t n = p->order.size() * (size_t)p->kv_heads;
    if (n)
        LAUNCH(d, point_at_problems<T>, flat_blocks(n, false), FLAT_THREADS, 0, o, p->device_strips,
               p->device_order, n, p->kv_heads, p->heads / p->kv_heads, p->dim);
    return o;
}

/* ---- products ---- */

template <typename T> static cudaDataType_t type_of()
{
    return sizeof(T) == sizeof(float) ? CUDA_R_32F : CUDA_R_16BF;
}

/* C[m, n] = op(A) op(B), or added to C; row-major, rows `step` elements apart, sums and C f32. */
struct shape {
    bool transpose_a, transpose_b;
    int m, n, k, a_step, b_step, c_step;
    bool accumulate;
};

/* cuBLAS's matrices are by columns: ours are its transposed, so operands change places (matmul.cu
 * says more). */
static cublasOperation_t operation(bool transpose)
{
    return transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
}

/* One product for each key head, their operands so far apart. */
template <typename T>
static void multiply_heads(struct device *d, const struct shape *s, int kv_heads, const T *a,
                           size_t a_apart, const T *b, size_t b_apart, float *c, size_t c_apart)
{
    float one = 1, beta = s->accumulate ? 1 : 0;
    CUBLAS(cublasGemmStridedBatchedEx(
        cuda_of(d)->cublas, operation(s->transpose_b), operation(s->transpose_a), s->n, s->m, s->k,
        &one, b, type_of<T>(), s->b_step, (long long)b_apart, a, type_of<T>(), s->a_step,
        (long long)a_apart, &beta, c, CUDA_R_32F, s->c_step, (long long)c_apart, kv_heads,
        CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

/* One product for each problem of a bucket. A grid's third dimension, which counts the problems in
 * cuBLAS's kernels, has at most 65535; calls begin at POINTERS_STEP, too. */
template <typename T>
static void multiply_bucket(struct device *d, const struct shape *s, int kv_heads,
                            const struct bucket *bucket, void **a, void **b, void **c)
{
    enum : size_t { MOST = 65535 / POINTERS_STEP * POINTERS_STEP };
    float one = 1, beta = s->accumulate ? 1 : 0;
    size_t first = (size_t)bucket->first * (size_t)kv_heads;
    size_t end = first + (size_t)bucket->strips * (size_t)kv_heads;
    for (; first < end; first += MOST)
        CUBLAS(cublasGemmBatchedEx(
            cuda_of(d)->cublas, operation(s->transpose_b), operation(s->transpose_a), s->n, s->m,
            s->k, &one, b + first, type_of<T>(), s->b_step, a + first, type_of<T>(), s->a_step,
            &beta, c + first, CUDA_R_32F, s->c_step, (int)std::min(end - first, (size_t)MOST),
            CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

/* Rows of weights are as far apart as those of the scores they replace. */
template <typename T> static int weight_step(int columns)
{
    return columns * (int)(sizeof(float) / sizeof(T));
}

/* From one packed key to the next. */
static int key_step(const struct attention_plan *p)
{
    return p->kv_heads * p->dim;
}

/* Of one problem of a bucket. */
static int rows_of(const struct attention_plan *p, const struct bucket *b)
{
    return b->padded * (p->heads / p->kv_heads);
}

/* Where a run's operands lie. */
struct run_places {
    int rows; /* per key head */
    int columns, key_step;
    size_t query, key;    /* elements before the first of key head 0 */
    size_t queries_apart; /* from key head to key head */
    size_t scores_apart;
};

static struct run_places places_of(const struct attention_plan *p, const struct chunk *c,
                                   const struct run *r)
{
    size_t group = (size_t)(p->heads / p->kv_heads), dim = (size_t)p->dim;
    struct run_places at;
    at.rows = r->tokens * (int)group;
    at.columns = r->end - r->begin;
    at.key_step = key_step(p);
    at.query = (size_t)r->token * group * dim;
    at.key = (size_t)(r->prefix_row + r->begin) * (size_t)p->kv_heads * dim;
    at.queries_apart = (size_t)c->tokens * group * dim;
    at.scores_apart = (size_t)at.rows * (size_t)at.columns;
    return at;
}

template <typename T>
void prefix_scores(struct device *d, const struct attention_plan *p, const struct chunk *c,
                   const struct sweep *sweep, const T *queries, const T *keys, float *scores)
{
    for (int i = 0; i < sweep->runs; i++) {
        const struct run *r = &p->runs[sweep->first_run + i];
        struct run_places at = places_of(p, c, r);
        struct shape s = {false,  true,        at.rows,    at.columns, p->dim,
                          p->dim, at.key_step, at.columns, false};
        multiply_heads(d, &s, p->kv_heads, queries + at.query, at.queries_apart, keys + at.key,
                       (size_t)p->dim, scores + r->scores, at.scores_apart);
    }
}

template <typename T>
void prefix_results(struct device *d, const struct attention_plan *p, const struct chunk *c,
                    const struct sweep *sweep, const float *weights, const T *keys, float *results)
{
    for (int i = 0; i < sweep->runs; i++) {
        const struct run *r = &p->runs[sweep->first_run + i];
        struct run_places at = places_of(p, c, r);
        int step = weight_step<T>(at.columns);
        struct shape s = {false, false,       at.rows, p->dim, at.columns,
                          step,  at.key_step, p->dim,  false};
        multiply_heads(d, &s, p->kv_heads, reinterpret_cast<const T *>(weights + r->scores),
                       (size_t)at.rows * (size_t)step, keys + at.key, (size_t)p->dim,
                       results + at.query, at.queries_apart);
    }
}

template <typename T>
void prefix_key_gradients(struct device *d, const struct attention_plan *p, const struct chunk *c,
                          const struct sweep *sweep, const float *weights, const T *queries,
                          float *d_keys)
{
    for (int i = 0; i < sweep->runs; i++) {
        const struct run *r = &p->runs[sweep->first_run + i];
        struct run_places at = places_of(p, c, r);
        int step = weight_step<T>(at.columns);
        struct shape s = {true, false,  at.columns,  p->dim, at.rows,
                          step, p->dim, at.key_step, true};
        multiply_heads(d, &s, p->kv_heads, reinterpret_cast<const T *>(weights + r->scores),
                       (size_t)at.rows * (size_t)step, queries + at.query, at.queries_apart,
                       d_keys + at.key, (size_t)p->dim);
    }
}

template <typename T>
void own_scores(struct device *d, const struct attention_plan *p, const struct chunk *c,
                const struct operand<T> *queries, const struct operand<T> *keys,
                const struct operand<float> *scores)
{
    for (int i = 0; i < c->buckets; i++) {
        const struct bucket *b = &p->buckets[c->first_bucket + i];
        struct shape s = {false,  true,        rows_of(p, b), b->columns, p->dim,
                          p->dim, key_step(p), b->columns,    false};
        multiply_bucket<T>(d, &s, p->kv_heads, b, queries->each, keys->each, scores->each);
    }
}

template <typename T>
void own_results(struct device *d, const struct attention_plan *p, const struct chunk *c,
                 const struct operand<float> *weights, const struct operand<T> *keys,
                 const struct operand<float> *results)
{
    for (int i = 0; i < c->buckets; i++) {
        const struct bucket *b = &p->buckets[c->first_bucket + i];
        int step = weight_step<T>(b->columns);
        struct shape s = {false, false,       rows_of(p, b), p->dim, b->columns,
                          step,  key_step(p), p->dim,        false};
        multiply_bucket<T>(d, &s, p->kv_heads, b, weights->each, keys->each, results->each);
    }
}

template <typename T>
void own_key_gradients(struct device *d, const struct attention_plan *p, const struct chunk *c,
                       const struct operand<float> *weights, const struct operand<T> *queries,
                       const struct operand<float> *d_keys)
{
    for (int i = 0; i < c->buckets; i++) {
        const struct bucket *b = &p->buckets[c->first_bucket + i];
        int step = weight_step<T>(b->columns);
        struct shape s = {true, false,  b->columns,  p->dim, rows_of(p, b),
                          step, p->dim, key_step(p), true};
        multiply_bucket<T>(d, &s, p->kv_heads, b, weights->each, queries->each, d_keys->each);
    }
}

/* ---- merging ---- */

/* A warp has one query and head of strip blockIdx.x. */
template <typename To, int V>
static __global__ void merge(const struct strip *strips, const float *prefix_results,
                             const float *own_results, const float *sums, int heads, int group,
                             int head_dim, int dim, To *to)
{
    const struct strip *s = &strips[blockIdx.x];
    int at = row_of_warp(blockIdx.y);
    if (at >= s->queries * heads)
        return;
    int token = at / heads, head = at % heads, kv_head = head / group;
    int in = token * group + head % group;
    size_t own_row = (size_t)(kv_head * s->padded * group + in), width = (size_t)dim;
    size_t row = (size_t)(kv_head * s->chunk_tokens + s->token) * (size_t)group + (size_t)in;
    const float *own = own_results + s->own_results + own_row * width;
    const float *prefix = s->prefix_columns ? prefix_results + row * width : nullptr;
    float sum = sums ? sums[(s->token + token) * heads + head] : 1.0f;
    to += ((size_t)(s->query_row + token) * (size_t)heads + (size_t)head) * (size_t)head_dim;
    for (int i = (int)(threadIdx.x % WARP) * V; i < head_dim; i += WARP * V) {
        vector<float, V> x = load<V>(own + i), y = {};
        if (prefix)
            y = load<V>(prefix + i);
#pragma unroll
        for (int j = 0; j < V; j++)
            x.at[j] = (x.at[j] + y.at[j]) / sum;
        store<V>(to + i, x);
    }
}

template <typename To>
void attention_merge(struct device *d, const struct attention_plan *p, const struct chunk *c,
                     const float *prefix_results, const float *own_results, const float *sums,
                     To *to)
{
    bool four = p->head_dim % 4 == 0 && fours(to);
    auto merge_rows = four ? merge<To, 4> : merge<To, 1>;
    LAUNCH(d, merge_rows,
           dim3((unsigned)c->strips, blocks_of_rows((size_t)(c->most_queries * p->heads))),
           ROWS_PER_BLOCK * WARP, 0, p->device_strips + c->first_strip, prefix_results, own_results,
           sums, p->heads, p->heads / p->kv_heads, p->head_dim, p->dim, to);
}

/* ---- for both compute types ---- */

#define FOR_TYPE(T)                                                                                \
    template operands<T> attention_begin(struct device *, const struct attention_plan *,           \
                                         const struct attention *, bool);                          \
    template void attention_pack(struct device *, const struct attention_plan *,                   \
                                 const struct chunk *, const float *, T *);                        \
    template void own_scores(struct device *, const struct attention_plan *, const struct chunk *, \
                             const struct operand<T> *, const struct operand<T> *,                 \
                             const struct operand<float> *);                                       \
    template void own_results(struct device *, const struct attention_plan *,                      \
                              const struct chunk *, const struct operand<float> *,                 \
                              const struct operand<T> *, const struct operand<float> *);           \
    template void own_key_gradients(struct device *, const struct attention_plan *,                \
                                    const struct chunk *, const struct operand<float> *,           \
                                    const struct operand<T> *, const struct operand<float> *);     \
    template void prefix_scores(struct device *, const struct attention_plan *,                    \
                                const struct chunk *, const struct sweep *, const T *, const T *,  \
                                float *);                                                          \
    template void prefix_results(struct device *, const struct attention_plan *,                   \
                                 const struct chunk *, const struct sweep *, const float *,        \
                                 const T *, float *);                                              \
    template void prefix_key_gradients(struct device *, const struct attention_plan *,             \
                                       const struct chunk *, const struct sweep *, const float *,  \
                                       const T *, float *)

FOR_TYPE(float);
FOR_TYPE(bf16);
template void attention_merge(struct device *, const struct attention_plan *, const struct chunk *,
                              const float *, const float *, const float *, float *);
template void attention_merge(struct device *, const struct attention_plan *, const struct chunk *,
                              const float *, const float *, const float *, bf16 *);
