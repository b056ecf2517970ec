/* The backward pass of attention (attention.h says how its work is cut up).
 *
 * For query i and key j:  p = exp(scale q.k - lse),  dp = do.v,  ds = scale p (dp - sum_j p dp);
 * dq_i = sum_j ds k_j,  dk_j = sum_i ds q_i,  dv_j = sum_i p do_i  (Dao et al. 2022). Where scores
 * are capped, struct score_rule has what stands for scale q.k, and its slope for scale.
 *
 * A row of scores is whole, so sum_j p dp is formed from it. Keys' gradients are sums over queries:
 * one product after the other adds to them, and those that run at the same time belong to different
 * sequences or key heads, so that sums have one order. */
#include "kernels/cuda/attention.h"

/* p: what a query's seen product says with the lse that its row left. The lse of large scores is
 * rounded; a probability is no more than 1. */
static __device__ inline float probability(const struct score_rule *rule, float product, float lse)
{
    return expf(fminf(score_of(rule, product) - lse, 0.0f));
}

/* The part of sum_j p dp that falls to this lane. */
static __device__ inline float sum_along(const float *scores, const float *d_scores,
                                         const struct columns *c, const struct score_rule *rule,
                                         float lse)
{
    int lane = (int)(threadIdx.x % WARP);
    float sum = 0;
    for (int i = c->begin / 4 * 4 + 4 * lane; i < c->end; i += 4 * WARP) {
        vector<float, 4> x = load<4>(scores + i), dx = load<4>(d_scores + i);
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (i + j >= c->begin && i + j < c->end)
                sum += probability(rule, x.at[j], lse) * dx.at[j];
    }
    return sum;
}

/* Makes scores to p and d_scores, which hold dp, to ds, in their own places (softmax_rows() says
 * how); 0 where not seen. */
template <typename T>
static __device__ inline void make_gradients(float *scores, float *d_scores,
                                             const struct columns *c, const struct score_rule *rule,
                                             float lse, float along)
{
    int lane = (int)(threadIdx.x % WARP);
    for (int first = 0; first < c->n; first += 4 * WARP) {
        int i = first + 4 * lane;
        vector<float, 4> x = {}, dx = {};
        if (i < c->n) {
            x = load<4>(scores + i);
            dx = load<4>(d_scores + i);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            bool seen = i + j >= c->begin && i + j < c->end;
            float slope = slope_of(rule, x.at[j]);
            x.at[j] = seen ? probability(rule, x.at[j], lse) : 0.0f;
            dx.at[j] = seen ? slope * x.at[j] * (dx.at[j] - along) : 0.0f;
        }
        __syncwarp();
        if (i < c->n) {
            store<4>(reinterpret_cast<T *>(scores) + i, x);
            store<4>(reinterpret_cast<T *>(d_scores) + i, dx);
        }
    }
}

struct score_matrices {
    float *prefix, *d_prefix, *own, *d_own;
};

/* A block has ROWS_PER_BLOCK rows of strip blockIdx.x, a warp each. */
template <typename T>
static __global__ void gradient_rows(const struct strip *strips, struct score_matrices m, int heads,
                                     int group, int window, struct score_rule rule,
                                     const float *lse)
{
    const struct strip *s = &strips[blockIdx.x];
    int row = row_of_warp(blockIdx.y);
    if (row >= s->padded * heads)
        return;
    struct score_row r = find_row(s, row, group, window);
    float *own = m.own + r.own.at, *d_own = m.d_own + r.own.at;
    if (!r.query) { /* adds nothing to keys' gradients */
        r.own.begin = r.own.end = 0;
        make_gradients<T>(own, d_own, &r.own, &rule, 0, 0);
        return;
    }
    float *prefix = m.prefix + r.prefix.at, *d_prefix = m.d_prefix + r.prefix.at;
    float row_lse = lse[(size_t)(s->query_row + r.token) * (size_t)heads + (size_t)r.head];
    float along = sum_along(prefix, d_prefix, &r.prefix, &rule, row_lse);
    along += sum_along(own, d_own, &r.own, &rule, row_lse);
    along = warp_sum(along);
    make_gradients<T>(prefix, d_prefix, &r.prefix, &rule, row_lse, along);
    make_gradients<T>(own, d_own, &r.own, &rule, row_lse, along);
}

/* ---- gradients by keys and values ---- */

/* By k and v (blockIdx.y 0 and 1). */
struct key_gradients {
    const float *packed_k, *packed_v;
    float *k, *v;
};

/* A warp has packed key and key head `at`: sets its gradients, or adds them for prefixes, where
 * rows has row or ~row. */
template <int V>
static __global__ void unpack_keys(struct key_gradients g, const int *rows, int n, int kv_heads,
                                   int head_dim, int dim, bool prefixes)
{
    int at = row_of_warp(blockIdx.x);
    if (at >= n || rows[at / kv_heads] == NO_ROW)
        return;
    int row = rows[at / kv_heads];
    size_t head = (size_t)(prefixes ? ~row : row) * (size_t)kv_heads + (size_t)(at % kv_heads);
    const float *packed = (blockIdx.y ? g.packed_v : g.packed_k) + (size_t)at * (size_t)dim;
    float *gradient = (blockIdx.y ? g.v : g.k) + head * (size_t)head_dim;
    for (int i = (int)(threadIdx.x % WARP) * V; i < head_dim; i += WARP * V) {
        vector<float, V> x = load<V>(packed + i), before = {};
        if (prefixes)
            before = load<V>(gradient + i);
#pragma unroll
        for (int j = 0; j < V; j++)
            x.at[j] += before.at[j];
        store<V>(gradient + i, x);
    }
}

/* The packed keys first .. first + n - 1, all of them own or all of prefixes, to k and v. */
static void unpack(struct device *d, const struct attention_plan *p, const float *dk,
                   const float *dv, size_t first, size_t n, bool prefixes, float *k, float *v)
{
    size_t width = (size_t)p->kv_heads * (size_t)p->dim, rows = n * (size_t)p->kv_heads;
    struct key_gradients g = {dk + first * width, dv + first * width, k, v};
    bool four = p->head_dim % 4 == 0 && fours(k, v);
    auto unpack = four ? unpack_keys<4> : unpack_keys<1>;
    if (n)
        LAUNCH(d, unpack, dim3(blocks_of_rows(rows), 2), ROWS_PER_BLOCK * WARP, 0, g,
               p->device_key_rows + first, (int)rows, p->kv_heads, p->head_dim, p->dim, prefixes);
}

template <typename T>
static void attend_backward(struct device *d, const struct attention_backward *b)
{
    const struct attention *a = &b->forward;
    const struct attention_plan *p = attention_plan_for(d, a);
    struct operands<T> o = attention_begin<T>(d, p, a, true);
    size_t keys = p->key_rows.size(), own = (size_t)p->own_rows;
    size_t bytes = keys * (size_t)p->kv_heads * (size_t)p->dim * sizeof(float);
    CUDA(cudaMemsetAsync(o.dk.all, 0, bytes, cuda_of(d)->stream));
    CUDA(cudaMemsetAsync(o.dv.all, 0, bytes, cuda_of(d)->stream));
    struct score_matrices m = {o.prefix_scores, o.d_prefix_scores, o.own_scores.all,
                               o.d_own_scores.all};
    for (const chunk &c : p->chunks) {
        attention_pack(d, p, &c, a->q, o.q.all);
        attention_pack(d, p, &c, b->d_out, o.d_out.all);
        own_scores(d, p, &c, &o.q, &o.k, &o.own_scores);
        own_scores(d, p, &c, &o.d_out, &o.v, &o.d_own_scores);
        for (const sweep *r = &p->sweeps[c.first_sweep], *end = r + c.sweeps; r < end; r++) {
            prefix_scores(d, p, &c, r, o.q.all, o.k.all, m.prefix);
            prefix_scores(d, p, &c, r, o.d_out.all, o.v.all, m.d_prefix);
            LAUNCH(d, gradient_rows<T>, grid_of_scores(p, r), ROWS_PER_BLOCK * WARP, 0,
                   p->device_strips + r->first_strip, m, p->heads, p->heads / p->kv_heads,
                   p->window, score_rule_of(a), a->lse);
            prefix_results(d, p, &c, r, m.d_prefix, o.k.all, o.prefix_results);
            prefix_key_gradients(d, p, &c, r, m.d_prefix, o.q.all, o.dk.all);
            prefix_key_gradients(d, p, &c, r, m.prefix, o.d_out.all, o.dv.all);
        }
        own_results(d, p, &c, &o.d_own_scores, &o.k, &o.own_results);
        own_key_gradients(d, p, &c, &o.d_own_scores, &o.q, &o.dk);
        own_key_gradients(d, p, &c, &o.own_scores, &o.d_out, &o.dv);
        attention_merge(d, p, &c, o.prefix_results, o.own_results.all, nullptr, b->dq);
    }
    unpack(d, p, o.dk.all, o.dv.all, 0, own, false, b->dk, b->dv);
    unpack(d, p, o.dk.all, o.dv.all, own, keys - own - PREFIX_STEP, true, b->d_prefix_k,
           b->d_prefix_v);
    cuda_release(d, o.memory);
}

void cuda_attention_backward(struct device *d, const struct attention_backward *b)
{
    if (b->forward.n_spans == 0)
        return;
    if (d->compute == F32)
        attend_backward<float>(d, b);
    else
        attend_backward<bf16>(d, b);
}
