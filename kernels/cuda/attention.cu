/* The forward pass of attention (attention.h says how its work is cut up). */
#include "kernels/cuda/attention.h"

/* Scores become weights in their own place: of bf16 the first half of a row's bytes. A warp writes
 * what it has read one step before, or in this step before the barrier. */

/* The largest seen product that falls to this lane. */
static __device__ inline float largest(const float *row, const struct columns *c, float most)
{
    int lane = (int)(threadIdx.x % WARP);
    for (int i = c->begin / 4 * 4 + 4 * lane; i < c->end; i += 4 * WARP) {
        vector<float, 4> x = load<4>(row + i);
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (i + j >= c->begin && i + j < c->end)
                most = fmaxf(most, x.at[j]);
    }
    return most;
}

/* e^(score - the largest), of products. */
static __device__ inline float weight_of(const struct score_rule *r, float product, float most)
{
    return expf(r->cap > 0 ? score_of(r, product) - score_of(r, most)
                           : r->scale * (product - most));
}

/* Makes products to weights, 0 where not seen; returns the sum of those that fall to this lane. */
template <typename T>
static __device__ inline float exponentiate(float *row, const struct columns *c,
                                            const struct score_rule *rule, float most)
{
    int lane = (int)(threadIdx.x % WARP);
    float sum = 0;
    for (int first = 0; first < c->n; first += 4 * WARP) {
        int i = first + 4 * lane;
        vector<float, 4> x = {};
        if (i < c->n)
            x = load<4>(row + i);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            bool seen = i + j >= c->begin && i + j < c->end;
            x.at[j] = seen ? weight_of(rule, x.at[j], most) : 0.0f;
            sum += x.at[j];
        }
        __syncwarp();
        if (i < c->n)
            store<4>(reinterpret_cast<T *>(row) + i, x);
    }
    return sum;
}

/* A block has ROWS_PER_BLOCK rows of strip blockIdx.x, a warp each. */
template <typename T>
static __global__ void softmax_rows(const struct strip *strips, float *prefix_scores,
                                    float *own_scores, int heads, int group, int window,
                                    struct score_rule rule, float *sums, float *lse)
{
    const struct strip *s = &strips[blockIdx.x];
    int row = row_of_warp(blockIdx.y);
    if (row >= s->padded * heads)
        return;
    struct score_row r = find_row(s, row, group, window);
    if (!r.query)
        return; /* it yields nothing that is read */
    float *prefix = prefix_scores + r.prefix.at, *own = own_scores + r.own.at;
    float most = largest(own, &r.own, largest(prefix, &r.prefix, -INFINITY));
    most = warp_max(most);
    float sum = exponentiate<T>(prefix, &r.prefix, &rule, most);
    sum += exponentiate<T>(own, &r.own, &rule, most);
    sum = warp_sum(sum);
    if (threadIdx.x % WARP)
        return;
    sums[(size_t)(s->token + r.token) * (size_t)heads + (size_t)r.head] = sum;
    if (lse)
        lse[(size_t)(s->query_row + r.token) * (size_t)heads + (size_t)r.head] =
            score_of(&rule, most) + logf(sum);
}

template <typename T> static void attend(struct device *d, const struct attention *a)
{
    const struct attention_plan *p = attention_plan_for(d, a);
    if (p->strips.empty())
        return;
    struct operands<T> o = attention_begin<T>(d, p, a, false);
    for (const chunk &c : p->chunks) {
        attention_pack(d, p, &c, a->q, o.q.all);
        own_scores(d, p, &c, &o.q, &o.k, &o.own_scores);
        for (const sweep *r = &p->sweeps[c.first_sweep], *end = r + c.sweeps; r < end; r++) {
            prefix_scores(d, p, &c, r, o.q.all, o.k.all, o.prefix_scores);
            LAUNCH(d, softmax_rows<T>, grid_of_scores(p, r), ROWS_PER_BLOCK * WARP, 0,
                   p->device_strips + r->first_strip, o.prefix_scores, o.own_scores.all, p->heads,
                   p->heads / p->kv_heads, p->window, score_rule_of(a), o.sums, a->lse);
            prefix_results(d, p, &c, r, o.prefix_scores, o.v.all, o.prefix_results);
        }
        own_results(d, p, &c, &o.own_scores, &o.v, &o.own_results);
        attention_merge(d, p, &c, o.prefix_results, o.own_results.all, o.sums,
                        static_cast<T *>(a->out));
    }
    cuda_release(d, o.memory);
}

void cuda_attention(struct device *d, const struct attention *a)
{
    if (a->n_spans == 0)
        return;
    if (d->compute == F32)
        attend<float>(d, a);
    else
        attend<bf16>(d, a);
}
