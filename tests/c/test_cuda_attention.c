/* The CUDA device's attention, forward and backward, against plain loops in double precision (whose
 * own gradients are held against central differences), and against the CPU device.
 *
 * Tolerances follow from what is rounded. Operands that the device rounds to bf16 are rounded
 * before, so that the reference has the same; what is left is the rounding of each probability, of
 * each gradient by a score, and of the result: HALF of the sum of the terms' sizes, once each. Sums
 * in f32 add SINGLE of the sum of sizes. */
#include "common/util/diag.h"
#include "kernels/cuda/plugin.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/c/cuda_buffers.h"

#define SINGLE 4e-6
#define HALF 0x1p-8

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

static const enum dtype types[] = {F32, BF16};

/* ---- problems ---- */

struct problem {
    const struct attention_span *spans;
    int n_spans;
    int heads, kv_heads, head_dim, window;
    int query_rows, key_rows;
    int prefix_rows; /* 0: prefixes are rows of the same keys and values */
    double spread;   /* queries are between -spread and spread; 0: 1 */
    double cap;      /* of scores; 0: none */
};

static float scale_of(const struct problem *p)
{
    return (float)(1 / sqrt(p->head_dim));
}

/* What the operation is given, or its gradients: queries, keys and values, and those of prefixes,
 * which are the same arrays where the prefixes are rows of them. */
struct arrays {
    double *q, *k, *v, *prefix_k, *prefix_v;
};

static size_t query_size(const struct problem *p)
{
    return (size_t)p->query_rows * (size_t)(p->heads * p->head_dim);
}

static size_t key_size(const struct problem *p)
{
    return (size_t)p->key_rows * (size_t)(p->kv_heads * p->head_dim);
}

static size_t prefix_size(const struct problem *p)
{
    return (size_t)p->prefix_rows * (size_t)(p->kv_heads * p->head_dim);
}

static double *doubles(size_t n)
{
    return xcalloc(n + 1, sizeof(double));
}

static struct arrays arrays_for(const struct problem *p)
{
    struct arrays a = {doubles(query_size(p)), doubles(key_size(p)), doubles(key_size(p)), NULL,
                       NULL};
    a.prefix_k = p->prefix_rows ? doubles(prefix_size(p)) : a.k;
    a.prefix_v = p->prefix_rows ? doubles(prefix_size(p)) : a.v;
    return a;
}

static void free_arrays(const struct problem *p, struct arrays a)
{
    free(a.q);
    free(a.k);
    free(a.v);
    if (p->prefix_rows) {
        free(a.prefix_k);
        free(a.prefix_v);
    }
}

/* ---- the reference ---- */

/* One query under one head: what it sees. */
struct seen {
    size_t query;       /* of its first element */
    int first, last;    /* positions */
    double *p;          /* [last + 1]: probabilities */
    double lse, *score; /* [last + 1]: scaled, and capped where they are */
    double *slope;      /* [last + 1]: its derivative by the product */
};

/* The first element of the key at a position, in the arrays of prefixes or in the own ones. */
static size_t key_at(const struct problem *p, const struct attention_span *s, int position,
                     int kv_head)
{
    int row = position < s->prefix ? s->prefix_row + position : s->key_row + position - s->prefix;
    return (size_t)(row * p->kv_heads + kv_head) * (size_t)p->head_dim;
}

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double sizes(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += fabs(a[i] * b[i]);
    return sum;
}

static struct seen attend(const struct problem *p, const struct attention_span *s, int query,
                          int head, const struct arrays *a)
{
    struct seen seen = {.last = s->prefix + s->keys - s->queries + query};
    seen.query = (size_t)((s->query_row + query) * p->heads + head) * (size_t)p->head_dim;
    seen.first = p->window && seen.last >= p->window ? seen.last - p->window + 1 : 0;
    seen.p = doubles((size_t)seen.last + 1);
    seen.score = doubles((size_t)seen.last + 1);
    seen.slope = doubles((size_t)seen.last + 1);
    double most = -INFINITY;
    for (int j = seen.first; j <= seen.last; j++) {
        const double *k = j < s->prefix ? a->prefix_k : a->k;
        size_t at = key_at(p, s, j, head / (p->heads / p->kv_heads));
        seen.score[j] = (double)scale_of(p) * dot(a->q + seen.query, k + at, p->head_dim);
        seen.slope[j] = (double)scale_of(p);
        if (p->cap > 0) {
            double t = tanh(seen.score[j] / p->cap);
            seen.score[j] = p->cap * t;
            seen.slope[j] *= 1 - t * t;
        }
        most = fmax(most, seen.score[j]);
    }
    double sum = exp(seen.score[seen.first] - most);
    for (int j = seen.first + 1; j <= seen.last; j++)
        sum += exp(seen.score[j] - most);
    seen.lse = most + log(sum);
    for (int j = seen.first; j <= seen.last; j++)
        seen.p[j] = exp(seen.score[j] - seen.lse);
    return seen;
}

static void free_seen(struct seen s)
{
    free(s.p);
    free(s.score);
    free(s.slope);
}

/* The result of one query and head, and for each element the sum of its terms' sizes. */
static void weigh(const struct problem *p, const struct attention_span *s, int head,
                  const struct seen *seen, const struct arrays *a, double *out, double *size)
{
    for (int c = 0; c < p->head_dim; c++)
        out[c] = size[c] = 0;
    for (int j = seen->first; j <= seen->last; j++) {
        const double *v = j < s->prefix ? a->prefix_v : a->v;
        v += key_at(p, s, j, head / (p->heads / p->kv_heads));
        for (int c = 0; c < p->head_dim; c++) {
            out[c] += seen->p[j] * v[c];
            size[c] += seen->p[j] * fabs(v[c]);
        }
    }
}

/* Adds one query's and head's part to the gradients, and to how far they may be off when each
 * weight is rounded by a part `half` of it. */
static void add_gradients(const struct problem *p, const struct attention_span *s, int head,
                          const struct seen *seen, const struct arrays *a, const double *d_out,
                          double half, const struct arrays *gradient, const struct arrays *limit)
{
    int kv_head = head / (p->heads / p->kv_heads);
    const double *q = a->q + seen->query, *dy = d_out + seen->query;
    double along = 0, along_size = 0, *dp = doubles((size_t)seen->last + 1);
    double *dp_size = doubles((size_t)seen->last + 1);
    for (int j = seen->first; j <= seen->last; j++) {
        const double *v = (j < s->prefix ? a->prefix_v : a->v) + key_at(p, s, j, kv_head);
        dp[j] = dot(dy, v, p->head_dim);
        dp_size[j] = sizes(dy, v, p->head_dim);
        along += seen->p[j] * dp[j];
        along_size += seen->p[j] * dp_size[j];
    }
    for (int j = seen->first; j <= seen->last; j++) {
        bool shared = j < s->prefix;
        size_t at = key_at(p, s, j, kv_head);
        const double *k = (shared ? a->prefix_k : a->k) + at;
        double weight = seen->slope[j] * seen->p[j];
        double ds = weight * (dp[j] - along);
        double off = half * fabs(ds) + SINGLE * weight * (dp_size[j] + along_size);
        double p_off = (half + SINGLE) * seen->p[j];
        for (int c = 0; c < p->head_dim; c++) {
            gradient->q[seen->query + (size_t)c] += ds * k[c];
            limit->q[seen->query + (size_t)c] += off * fabs(k[c]);
            (shared ? gradient->prefix_k : gradient->k)[at + (size_t)c] += ds * q[c];
            (shared ? limit->prefix_k : limit->k)[at + (size_t)c] += off * fabs(q[c]);
            (shared ? gradient->prefix_v : gradient->v)[at + (size_t)c] += seen->p[j] * dy[c];
            (shared ? limit->prefix_v : limit->v)[at + (size_t)c] += p_off * fabs(dy[c]);
        }
    }
    free(dp);
    free(dp_size);
}

/* ---- the reference's gradients against differences ---- */

static double loss(const struct problem *p, const struct arrays *a, const double *d_out)
{
    double sum = 0, out[256], size[256];
    for (int i = 0; i < p->n_spans; i++)
        for (int t = 0; t < p->spans[i].queries; t++)
            for (int h = 0; h < p->heads; h++) {
                struct seen seen = attend(p, &p->spans[i], t, h, a);
                weigh(p, &p->spans[i], h, &seen, a, out, size);
                sum += dot(out, d_out + seen.query, p->head_dim);
                free_seen(seen);
            }
    return sum;
}

static void assert_differences(const struct problem *p, const struct arrays *a, const double *d_out,
                               double *x, const double *gradient, size_t n)
{
    const double step = 1e-5;
    for (size_t i = 0; i < n; i++) {
        double keep = x[i];
        x[i] = keep + step;
        double up = loss(p, a, d_out);
        x[i] = keep - step;
        double difference = (up - loss(p, a, d_out)) / (2 * step);
        x[i] = keep;
        if (!(fabs(difference - gradient[i]) < 1e-8))
            fail_msg("element %zu: %.12g, by differences %.12g", i, gradient[i], difference);
    }
}

static void the_references_gradients_agree_with_differences(void **state)
{
    (void)state;
    static const struct attention_span spans[] = {
        {0, 3, 0, 3, 0, 4}, {3, 2, 3, 4, 0, 4}, {5, 4, 7, 4, 2, 3}, {9, 2, 11, 2, 0, 0}};
    for (int window = 0; window <= 4; window += 4) {
        struct problem p = {spans, COUNT(spans), 4, 2, 5, window, 11, 13, 5, 0, window ? 0.3 : 0};
        struct arrays a = arrays_for(&p), gradient = arrays_for(&p), limit = arrays_for(&p);
        double *all[] = {a.q, a.k, a.v, a.prefix_k, a.prefix_v};
        double *gradients[] = {gradient.q, gradient.k, gradient.v, gradient.prefix_k,
                               gradient.prefix_v};
        size_t n[] = {query_size(&p), key_size(&p), key_size(&p), prefix_size(&p), prefix_size(&p)};
        double *d_out = doubles(n[0]);
        for (size_t i = 0; i < n[0]; i++)
            d_out[i] = (double)random_number(random_seed());
        for (int w = 0; w < COUNT(all); w++)
            for (size_t i = 0; i < n[w]; i++)
                all[w][i] = (double)random_number(random_seed());
        for (int i = 0; i < p.n_spans; i++)
            for (int t = 0; t < spans[i].queries; t++)
                for (int h = 0; h < p.heads; h++) {
                    struct seen seen = attend(&p, &spans[i], t, h, &a);
                    add_gradients(&p, &spans[i], h, &seen, &a, d_out, 0, &gradient, &limit);
                    free_seen(seen);
                }
        for (int w = 0; w < COUNT(all); w++)
            assert_differences(&p, &a, d_out, all[w], gradients[w], n[w]);
        free(d_out);
        free_arrays(&p, a);
        free_arrays(&p, gradient);
        free_arrays(&p, limit);
    }
}

/* ---- a device's results ---- */

/* Inputs in the host's memory, and what a device made of them. */
struct run {
    float *q, *k, *v, *prefix_k, *prefix_v, *d_out;
    void *out;                                           /* compute type */
    float *lse, *dq, *dk, *dv, *d_prefix_k, *d_prefix_v; /* gradients of prefixes: NULL where they
                                                            are rows of dk and dv */
};

static const float UNTOUCHED = 77; /* what results hold before */

static float *constant(size_t n, float value)
{
    float *x = xreallocarray(NULL, n + 1, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = value;
    return x;
}

/* Rows that no span names are NaN: nothing may come of them. */
static float *draw_named(enum dtype type, size_t rows, int width, const bool *named, double spread)
{
    float *x = draw_array(rows * (size_t)width);
    for (size_t i = 0; i < rows * (size_t)width; i++)
        x[i] = named[i / (size_t)width] ? x[i] * (float)spread : NAN;
    free(rounded(type, x, rows * (size_t)width));
    return x;
}

static void name_rows(bool *named, int first, int n)
{
    for (int i = 0; i < n; i++)
        named[first + i] = true;
}

static struct run draw_run(const struct problem *p, enum dtype type)
{
    struct run r = {0};
    bool *queries = xcalloc((size_t)p->query_rows + 1, 1);
    bool *keys = xcalloc((size_t)p->key_rows + 1, 1);
    bool *prefixes = xcalloc((size_t)p->prefix_rows + 1, 1);
    for (int i = 0; i < p->n_spans; i++) {
        const struct attention_span *s = &p->spans[i];
        name_rows(queries, s->query_row, s->queries);
        name_rows(keys, s->key_row, s->keys);
        if (p->prefix_rows)
            name_rows(prefixes, s->prefix_row, s->prefix);
    }
    int q_width = p->heads * p->head_dim, kv_width = p->kv_heads * p->head_dim;
    size_t n_queries = (size_t)p->query_rows, n_keys = (size_t)p->key_rows;
    size_t n_prefixes = (size_t)p->prefix_rows;
    r.q = draw_named(type, n_queries, q_width, queries, p->spread > 0 ? p->spread : 1);
    r.d_out = draw_named(type, n_queries, q_width, queries, 1);
    r.k = draw_named(type, n_keys, kv_width, keys, 1);
    r.v = draw_named(type, n_keys, kv_width, keys, 1);
    r.prefix_k = draw_named(type, n_prefixes, kv_width, prefixes, 1);
    r.prefix_v = draw_named(type, n_prefixes, kv_width, prefixes, 1);
    free(queries);
    free(keys);
    free(prefixes);
    return r;
}

static void free_run(struct run r)
{
    void *arrays[] = {r.q,   r.k,  r.v,  r.prefix_k, r.prefix_v,   r.d_out,     r.out,
                      r.lse, r.dq, r.dk, r.dv,       r.d_prefix_k, r.d_prefix_v};
    for (int i = 0; i < COUNT(arrays); i++)
        free(arrays[i]);
}

/* How far arrays on the device are off its alignment. */
static size_t skew;

static float *copied(struct device *d, const float *x, size_t n)
{
    return skewed_copy(d, x, n * sizeof *x, skew);
}

static float *unset(struct device *d, size_t n, float value)
{
    float *host = constant(n, value), *at = copied(d, host, n);
    free(host);
    return at;
}

static float *fetched(struct device *d, const float *at, size_t n)
{
    float *x = xreallocarray(NULL, n + 1, sizeof *x);
    fetch(d, x, at);
    return x;
}

/* Fills in what the device makes of the inputs. Gradients of prefixes begin at 1, for they are
 * added to; where they are rows of dk and dv, at what was put there. */
static void run_on(struct device *d, const struct problem *p, struct run *r)
{
    size_t queries = query_size(p), keys = key_size(p), prefixes = prefix_size(p);
    size_t rows = (size_t)(p->query_rows * p->heads), size = dtype_size(d->compute);
    struct attention a = {.spans_at = p->spans,
                          .n_spans = p->n_spans,
                          .heads = p->heads,
                          .kv_heads = p->kv_heads,
                          .head_dim = p->head_dim,
                          .window = p->window,
                          .scale = scale_of(p),
                          .cap = (float)p->cap};
    struct attention_backward b = {0};
    float *q = copied(d, r->q, queries), *k = copied(d, r->k, keys), *v = copied(d, r->v, keys);
    float *dq = unset(d, queries, UNTOUCHED);
    b.dk = unset(d, keys, UNTOUCHED);
    b.dv = unset(d, keys, UNTOUCHED);
    a.spans = copy_of(d, p->spans, (size_t)p->n_spans * sizeof *p->spans);
    a.q = q;
    a.k = a.prefix_k = k;
    a.v = a.prefix_v = v;
    b.d_prefix_k = b.dk;
    b.d_prefix_v = b.dv;
    if (p->prefix_rows) {
        a.prefix_k = copied(d, r->prefix_k, prefixes);
        a.prefix_v = copied(d, r->prefix_v, prefixes);
        b.d_prefix_k = unset(d, prefixes, 1);
        b.d_prefix_v = unset(d, prefixes, 1);
    }
    float *untouched = constant(queries, UNTOUCHED);
    void *out_before = rounded(d->compute, untouched, queries);
    a.out = skewed_copy(d, out_before, queries * size, skew);
    a.lse = unset(d, rows, UNTOUCHED);
    d->attention(d, &a);
    b.forward = a;
    b.d_out = copied(d, r->d_out, queries);
    b.dq = dq;
    b.work = unset(d, rows, 0);
    d->attention_backward(d, &b);
    r->out = xreallocarray(NULL, queries + 1, size);
    fetch(d, r->out, a.out);
    r->lse = fetched(d, a.lse, rows);
    r->dq = fetched(d, dq, queries);
    r->dk = fetched(d, b.dk, keys);
    r->dv = fetched(d, b.dv, keys);
    if (p->prefix_rows) {
        r->d_prefix_k = fetched(d, b.d_prefix_k, prefixes);
        r->d_prefix_v = fetched(d, b.d_prefix_v, prefixes);
    }
    free(untouched);
    free(out_before);
    release_buffers(d);
}

/* ---- comparison ---- */

static double *widened(const float *x, size_t n)
{
    double *wide = doubles(n);
    for (size_t i = 0; i < n; i++)
        wide[i] = (double)x[i];
    return wide;
}

static void assert_near(const char *what, size_t i, double got, double want, double limit)
{
    if (!(fabs(got - want) <= limit))
        fail_msg("%s, element %zu: %.9g should be %.9g within %.3g", what, i, got, want, limit);
}

static void assert_all_near(const char *what, const float *got, const double *want,
                            const double *limit, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_near(what, i, (double)got[i], want[i], limit[i] + 1e-30);
}

static struct arrays inputs_of(const struct problem *p, const struct run *r)
{
    struct arrays a = {widened(r->q, query_size(p)), widened(r->k, key_size(p)),
                       widened(r->v, key_size(p)), NULL, NULL};
    a.prefix_k = p->prefix_rows ? widened(r->prefix_k, prefix_size(p)) : a.k;
    a.prefix_v = p->prefix_rows ? widened(r->prefix_v, prefix_size(p)) : a.v;
    return a;
}

/* What gradients are before anything is added: rows of queries and own keys are set, all others
 * keep what they had. */
static struct arrays gradients_before(const struct problem *p)
{
    struct arrays g = arrays_for(p);
    for (size_t i = 0; i < query_size(p); i++)
        g.q[i] = (double)UNTOUCHED;
    for (size_t i = 0; i < key_size(p); i++)
        g.k[i] = g.v[i] = (double)UNTOUCHED;
    for (size_t i = 0; i < prefix_size(p); i++)
        g.prefix_k[i] = g.prefix_v[i] = 1;
    size_t q_width = (size_t)(p->heads * p->head_dim);
    size_t kv_width = (size_t)(p->kv_heads * p->head_dim);
    for (int i = 0; i < p->n_spans; i++) {
        const struct attention_span *s = &p->spans[i];
        memset(g.q + (size_t)s->query_row * q_width, 0,
               (size_t)s->queries * q_width * sizeof(double));
        size_t at = (size_t)s->key_row * kv_width, n = (size_t)s->keys * kv_width;
        memset(g.k + at, 0, n * sizeof(double));
        memset(g.v + at, 0, n * sizeof(double));
    }
    return g;
}

/* Compares a run in a compute type with the reference. `loosen` multiplies tolerances in f32. */
static void assert_right(const struct problem *p, enum dtype type, const struct run *r,
                         double loosen)
{
    double half = type == BF16 ? HALF : 0;
    struct arrays a = inputs_of(p, r), gradient = gradients_before(p), limit = arrays_for(p);
    size_t n = query_size(p), rows = (size_t)(p->query_rows * p->heads);
    double *d_out = widened(r->d_out, n);
    double *out = doubles(n), *out_limit = doubles(n), *lse = doubles(rows);
    double *lse_limit = doubles(rows);
    for (size_t i = 0; i < n; i++)
        out[i] = (double)UNTOUCHED;
    for (size_t i = 0; i < rows; i++)
        lse[i] = (double)UNTOUCHED;
    for (int i = 0; i < p->n_spans; i++)
        for (int t = 0; t < p->spans[i].queries; t++)
            for (int h = 0; h < p->heads; h++) {
                const struct attention_span *s = &p->spans[i];
                struct seen seen = attend(p, s, t, h, &a);
                size_t row = seen.query / (size_t)p->head_dim;
                weigh(p, s, h, &seen, &a, out + seen.query, out_limit + seen.query);
                lse[row] = seen.lse;
                lse_limit[row] = SINGLE * loosen * fmax(1, fabs(seen.lse));
                add_gradients(p, s, h, &seen, &a, d_out, half, &gradient, &limit);
                free_seen(seen);
            }
    for (size_t i = 0; i < n; i++) {
        double got = (double)dtype_load(type, r->out, i);
        double most = (SINGLE * loosen + half) * out_limit[i] + half * fabs(out[i]);
        assert_near("out", i, got, out[i], most);
    }
    assert_all_near("lse", r->lse, lse, lse_limit, rows);
    double *limits[] = {limit.q, limit.k, limit.v, limit.prefix_k, limit.prefix_v};
    size_t counts[] = {n, key_size(p), key_size(p), prefix_size(p), prefix_size(p)};
    for (int w = 0; w < COUNT(limits); w++)
        for (size_t i = 0; i < counts[w]; i++)
            limits[w][i] = limits[w][i] * loosen + (w > 2 ? 1e-6 : 0);
    assert_all_near("dq", r->dq, gradient.q, limit.q, n);
    assert_all_near("dk", r->dk, gradient.k, limit.k, key_size(p));
    assert_all_near("dv", r->dv, gradient.v, limit.v, key_size(p));
    if (p->prefix_rows) {
        assert_all_near("d_prefix_k", r->d_prefix_k, gradient.prefix_k, limit.prefix_k,
                        prefix_size(p));
        assert_all_near("d_prefix_v", r->d_prefix_v, gradient.prefix_v, limit.prefix_v,
                        prefix_size(p));
    }
    free_arrays(p, a);
    free_arrays(p, gradient);
    free_arrays(p, limit);
    free(d_out);
    free(out);
    free(out_limit);
    free(lse);
    free(lse_limit);
}

/* The device's limit on what attention holds at once. */
static void limit_chunks(struct device *d, size_t bytes)
{
    void *plugin = dlopen(getenv("DUQ_CUDA_PLUGIN"), RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(plugin);
    void (*limit)(struct device *, size_t);
    *(void **)&limit = dlsym(plugin, "cuda_attention_limit");
    assert_non_null(limit);
    limit(d, bytes);
    dlclose(plugin);
}

static void check(const struct problem *p)
{
    for (int t = 0; t < COUNT(types); t++) {
        struct device *d = open_cuda(types[t]);
        struct run r = draw_run(p, types[t]);
        run_on(d, p, &r);
        assert_right(p, types[t], &r, 1);
        free_run(r);
        d->close(d);
    }
}

/* ---- tests ---- */

/* Own parts of 1 token and prime lengths, across strips of the implementation (64 tokens). */
static const struct attention_span alone[] = {
    {0, 1, 0, 1, 0, 0}, {1, 2, 1, 2, 0, 0}, {3, 31, 3, 31, 0, 0}, {34, 67, 34, 67, 0, 0}};

/* Several groups, out of order, one with two lengths of one prefix and one within another, rows
 * that nobody names, a sequence without queries, and fewer queries than keys. */
static const struct attention_span groups[] = {
    {2, 5, 3, 5, 40, 29},  {7, 3, 8, 33, 0, 37}, {10, 1, 41, 1, 40, 29},  {11, 7, 42, 7, 0, 11},
    {18, 0, 49, 3, 0, 37}, {18, 4, 52, 4, 0, 0}, {22, 66, 56, 66, 50, 7}, {88, 1, 122, 19, 40, 31},
};

static void every_head_size_and_group_is_right(void **state)
{
    (void)state;
    static const struct {
        int heads, kv_heads, head_dim;
    } shapes[] = {{2, 2, 64}, {3, 1, 80}, {4, 1, 128}, {8, 1, 20}, {4, 2, 7}, {6, 2, 16}};
    for (int i = 0; i < COUNT(shapes); i++) {
        struct problem p = {alone,
                            COUNT(alone),
                            shapes[i].heads,
                            shapes[i].kv_heads,
                            shapes[i].head_dim,
                            0,
                            101,
                            101,
                            0,
                            0,
                            0};
        check(&p);
    }
}

static void arrays_off_their_alignment_are_right(void **state)
{
    (void)state;
    struct problem p = {groups, COUNT(groups), 4, 2, 16, 0, 90, 143, 73, 0, 0};
    skew = sizeof(float);
    check(&p);
    skew = 0;
}

static void prefixes_windows_and_caps_are_right(void **state)
{
    (void)state;
    /* 1: only itself; 19, 30: within prefixes; 38: the longest prefix and one; 200: all. */
    static const int windows[] = {0, 1, 5, 19, 30, 38, 66, 200};
    for (int i = 0; i < COUNT(windows); i++) {
        struct problem p = {groups, COUNT(groups), 4, 2, 20, windows[i], 90, 143, 73, 0, 0};
        check(&p);
        p.cap = 0.4;
        check(&p);
    }
}

/* Strips of one sequence that see equally many keys: their products add to the same gradients. */
static void a_window_over_many_strips_is_right(void **state)
{
    (void)state;
    static const struct attention_span spans[] = {{0, 300, 0, 300, 0, 0}, {300, 5, 300, 5, 0, 0}};
    struct problem p = {spans, COUNT(spans), 2, 1, 8, 19, 305, 305, 0, 0, 0};
    check(&p);
}

/* As training packs them: prefixes are sequences of the same call, in the last layer without
 * queries. */
static void prefixes_among_the_sequences_are_right(void **state)
{
    (void)state;
    static const struct attention_span all[] = {{0, 40, 0, 40, 0, 0},
                                                {40, 9, 40, 9, 0, 40},
                                                {49, 70, 49, 70, 0, 40},
                                                {119, 3, 119, 3, 0, 0},
                                                {122, 6, 122, 6, 119, 3}};
    static const struct attention_span last[] = {{0, 0, 0, 40, 0, 0},
                                                 {0, 1, 40, 9, 0, 40},
                                                 {1, 1, 49, 70, 0, 40},
                                                 {2, 0, 119, 3, 0, 0},
                                                 {2, 1, 122, 6, 119, 3}};
    static const int windows[] = {0, 33};
    for (int i = 0; i < COUNT(windows); i++) {
        struct problem p = {all, COUNT(all), 4, 1, 16, windows[i], 128, 128, 0, 0, 0};
        check(&p);
        p.spans = last;
        p.query_rows = 3;
        check(&p);
    }
}

static void nothing_asked_sets_keys_gradients_to_zero(void **state)
{
    (void)state;
    static const struct attention_span spans[] = {{0, 0, 1, 5, 0, 0}};
    struct problem p = {spans, COUNT(spans), 2, 1, 8, 0, 1, 7, 0, 0, 0};
    check(&p);
    p.n_spans = 0;
    check(&p);
}

static void small_chunks_give_the_same(void **state)
{
    (void)state;
    /* Each query by itself; a few strips together; runs that end amid a chunk. */
    static const size_t limits[] = {1, 100000, 300000};
    for (int i = 0; i < COUNT(limits); i++)
        for (int t = 0; t < COUNT(types); t++) {
            struct problem p = {groups, COUNT(groups), 4, 2, 20, 0, 90, 143, 73, 0, 0};
            struct device *d = open_cuda(types[t]);
            limit_chunks(d, limits[i]);
            struct run r = draw_run(&p, types[t]);
            run_on(d, &p, &r);
            assert_right(&p, types[t], &r, 1);
            free_run(r);
            d->close(d);
        }
}

/* ---- memory ---- */

static const char *self;
static bool simulated;

/* So much memory is free on the device, beside what it says that it takes where `said`; and so much
 * is allowed to scores and results. */
struct trial {
    long free_bytes;
    size_t allowed;
    bool said, backward;
};

/* In a process of its own: attends. 600 queries under 8 heads see a prefix of 256: scores of
 * 4.9 MB. */
static int attend_within(struct trial t)
{
    enum { SPANS = 20, OWN = 30, PREFIX = 256, HEADS = 8, DIM = 16, ROWS = SPANS * OWN };
    struct attention_span spans[SPANS];
    for (int i = 0; i < SPANS; i++)
        spans[i] = (struct attention_span){i * OWN, OWN, i * OWN, OWN, 0, PREFIX};
    struct device *d = open_cuda(F32);
    limit_chunks(d, t.allowed);
    float *q = draw_array(ROWS * HEADS * DIM), *k = draw_array(ROWS * DIM);
    float *prefix = draw_array(PREFIX * DIM);
    struct attention a = {.q = copied(d, q, ROWS * HEADS * DIM),
                          .k = copied(d, k, ROWS * DIM),
                          .v = copied(d, k, ROWS * DIM),
                          .prefix_k = copied(d, prefix, PREFIX * DIM),
                          .prefix_v = copied(d, prefix, PREFIX * DIM),
                          .spans = copy_of(d, spans, sizeof spans),
                          .spans_at = spans,
                          .n_spans = SPANS,
                          .heads = HEADS,
                          .kv_heads = 1,
                          .head_dim = DIM,
                          .scale = 0.25f,
                          .out = copied(d, q, ROWS * HEADS * DIM),
                          .lse = copied(d, q, ROWS * HEADS)};
    struct attention_backward b = {.forward = a,
                                   .d_out = a.q,
                                   .dq = copied(d, q, ROWS * HEADS * DIM),
                                   .dk = copied(d, k, ROWS * DIM),
                                   .dv = copied(d, k, ROWS * DIM),
                                   .d_prefix_k = copied(d, prefix, PREFIX * DIM),
                                   .d_prefix_v = copied(d, prefix, PREFIX * DIM),
                                   .work = copied(d, q, ROWS * HEADS)};
    size_t said = t.said ? d->attention_memory(d, &a, t.backward) : 0, available, total;
    d->memory(d, &available, &total);
    void *taken = d->alloc(d, available - (size_t)((long)said + t.free_bytes));
    if (t.backward)
        d->attention_backward(d, &b);
    else
        d->attention(d, &a);
    fetch(d, q, t.backward ? b.dq : a.out);
    d->release(d, taken);
    release_buffers(d);
    d->close(d);
    free(q);
    free(k);
    free(prefix);
    return EXIT_SUCCESS;
}

/* Its exit status. */
static int status_within(struct trial t)
{
    char numbers[4][32];
    snprintf(numbers[0], sizeof numbers[0], "%ld", t.free_bytes);
    snprintf(numbers[1], sizeof numbers[1], "%zu", t.allowed);
    snprintf(numbers[2], sizeof numbers[2], "%d", t.said);
    snprintf(numbers[3], sizeof numbers[3], "%d", t.backward);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        execl("/proc/self/exe", self, numbers[0], numbers[1], numbers[2], numbers[3], (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void no_more_is_held_than_allowed(void **state)
{
    (void)state;
    if (!simulated)
        skip();
    /* Packed keys, their numbers, and arrays of pointers take up to 300 kB beside. */
    assert_int_equal(status_within((struct trial){1300000, 1000000, false, false}), EXIT_SUCCESS);
    /* A sequence's rows take more. */
    assert_int_equal(status_within((struct trial){450000, 200000, false, false}), EXIT_SUCCESS);
    assert_int_equal(status_within((struct trial){2300000, 2000000, false, false}), EXIT_SUCCESS);
    assert_int_equal(status_within((struct trial){2300000, 100000000, false, false}), EX_OSERR);
}

static void what_it_says_it_takes_is_enough_and_needed(void **state)
{
    (void)state;
    static const size_t limits[] = {1, 200000, 2000000, 100000000};
    enum { ROUNDING = 5 * 512 }; /* of its allocations */
    if (!simulated)
        skip();
    for (int i = 0; i < COUNT(limits); i++)
        for (int backward = 0; backward < 2; backward++) {
            struct trial t = {ROUNDING, limits[i], true, backward};
            assert_int_equal(status_within(t), EXIT_SUCCESS);
            t.free_bytes = -ROUNDING;
            assert_int_equal(status_within(t), EX_OSERR);
        }
}

/* Bytes for spans of `own` tokens each, all queries, after a prefix, in the shape of Mistral-7B;
 * and of those the packed keys' and values' in bf16. */
static size_t bytes_of_7b(struct device *d, int n, int own, int prefix, bool backward, size_t *keys)
{
    enum { KV_HEADS = 8, DIM = 128, STEP = 32, PREFIX_STEP = 8 };
    struct attention_span *spans = xcalloc((size_t)n, sizeof *spans);
    for (int i = 0; i < n; i++)
        spans[i] = (struct attention_span){i * own, own, i * own, own, 0, prefix};
    struct attention a = {.spans_at = spans,
                          .n_spans = n,
                          .heads = 32,
                          .kv_heads = KV_HEADS,
                          .head_dim = DIM,
                          .scale = 1};
    size_t rows = (size_t)n * (size_t)((own + STEP - 1) / STEP * STEP);
    *keys = 2 * (rows + (size_t)prefix + PREFIX_STEP) * KV_HEADS * DIM * sizeof(uint16_t);
    size_t bytes = d->attention_memory(d, &a, backward);
    free(spans);
    return bytes;
}

/* Nothing is computed: numbers that 32 bits do not hold would show. */
static void what_a_7b_model_takes_grows_with_its_tokens_alone(void **state)
{
    (void)state;
    static const struct {
        int n, own, prefix;
    } passes[] = {{585, 28, 433},    {16384, 1, 16384}, {1, 16384, 0},   {1, 131072, 0},
                  {4, 32768, 32768}, {100000, 1, 2000}, {1, 1 << 20, 0}, {30000, 35, 0}};
    struct device *d = open_cuda(BF16);
    for (int i = 0; i < COUNT(passes); i++) {
        int n = passes[i].n, own = passes[i].own;
        /* Longer records have shorter strips, in the end of one token. */
        int strip = own > 200000 ? 1 : own > 10000 ? 4 : 64;
        size_t keys, strips = (size_t)n * (size_t)((own + strip - 1) / strip);
        for (int backward = 0; backward < 2; backward++) {
            size_t bytes = bytes_of_7b(d, n, own, passes[i].prefix, backward, &keys);
            size_t kept = backward ? 3 * keys : keys; /* gradients are f32 */
            /* The most scores and the most results are of different chunks. */
            size_t allowed = 2 * (size_t)(1 + backward) * ATTENTION_BYTES;
            size_t lists = keys / 1000 + 4 * (size_t)n * (size_t)own + 700 * strips;
            assert_true(bytes > kept && bytes < kept + allowed + lists);
        }
    }
    d->close(d);
}

static void equal_calls_give_equal_bits(void **state)
{
    (void)state;
    struct problem p = {groups, COUNT(groups), 8, 2, 16, 40, 90, 143, 73, 0, 0};
    size_t rows = (size_t)(p.query_rows * p.heads);
    for (int t = 0; t < COUNT(types); t++) {
        struct device *d = open_cuda(types[t]);
        struct run first = draw_run(&p, types[t]), second = first;
        run_on(d, &p, &first);
        /* Another call between, so that scratch memory holds something else. */
        struct problem other = {alone, COUNT(alone), 4, 2, 20, 0, 101, 101, 0, 0, 0};
        struct run between = draw_run(&other, types[t]);
        run_on(d, &other, &between);
        run_on(d, &p, &second);
        assert_memory_equal(first.out, second.out, query_size(&p) * dtype_size(types[t]));
        assert_memory_equal(first.lse, second.lse, rows * sizeof(float));
        assert_memory_equal(first.dq, second.dq, query_size(&p) * sizeof(float));
        assert_memory_equal(first.dk, second.dk, key_size(&p) * sizeof(float));
        assert_memory_equal(first.dv, second.dv, key_size(&p) * sizeof(float));
        assert_memory_equal(first.d_prefix_k, second.d_prefix_k, prefix_size(&p) * sizeof(float));
        assert_memory_equal(first.d_prefix_v, second.d_prefix_v, prefix_size(&p) * sizeof(float));
        second.q = second.k = second.v = second.prefix_k = second.prefix_v = second.d_out = NULL;
        free_run(first);
        free_run(second);
        free_run(between);
        d->close(d);
    }
}

/* Scores of some thousands: all weight falls on one key or a few, and a score is off by up to some
 * thousandths in f32 (tensor cores cut sums off), which the exponential makes part of a weight. */
static void large_scores_are_right(void **state)
{
    (void)state;
    for (int t = 0; t < COUNT(types); t++) {
        struct problem p = {groups, COUNT(groups), 4, 2, 16, 0, 90, 143, 73, 1000, 0};
        struct device *d = open_cuda(types[t]);
        struct run r = draw_run(&p, types[t]);
        run_on(d, &p, &r);
        assert_right(&p, types[t], &r, 2000);
        free_run(r);
        d->close(d);
    }
}

/* Scores near the largest numbers of f32. */
static void enormous_scores_stay_finite(void **state)
{
    (void)state;
    for (int t = 0; t < COUNT(types); t++) {
        struct problem p = {groups, COUNT(groups), 4, 2, 16, 0, 90, 143, 73, 1e36, 0};
        struct device *d = open_cuda(types[t]);
        struct run r = draw_run(&p, types[t]);
        run_on(d, &p, &r);
        for (size_t i = 0; i < query_size(&p); i++) {
            float x = dtype_load(types[t], r.out, i);
            assert_true(fabsf(x) <= 1 || x == UNTOUCHED); /* values are at most 1 */
        }
        for (size_t i = 0; i < (size_t)(p.query_rows * p.heads); i++)
            assert_true(isfinite(r.lse[i]));
        for (size_t i = 0; i < query_size(&p); i++)
            assert_true(isfinite(r.dq[i]));
        for (size_t i = 0; i < key_size(&p); i++)
            assert_true(isfinite(r.dv[i]));
        free_run(r);
        d->close(d);
    }
}

static void assert_as_on_cpu(const char *what, const float *got, const float *want, size_t n)
{
    double top = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, fabs((double)want[i]));
    for (size_t i = 0; i < n; i++)
        assert_near(what, i, (double)got[i], (double)want[i], 1e-5 * top);
}

static void results_are_those_of_the_cpu(void **state)
{
    (void)state;
    static const struct attention_span spans[] = {
        {0, 5, 0, 5, 40, 33}, {5, 3, 5, 33, 0, 37}, {8, 70, 38, 70, 0, 37}, {78, 4, 108, 4, 0, 0}};
    struct problem p = {spans, COUNT(spans), 8, 2, 32, 0, 82, 112, 73, 0, 0};
    struct device *cuda = open_cuda(F32), *cpu = cpu_device_open(F32, 0);
    struct run r = draw_run(&p, F32), other = r;
    run_on(cuda, &p, &r);
    run_on(cpu, &p, &other);
    assert_as_on_cpu("out", r.out, other.out, query_size(&p));
    assert_as_on_cpu("lse", r.lse, other.lse, (size_t)(p.query_rows * p.heads));
    assert_as_on_cpu("dq", r.dq, other.dq, query_size(&p));
    assert_as_on_cpu("dk", r.dk, other.dk, key_size(&p));
    assert_as_on_cpu("dv", r.dv, other.dv, key_size(&p));
    assert_as_on_cpu("d_prefix_k", r.d_prefix_k, other.d_prefix_k, prefix_size(&p));
    assert_as_on_cpu("d_prefix_v", r.d_prefix_v, other.d_prefix_v, prefix_size(&p));
    other.q = other.k = other.v = other.prefix_k = other.prefix_v = other.d_out = NULL;
    free_run(r);
    free_run(other);
    cuda->close(cuda);
    cpu->close(cpu);
}

int main(int argc, char **argv)
{
    self = argv[0];
    simulated = choose_cuda_plugin();
    if (argc > 4)
        return attend_within((struct trial){atol(argv[1]), strtoul(argv[2], NULL, 10),
                                            atol(argv[3]) != 0, atol(argv[4]) != 0});
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_references_gradients_agree_with_differences),
        cmocka_unit_test(every_head_size_and_group_is_right),
        cmocka_unit_test(arrays_off_their_alignment_are_right),
        cmocka_unit_test(prefixes_windows_and_caps_are_right),
        cmocka_unit_test(a_window_over_many_strips_is_right),
        cmocka_unit_test(prefixes_among_the_sequences_are_right),
        cmocka_unit_test(nothing_asked_sets_keys_gradients_to_zero),
        cmocka_unit_test(small_chunks_give_the_same),
        cmocka_unit_test(no_more_is_held_than_allowed),
        cmocka_unit_test(what_it_says_it_takes_is_enough_and_needed),
        cmocka_unit_test(what_a_7b_model_takes_grows_with_its_tokens_alone),
        cmocka_unit_test(equal_calls_give_equal_bits),
        cmocka_unit_test(large_scores_are_right),
        cmocka_unit_test(enormous_scores_stay_finite),
        cmocka_unit_test(results_are_those_of_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
