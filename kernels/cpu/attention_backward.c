/* Gradients of attention over packed sequences with shared prefixes (kernels/cpu/attention.c).
 *
 * For query i and key j:  p = exp(scale q.k - lse),  dp = do.v,  ds = scale p (dp - sum_j p dp);
 * dq_i = sum_j ds k_j,  dk_j = sum_i ds q_i,  dv_j = sum_i p do_i  (Dao et al. 2022).
 *
 * Two passes, so that no two tasks add to one place and the sums have one order. The first takes a
 * sequence and key head: the gradients of its queries and of its own keys. The second takes a
 * block of a prefix's keys and a key head, and goes through the queries of all sequences that
 * share it. Both form scores for QUERIES x KEYS at a time, as products of small matrices. */
#include "common/util/mem.h"
#include "kernels/cpu/cpu.h"

#include <stdlib.h>

enum { QUERIES = 64, KEYS = 64 };

/* Buffers of one thread. */
struct scratch {
    float p[QUERIES * KEYS], dp[QUERIES * KEYS];
};

/* Queries of one head and a run of keys that lie side by side. */
struct tile {
    const float *q, *d_out; /* first query's, step q_width */
    const float *lse;       /* step heads */
    float *along;           /* sum_j p dp of a query, step heads */
    const float *k, *v;     /* first key's, step kv_width */
    int queries, keys;
    int query_position, key_position; /* of the first ones */
};

/* p and dp of a tile; hidden keys have p = 0. */
CPU_CLONES static void mask_and_exponentiate(const struct attention *a, const struct tile *t,
                                             struct scratch *s)
{
    int window = a->window ? a->window : INT32_MAX;
    for (int i = 0; i < t->queries; i++) {
        int position = t->query_position + i;
        float lse = t->lse[(size_t)i * (size_t)a->heads];
        float *row = s->p + i * KEYS;
        for (int j = 0; j < t->keys; j++) {
            int back = position - (t->key_position + j);
            float p = fast_exp(a->scale * row[j] - lse);
            row[j] = back < 0 || back >= window ? 0.0f : p;
        }
    }
}

static void probabilities(const struct attention *a, const struct tile *t, struct scratch *s)
{
    size_t q_width = (size_t)a->heads * (size_t)a->head_dim;
    size_t kv_width = (size_t)a->kv_heads * (size_t)a->head_dim;
    matrix_product(&(struct matrix_product){.transpose_b = true,
                                            .m = t->queries,
                                            .n = t->keys,
                                            .k = a->head_dim,
                                            .a = t->q,
                                            .a_step = q_width,
                                            .b = t->k,
                                            .b_step = kv_width,
                                            .c = s->p,
                                            .c_step = KEYS,
                                            .scale = 1});
    matrix_product(&(struct matrix_product){.transpose_b = true,
                                            .m = t->queries,
                                            .n = t->keys,
                                            .k = a->head_dim,
                                            .a = t->d_out,
                                            .a_step = q_width,
                                            .b = t->v,
                                            .b_step = kv_width,
                                            .c = s->dp,
                                            .c_step = KEYS,
                                            .scale = 1});
    mask_and_exponentiate(a, t, s);
}

/* dp becomes ds. */
CPU_CLONES static void score_gradients(const struct attention *a, const struct tile *t,
                                       struct scratch *s)
{
    for (int i = 0; i < t->queries; i++) {
        float along = t->along[(size_t)i * (size_t)a->heads];
        for (int j = 0; j < t->keys; j++)
            s->dp[i * KEYS + j] = a->scale * s->p[i * KEYS + j] * (s->dp[i * KEYS + j] - along);
    }
}

/* along += sum_j p dp */
CPU_CLONES static void add_along(const struct attention *a, const struct tile *t, struct scratch *s)
{
    for (int i = 0; i < t->queries; i++) {
        float sum = 0;
        for (int j = 0; j < t->keys; j++)
            sum += s->p[i * KEYS + j] * s->dp[i * KEYS + j];
        t->along[(size_t)i * (size_t)a->heads] += sum;
    }
}

static void add_key_gradients(const struct attention *a, const struct tile *t, struct scratch *s,
                              float *dk, float *dv)
{
    size_t q_width = (size_t)a->heads * (size_t)a->head_dim;
    size_t kv_width = (size_t)a->kv_heads * (size_t)a->head_dim;
    struct matrix_product p = {.transpose_a = true,
                               .m = t->keys,
                               .n = a->head_dim,
                               .k = t->queries,
                               .a = s->dp,
                               .a_step = KEYS,
                               .b = t->q,
                               .b_step = q_width,
                               .c = dk,
                               .c_step = kv_width,
                               .scale = 1,
                               .accumulate = true};
    matrix_product(&p);
    p.a = s->p;
    p.b = t->d_out;
    p.c = dv;
    matrix_product(&p);
}

/* The queries first .. of a span, of one head; keys are set by the caller. */
static struct tile queries_of(const struct attention_backward *b, const struct attention_span *span,
                              int head, int first)
{
    const struct attention *a = &b->forward;
    size_t row = (size_t)(span->query_row + first), left = (size_t)(span->queries - first);
    size_t at = (row * (size_t)a->heads + (size_t)head) * (size_t)a->head_dim;
    return (struct tile){.q = a->q + at,
                         .d_out = b->d_out + at,
                         .lse = a->lse + row * (size_t)a->heads + (size_t)head,
                         .along = b->work + row * (size_t)a->heads + (size_t)head,
                         .queries = left < QUERIES ? (int)left : QUERIES,
                         .query_position = span->prefix + span->keys - span->queries + first};
}

/* Sets a tile's keys to those from `position` on, up to a block's and not across the prefix's end
 * nor past the last query's own; returns their offset in k, v and their gradients' arrays. */
static size_t keys_at(const struct attention *a, const struct attention_span *span, int kv_head,
                      int position, struct tile *t)
{
    bool shared = position < span->prefix;
    int last = t->query_position + t->queries, end = shared ? span->prefix : last;
    end = end < last ? end : last;
    t->key_position = position;
    t->keys = end - position < KEYS ? end - position : KEYS;
    size_t row = shared ? (size_t)(span->prefix_row + position)
                        : (size_t)(span->key_row + position - span->prefix);
    size_t at = (row * (size_t)a->kv_heads + (size_t)kv_head) * (size_t)a->head_dim;
    t->k = (shared ? a->prefix_k : a->k) + at;
    t->v = (shared ? a->prefix_v : a->v) + at;
    return at;
}

/* The first key that any of a tile's queries sees, at a block's beginning counted as keys_at()
 * steps. */
static int first_seen(const struct attention *a, const struct attention_span *span,
                      const struct tile *t)
{
    if (!a->window || t->query_position - a->window + 1 <= 0)
        return 0;
    int first = t->query_position - a->window + 1;
    if (first < span->prefix)
        return first / KEYS * KEYS;
    return span->prefix + (first - span->prefix) / KEYS * KEYS;
}

static void backward_of_queries(const struct attention_backward *b,
                                const struct attention_span *span, int kv_head, struct scratch *s)
{
    const struct attention *a = &b->forward;
    int group = a->heads / a->kv_heads;
    size_t q_width = (size_t)a->heads * (size_t)a->head_dim;
    size_t kv_width = (size_t)a->kv_heads * (size_t)a->head_dim;
    for (int j = 0; j < span->keys; j++) {
        size_t at = (size_t)(span->key_row + j) * kv_width + (size_t)kv_head * (size_t)a->head_dim;
        memset(b->dk + at, 0, (size_t)a->head_dim * sizeof(float));
        memset(b->dv + at, 0, (size_t)a->head_dim * sizeof(float));
    }
    for (int head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (int first = 0; first < span->queries; first += QUERIES) {
            struct tile t = queries_of(b, span, head, first);
            int begin = first_seen(a, span, &t), end = t.query_position + t.queries;
            for (int i = 0; i < t.queries; i++)
                t.along[(size_t)i * (size_t)a->heads] = 0;
            for (int position = begin; position < end; position += t.keys) {
                keys_at(a, span, kv_head, position, &t);
                probabilities(a, &t, s);
                add_along(a, &t, s);
            }
            struct matrix_product dq = {.m = t.queries,
                                        .n = a->head_dim,
                                        .a = s->dp,
                                        .a_step = KEYS,
                                        .b_step = kv_width,
                                        .c = b->dq + (t.q - a->q),
                                        .c_step = q_width,
                                        .scale = 1};
            for (int position = begin; position < end; position += t.keys) {
                size_t at = keys_at(a, span, kv_head, position, &t);
                probabilities(a, &t, s);
                score_gradients(a, &t, s);
                dq.k = t.keys;
                dq.b = t.k;
                matrix_product(&dq);
                dq.accumulate = true;
                if (position >= span->prefix)
                    add_key_gradients(a, &t, s, b->dk + at, b->dv + at);
            }
        }
}

/* Adds to the gradients of the prefix keys first .. of kv_head from every span that shares them. */
static void backward_of_prefix(const struct attention_backward *b, int prefix_row, int first,
                               int kv_head, struct scratch *s)
{
    const struct attention *a = &b->forward;
    int group = a->heads / a->kv_heads;
    for (int i = 0; i < a->n_spans; i++) {
        const struct attention_span *span = &a->spans_at[i];
        if (span->prefix_row != prefix_row || span->prefix <= first)
            continue;
        for (int head = kv_head * group; head < (kv_head + 1) * group; head++)
            for (int query = 0; query < span->queries; query += QUERIES) {
                struct tile t = queries_of(b, span, head, query);
                if (first_seen(a, span, &t) >= first + KEYS)
                    continue;
                size_t at = keys_at(a, span, kv_head, first, &t);
                probabilities(a, &t, s);
                score_gradients(a, &t, s);
                add_key_gradients(a, &t, s, b->d_prefix_k + at, b->d_prefix_v + at);
            }
    }
}

/* The longest prefix of the spans that begin at one prefix row, for its first span; else 0. */
static int prefix_begun_by(const struct attention *a, int span)
{
    int longest = a->spans_at[span].prefix;
    if (!longest)
        return 0;
    for (int i = 0; i < a->n_spans; i++) {
        const struct attention_span *other = &a->spans_at[i];
        if (!other->prefix || other->prefix_row != a->spans_at[span].prefix_row)
            continue;
        if (i < span)
            return 0;
        longest = other->prefix > longest ? other->prefix : longest;
    }
    return longest;
}

void cpu_attention_backward(struct device *d, const struct attention_backward *b)
{
    (void)d;
    const struct attention *a = &b->forward;
#pragma omp parallel
    {
        struct scratch *s = xaligned(sizeof *s);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < a->n_spans * a->kv_heads; i++)
            backward_of_queries(b, &a->spans_at[i / a->kv_heads], i % a->kv_heads, s);
        for (int i = 0; i < a->n_spans; i++) {
            int prefix = prefix_begun_by(a, i), blocks = (prefix + KEYS - 1) / KEYS;
#pragma omp for schedule(dynamic)
            for (int j = 0; j < blocks * a->kv_heads; j++)
                backward_of_prefix(b, a->spans_at[i].prefix_row, j / a->kv_heads * KEYS,
                                   j % a->kv_heads, s);
        }
        free(s);
    }
}
