/* Attention over packed sequences with shared prefixes.
 *
 * A task is one key head of one sequence and up to WIDEST of its queries, one vector lane each (the
 * query heads that share the key head side by side). Keys are taken in blocks of KEY_BLOCK absolute
 * positions with a running maximum and sum (Milakov & Gimelshein 2018; Dao et al. 2022). Blocks
 * start at position 0 whether a key lies in the prefix or is the sequence's own, and a query's lane
 * never meets another's: so each query's result has the same bits however the work was shared or
 * packed.
 *
 * With queries in lanes, both products (scores = K q, out = V^T p) broadcast elements of rows of K
 * and V as they lie in memory, and maximum and sum need no work across lanes. */
#include "common/util/mem.h"
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <stdlib.h>

enum { KEY_BLOCK = 64, WIDEST = 64 };

struct task {
    int span, kv_head, first; /* first: of this task's queries, counted token by token and head */
};

/* Buffers of one thread; those of [.][WIDEST] are used with the task's own width. */
struct scratch {
    float *q, *out;                   /* [head_dim][WIDEST] */
    float scores[KEY_BLOCK * WIDEST]; /* scores, then probabilities */
    float maximum[WIDEST], sum[WIDEST], shrink[WIDEST];
    int32_t last[WIDEST]; /* a lane's own position: the last it sees */
    const float *k[KEY_BLOCK], *v[KEY_BLOCK];
};

/* scores[j] = k[j] . q, four keys at a time. n is a multiple of 4. */
INLINE void score_keys(struct scratch *s, int n, int head_dim, int vectors)
{
    int width = vectors * LANES;
    for (int j = 0; j < n; j += 4) {
        vec acc[4][4] = {{{0}}};
        for (int i = 0; i < head_dim; i++) {
            const vec *q = (const vec *)(s->q + i * width);
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++)
#pragma GCC unroll 4
                for (int c = 0; c < vectors; c++)
                    acc[r][c] += s->k[j + r][i] * q[c];
        }
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++)
#pragma GCC unroll 4
            for (int c = 0; c < vectors; c++)
                ((vec *)(s->scores + (j + r) * width))[c] = acc[r][c];
    }
}

/* out[i] = shrink * out[i] + sum_j v[j][i] p[j] for rows i .. i + rows - 1. */
INLINE void add_value_rows(struct scratch *s, int n, int i, int rows, int vectors)
{
    int width = vectors * LANES;
    vec acc[4][4];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++)
            acc[r][c] = ((vec *)(s->out + (i + r) * width))[c] * ((vec *)s->shrink)[c];
    for (int j = 0; j < n; j++) {
        const vec *p = (const vec *)(s->scores + j * width);
        const float *v = s->v[j] + i;
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int c = 0; c < vectors; c++)
                acc[r][c] += v[r] * p[c];
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++)
            ((vec *)(s->out + (i + r) * width))[c] = acc[r][c];
}

INLINE void add_values(struct scratch *s, int n, int head_dim, int vectors)
{
    int i = 0;
    for (; i + 4 <= head_dim; i += 4)
        add_value_rows(s, n, i, 4, vectors);
    for (; i < head_dim; i++)
        add_value_rows(s, n, i, 1, vectors);
}

/* Leaves exp(score - maximum) in scores, and what it does to earlier sums in shrink. */
INLINE void softmax_block(struct scratch *s, int n, int width)
{
    float top[WIDEST];
    for (int c = 0; c < width; c++)
        top[c] = s->maximum[c];
    for (int j = 0; j < n; j++)
        for (int c = 0; c < width; c++) {
            float x = s->scores[j * width + c];
            top[c] = x > top[c] ? x : top[c];
        }
    for (int c = 0; c < width; c++) {
        s->shrink[c] = fast_exp(s->maximum[c] - top[c]);
        s->maximum[c] = top[c];
        s->sum[c] *= s->shrink[c];
    }
    for (int j = 0; j < n; j++)
        for (int c = 0; c < width; c++) {
            float p = fast_exp(s->scores[j * width + c] - top[c]);
            s->scores[j * width + c] = p;
            s->sum[c] += p;
        }
}

/* Hides the keys a lane may not see: those after its own position and those before its window. */
INLINE void mask_block(struct scratch *s, int position, int n, int width, int window)
{
    for (int j = 0; j < n; j++)
        for (int c = 0; c < width; c++) {
            int back = s->last[c] - (position + j);
            int hidden = back < 0 || back >= window;
            s->scores[j * width + c] = hidden ? -INFINITY : s->scores[j * width + c];
        }
}

INLINE void run_task(const struct attention *a, const struct task *t, int queries,
                     enum dtype out_type, struct scratch *s, int vectors)
{
    const struct attention_span *span = &a->spans_at[t->span];
    int width = vectors * LANES, group = a->heads / a->kv_heads, head_dim = a->head_dim;
    size_t q_width = (size_t)a->heads * (size_t)head_dim;
    size_t kv_width = (size_t)a->kv_heads * (size_t)head_dim;
    size_t kv_first = (size_t)t->kv_head * (size_t)head_dim;
    int window = a->window ? a->window : INT32_MAX;

    for (int c = 0; c < width; c++) {
        /* Lanes without a query repeat the last one and are not stored. */
        int query = t->first + (c < queries ? c : queries - 1);
        int token = query / group, head = t->kv_head * group + query % group;
        const float *q =
            a->q + (size_t)(span->query_row + token) * q_width + (size_t)head * (size_t)head_dim;
        for (int i = 0; i < head_dim; i++) {
            s->q[i * width + c] = q[i] * a->scale;
            s->out[i * width + c] = 0;
        }
        s->last[c] = span->prefix + span->keys - span->queries + token;
        s->maximum[c] = -1e30f; /* finite, so that no difference of infinities arises */
        s->sum[c] = 0;
    }
    int first_query = s->last[0], last_query = s->last[width - 1];
    int begin = first_query - window + 1;
    begin = begin > 0 ? begin / KEY_BLOCK * KEY_BLOCK : 0;
    for (int position = begin; position <= last_query; position += KEY_BLOCK) {
        int n = last_query + 1 - position;
        n = n < KEY_BLOCK ? n : KEY_BLOCK;
        int padded = (n + 3) & ~3;
        for (int j = 0; j < padded; j++) {
            int at = position + (j < n ? j : n - 1);
            bool shared = at < span->prefix;
            size_t row = shared ? (size_t)(span->prefix_row + at)
                                : (size_t)(span->key_row + at - span->prefix);
            s->k[j] = (shared ? a->prefix_k : a->k) + row * kv_width + kv_first;
            s->v[j] = (shared ? a->prefix_v : a->v) + row * kv_width + kv_first;
        }
        score_keys(s, padded, head_dim, vectors);
        if (position + padded - 1 > first_query || last_query - position >= window)
            mask_block(s, position, padded, width, window);
        softmax_block(s, padded, width);
        add_values(s, padded, head_dim, vectors);
    }
    for (int c = 0; c < queries; c++) {
        int query = t->first + c;
        size_t row = (size_t)(span->query_row + query / group);
        int head = t->kv_head * group + query % group;
        size_t first = row * q_width + (size_t)head * (size_t)head_dim;
        float over_sum = 1.0f / s->sum[c];
        if (out_type == F32)
            for (int i = 0; i < head_dim; i++)
                ((float *)a->out)[first + (size_t)i] = s->out[i * width + c] * over_sum;
        else
            for (int i = 0; i < head_dim; i++)
                ((uint16_t *)a->out)[first + (size_t)i] =
                    bf16_from_f32(s->out[i * width + c] * over_sum);
        if (a->lse)
            a->lse[row * (size_t)a->heads + (size_t)head] = s->maximum[c] + logf(s->sum[c]);
    }
}

CPU_CLONES static void run_task_of_64(const struct attention *a, const struct task *t, int queries,
                                      enum dtype out_type, struct scratch *s)
{
    run_task(a, t, queries, out_type, s, 4);
}

CPU_CLONES static void run_task_of_32(const struct attention *a, const struct task *t, int queries,
                                      enum dtype out_type, struct scratch *s)
{
    run_task(a, t, queries, out_type, s, 2);
}

CPU_CLONES static void run_task_of_16(const struct attention *a, const struct task *t, int queries,
                                      enum dtype out_type, struct scratch *s)
{
    run_task(a, t, queries, out_type, s, 1);
}

/* How many of a task's queries fit the registers: 64 lanes are sixteen accumulators of AVX-512;
 * with AVX, sixteen lanes are eight. */
static int widest_task(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        return 64;
#endif
    return 16;
}

void cpu_attention(struct device *d, const struct attention *a)
{
    int group = a->heads / a->kv_heads, widest = widest_task();
    size_t n_tasks = 0, at = 0;
    for (int i = 0; i < a->n_spans; i++)
        n_tasks += (size_t)(a->spans_at[i].queries * group + widest - 1) / (size_t)widest;
    n_tasks *= (size_t)a->kv_heads;
    struct task *tasks = xreallocarray(NULL, n_tasks + 1, sizeof *tasks);
    for (int i = 0; i < a->n_spans; i++)
        for (int head = 0; head < a->kv_heads; head++)
            for (int first = 0; first < a->spans_at[i].queries * group; first += widest)
                tasks[at++] = (struct task){i, head, first};

#pragma omp parallel if (n_tasks > 3)
    {
        struct scratch *s = xaligned(sizeof *s);
        s->q = xaligned((size_t)a->head_dim * WIDEST * sizeof(float));
        s->out = xaligned((size_t)a->head_dim * WIDEST * sizeof(float));
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < n_tasks; i++) {
            int left = a->spans_at[tasks[i].span].queries * group - tasks[i].first;
            int queries = left < widest ? left : widest;
            if (queries > 32)
                run_task_of_64(a, &tasks[i], queries, d->compute, s);
            else if (queries > 16)
                run_task_of_32(a, &tasks[i], queries, d->compute, s);
            else
                run_task_of_16(a, &tasks[i], queries, d->compute, s);
        }
        free(s->q);
        free(s->out);
        free(s);
    }
    free(tasks);
}
