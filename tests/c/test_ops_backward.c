/* Every gradient the CPU device computes, against central differences of the operation written out
 * plainly in double precision; the adapters' products and dropout against their definitions. */
#include "common/math/philox.h"
#include "common/util/mem.h"
#include "common/util/threads.h"
#include "kernels/ops.h"
#include "tests/c/lowering.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct device *f32_device, *bf16_device;

static double uniform(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 23) - 1; /* [-1, 1) */
}

static float *random_floats(size_t n, uint32_t seed)
{
    float *x = xaligned(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)uniform(&seed);
    return x;
}

/* |got - want| <= tolerance * the largest |want| */
static void assert_all_near(const float *got, const double *want, size_t n, double tolerance)
{
    double top = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance * top))
            fail_msg("element %zu: %.9g is not %.9g (largest %.3g)", i, (double)got[i], want[i],
                     top);
}

/* The gradient of a scalar function of x[n] by central differences. */
typedef double scalar_function(const double *x, void *context);

static double *differences(scalar_function *f, const float *at, size_t n, void *context)
{
    const double h = 1e-5;
    double *x = xaligned(n * sizeof *x), *gradient = xaligned(n * sizeof *gradient);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)at[i];
    for (size_t i = 0; i < n; i++) {
        double keep = x[i];
        x[i] = keep + h;
        double up = f(x, context);
        x[i] = keep - h;
        gradient[i] = (up - f(x, context)) / (2 * h);
        x[i] = keep;
    }
    free(x);
    return gradient;
}

/* ---- RMSNorm ---- */

struct norm {
    int rows, width;
    float eps;
    const float *gain, *dy;
};

static double norm_loss(const double *x, void *context)
{
    const struct norm *n = context;
    double sum = 0;
    for (int r = 0; r < n->rows; r++) {
        const double *row = x + r * n->width;
        double squares = 0;
        for (int i = 0; i < n->width; i++)
            squares += row[i] * row[i];
        double scale = 1 / sqrt(squares / n->width + (double)n->eps);
        for (int i = 0; i < n->width; i++)
            sum += (double)n->dy[r * n->width + i] * (double)n->gain[i] * row[i] * scale;
    }
    return sum;
}

static void rmsnorms_gradient_agrees_with_differences(void **state)
{
    (void)state;
    enum { ROWS = 3, WIDTH = 37, N = ROWS * WIDTH };
    float *x = random_floats(N, 1), *gain = random_floats(WIDTH, 2), *dy = random_floats(N, 3);
    float *dx = random_floats(N, 4), before[N];
    memcpy(before, dx, sizeof before);
    struct norm norm = {ROWS, WIDTH, 1e-5f, gain, dy};
    double *want = differences(norm_loss, x, N, &norm);
    for (int i = 0; i < N; i++)
        want[i] += (double)before[i]; /* it is added */
    f32_device->rmsnorm_backward(f32_device, x, gain, norm.eps, ROWS, WIDTH, dy, dx);
    assert_all_near(dx, want, N, 2e-6);
    free(x), free(gain), free(dy), free(dx), free(want);
}

/* ---- gated linear units ---- */

struct unit {
    enum activation activation;
    const float *dy;
};

static double glu_loss(const double *x, void *context)
{
    enum { N = 101 };
    const struct unit *u = context;
    double sum = 0;
    for (int i = 0; i < N; i++) {
        double t = sqrt(2 / M_PI) * (x[i] + 0.044715 * pow(x[i], 3));
        double gate = u->activation == SILU ? x[i] / (1 + exp(-x[i])) : 0.5 * x[i] * (1 + tanh(t));
        sum += (double)u->dy[i] * gate * x[N + i];
    }
    return sum;
}

static void glus_gradient_agrees_with_differences(void **state)
{
    (void)state;
    enum { N = 101 };
    float *x = random_floats(2 * N, 5), *dy = random_floats(N, 6), d[2 * N];
    for (int i = 0; i < N; i++)
        x[i] *= 8;
    for (enum activation a = SILU; a <= GELU_TANH; a++) {
        struct unit unit = {a, dy};
        double *want = differences(glu_loss, x, 2 * N, &unit);
        f32_device->glu_backward(f32_device, a, x, x + N, dy, N, d, d + N);
        assert_all_near(d, want, 2 * N, 2e-6);
        free(want);
    }
    free(x), free(dy);
}

/* ---- attention ---- */

enum { HEADS = 4, KV_HEADS = 2, HEAD_DIM = 6, MOST_ROWS = 400 };

struct attending {
    const struct attention_span *spans;
    int n_spans, rows, window;
    const float *d_out;
    double cap;
};

/* x holds q [rows, HEADS * HEAD_DIM], then k, then v [rows, KV_HEADS * HEAD_DIM]; prefixes are rows
 * of the same k and v. */
static double attention_loss(const double *x, void *context)
{
    const struct attending *a = context;
    const double *q = x, *k = q + a->rows * HEADS * HEAD_DIM;
    const double *v = k + a->rows * KV_HEADS * HEAD_DIM;
    double sum = 0;
    for (int s = 0; s < a->n_spans; s++) {
        const struct attention_span *span = &a->spans[s];
        for (int i = 0; i < span->queries; i++)
            for (int h = 0; h < HEADS; h++) {
                int position = span->prefix + span->keys - span->queries + i;
                int begin = a->window && position >= a->window ? position - a->window + 1 : 0;
                size_t at = (size_t)((span->query_row + i) * HEADS + h) * HEAD_DIM;
                double total = 0, weighted[HEAD_DIM] = {0};
                for (int j = begin; j <= position; j++) {
                    int row =
                        j < span->prefix ? span->prefix_row + j : span->key_row + j - span->prefix;
                    size_t key = (size_t)(row * KV_HEADS + h / (HEADS / KV_HEADS)) * HEAD_DIM;
                    double score = 0;
                    for (int c = 0; c < HEAD_DIM; c++)
                        score += q[at + (size_t)c] * k[key + (size_t)c];
                    score /= sqrt(HEAD_DIM);
                    double p = exp(a->cap > 0 ? a->cap * tanh(score / a->cap) : score);
                    total += p;
                    for (int c = 0; c < HEAD_DIM; c++)
                        weighted[c] += p * v[key + (size_t)c];
                }
                for (int c = 0; c < HEAD_DIM; c++)
                    sum += (double)a->d_out[at + (size_t)c] * weighted[c] / total;
            }
    }
    return sum;
}

static void check_attention(const struct attention_span *spans, int n_spans, int rows, int window,
                            double cap, const float *x, float *gradient)
{
    size_t q_size = (size_t)rows * HEADS * HEAD_DIM, kv_size = (size_t)rows * KV_HEADS * HEAD_DIM;
    float *d_out = random_floats(q_size, 8), *out = xaligned(q_size * sizeof *out);
    float *lse = xaligned((size_t)rows * HEADS * sizeof *lse);
    float *work = xaligned((size_t)rows * HEADS * sizeof *work);
    struct attention forward = {.q = x,
                                .k = x + q_size,
                                .v = x + q_size + kv_size,
                                .prefix_k = x + q_size,
                                .prefix_v = x + q_size + kv_size,
                                .spans = spans,
                                .spans_at = spans,
                                .n_spans = n_spans,
                                .heads = HEADS,
                                .kv_heads = KV_HEADS,
                                .head_dim = HEAD_DIM,
                                .window = window,
                                .scale = (float)(1 / sqrt(HEAD_DIM)),
                                .cap = (float)cap,
                                .out = out,
                                .lse = lse};
    f32_device->attention(f32_device, &forward);
    memset(gradient, 0, (q_size + 2 * kv_size) * sizeof *gradient);
    f32_device->attention_backward(
        f32_device, &(struct attention_backward){.forward = forward,
                                                 .d_out = d_out,
                                                 .dq = gradient,
                                                 .dk = gradient + q_size,
                                                 .dv = gradient + q_size + kv_size,
                                                 .d_prefix_k = gradient + q_size,
                                                 .d_prefix_v = gradient + q_size + kv_size,
                                                 .work = work});
    struct attending a = {spans, n_spans, rows, window, d_out, cap};
    double *want = differences(attention_loss, x, q_size + 2 * kv_size, &a);
    assert_all_near(gradient, want, q_size, 5e-6);
    assert_all_near(gradient + q_size, want + q_size, kv_size, 5e-6);
    assert_all_near(gradient + q_size + kv_size, want + q_size + kv_size, kv_size, 5e-6);
    free(d_out), free(out), free(lse), free(work), free(want);
}

/* Rows 0..4 and 5..7 are prefixes and sequences of their own; the others share them, or none. */
static const struct attention_span few[] = {
    {0, 5, 0, 5, 0, 0},   {5, 3, 5, 3, 0, 0},   {8, 4, 8, 4, 0, 5},
    {12, 2, 12, 2, 0, 5}, {14, 3, 14, 3, 5, 3}, {17, 2, 17, 2, 0, 0},
};
/* Only last positions ask. */
static const struct attention_span last[] = {
    {0, 0, 0, 5, 0, 0}, {0, 1, 8, 4, 0, 5}, {1, 1, 12, 2, 0, 5}, {2, 1, 14, 3, 5, 3}};
/* Longer than a block of the implementation, prefix and own part both. */
static const struct attention_span large[] = {
    {0, 0, 0, 70, 0, 0}, {0, 3, 70, 67, 0, 70}, {3, 66, 137, 66, 0, 70}};

static void attentions_gradient_agrees_with_differences(void **state)
{
    (void)state;
    enum { N = MOST_ROWS * (HEADS + 2 * KV_HEADS) * HEAD_DIM };
    float *x = random_floats(N, 7), *gradient = xaligned(N * sizeof *gradient);
    for (int i = 0; i < N; i++)
        x[i] *= 2;
    for (int cap = 0; cap <= 2; cap += 2) {
        check_attention(few, 6, 19, 0, cap, x, gradient);
        check_attention(few, 6, 19, 3, cap, x, gradient);
        check_attention(last, 4, 17, 0, cap, x, gradient);
        check_attention(last, 4, 17, 4, cap, x, gradient);
    }
    free(x), free(gradient);
}

/* As above for few of the elements, since each costs a whole forward pass: those of one direction.
 */
struct along {
    const float *x, *direction;
    size_t n;
    struct attending *a;
};

static double loss_along(const double *step, void *context)
{
    const struct along *l = context;
    double *moved = xaligned(l->n * sizeof *moved);
    for (size_t i = 0; i < l->n; i++)
        moved[i] = (double)l->x[i] + *step * (double)l->direction[i];
    double loss = attention_loss(moved, l->a);
    free(moved);
    return loss;
}

enum { LARGE_ROWS = 203 };

/* Forward and backward over the large spans. x, gradient: queries, keys, values one after another.
 */
static void attend_large(const float *x, int window, float cap, const float *d_out, float *out,
                         float *lse, float *work, float *gradient)
{
    const size_t q_size = LARGE_ROWS * HEADS * HEAD_DIM, kv_size = LARGE_ROWS * KV_HEADS * HEAD_DIM;
    const float *k = x + q_size, *v = k + kv_size;
    float *d_k = gradient + q_size, *d_v = d_k + kv_size;
    struct attention forward = {x,
                                k,
                                v,
                                k,
                                v,
                                large,
                                large,
                                3,
                                HEADS,
                                KV_HEADS,
                                HEAD_DIM,
                                window,
                                (float)(1 / sqrt(HEAD_DIM)),
                                cap,
                                out,
                                lse};
    f32_device->attention(f32_device, &forward);
    f32_device->attention_backward(
        f32_device,
        &(struct attention_backward){forward, d_out, gradient, d_k, d_v, d_k, d_v, work});
}

static void attentions_gradient_is_right_over_many_blocks(void **state)
{
    (void)state;
    enum { ROWS = LARGE_ROWS, N = ROWS * (HEADS + 2 * KV_HEADS) * HEAD_DIM };
    const size_t q_size = ROWS * HEADS * HEAD_DIM;
    for (int window = 0; window <= 90; window += 45) {
        float cap = window == 45 ? 0.7f : 0;
        float *x = random_floats(N, 9), *gradient = xcalloc(N, sizeof *gradient);
        float *d_out = random_floats(q_size, 10), *out = xaligned(q_size * sizeof *out);
        float lse[ROWS * HEADS], work[ROWS * HEADS];
        attend_large(x, window, cap, d_out, out, lse, work, gradient);
        struct attending a = {large, 3, ROWS, window, d_out, (double)cap};
        for (uint32_t seed = 20; seed < 26; seed++) {
            float *direction = random_floats(N, seed);
            struct along along = {x, direction, N, &a};
            double *want = differences(loss_along, (float[]){0}, 1, &along), got = 0;
            for (size_t i = 0; i < N; i++)
                got += (double)direction[i] * (double)gradient[i];
            if (!(fabs(got - *want) <= 2e-5 * fmax(1, fabs(*want))))
                fail_msg("window %d: %.9g is not %.9g", window, got, *want);
            free(direction), free(want);
        }
        free(x), free(gradient), free(d_out), free(out);
    }
}

/* ---- products ---- */

/* Rows of the operands lie further apart than they are long; as they are stored, and in f32. */
struct stored_matrix {
    void *stored;
    float *x;
};

static struct stored_matrix stored_matrix(enum dtype type, size_t n, uint32_t seed)
{
    struct stored_matrix m = {xmalloc(n * dtype_size(type)), random_floats(n, seed)};
    for (size_t i = 0; i < n; i++) {
        dtype_store(type, m.stored, i, m.x[i]);
        m.x[i] = dtype_load(type, m.stored, i);
    }
    return m;
}

static void check_gemm(struct device *d, enum dtype type, bool ta, bool tb, const int shape[3],
                       bool accumulate)
{
    int m = shape[0], n = shape[1], k = shape[2];
    int a_step = (ta ? m : k) + 3, b_step = (tb ? k : n) + 1, c_step = n + 2;
    struct stored_matrix a = stored_matrix(type, (size_t)((ta ? k : m) * a_step), 11);
    struct stored_matrix b = stored_matrix(type, (size_t)((tb ? n : k) * b_step), 12);
    float *c = random_floats((size_t)(m * c_step), 13);
    double *want = xaligned((size_t)(m * c_step) * sizeof *want);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < c_step; j++) {
            double sum = 0;
            for (int l = 0; l < k && j < n; l++)
                sum += (double)(ta ? a.x[l * a_step + i] : a.x[i * a_step + l]) *
                       (double)(tb ? b.x[j * b_step + l] : b.x[l * b_step + j]);
            bool stays = accumulate || j >= n;
            want[i * c_step + j] = 0.5 * sum + (stays ? (double)c[i * c_step + j] : 0);
        }
    d->gemm(d, &(struct matrix_product){.type = type,
                                        .transpose_a = ta,
                                        .transpose_b = tb,
                                        .m = m,
                                        .n = n,
                                        .k = k,
                                        .scale = 0.5f,
                                        .a = a.stored,
                                        .b = b.stored,
                                        .a_step = (size_t)a_step,
                                        .b_step = (size_t)b_step,
                                        .c_step = (size_t)c_step,
                                        .c = c,
                                        .accumulate = accumulate});
    assert_all_near(c, want, (size_t)(m * c_step), 2e-6);
    free(a.stored), free(a.x), free(b.stored), free(b.x), free(c), free(want);
}

static void products_agree_with_double_precision(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 1, 1},    {70, 16, 130}, {16, 200, 65},
                                    {9, 17, 600}, {65, 66, 4},   {300, 5, 1101}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int how = 0; how < 8; how++) {
            check_gemm(f32_device, F32, how & 1, how & 2, shapes[i], how & 4);
            check_gemm(bf16_device, F32, how & 1, how & 2, shapes[i], how & 4);
            check_gemm(bf16_device, BF16, how & 1, how & 2, shapes[i], how & 4);
        }
}

/* What a part of an adapter multiplies, and its gradients. */
static void adapters_agree_with_double_precision(void **state)
{
    (void)state;
    for (int i = 0; i < LOWERING_CASES; i++)
        for (int how = 0; how < 8; how++) {
            struct lowering_case c = lowering_cases[i];
            c.type = how & 1 ? BF16 : F32;
            c.rate = how & 2 ? 0.3 : 0;
            c.numbered = how & 4;
            struct lowered o = lowered_run(how & 1 ? bf16_device : f32_device, &c, 0.5);
            double error = lowered_error(&o);
            if (!(error <= 1e-6))
                fail_msg("case %d, %s, rate %g: off by %.3g", i, dtype_name(c.type), c.rate, error);
            lowered_free(&o);
        }
}

static void a_weights_backward_product_agrees_with_double_precision(void **state)
{
    (void)state;
    enum { OUT = 48, IN = 80, MOST = 70 };
    float *w = random_floats(OUT * IN, 14), *dy = random_floats(MOST * OUT, 15);
    uint16_t w16[OUT * IN], dy16[MOST * OUT];
    for (int i = 0; i < OUT * IN; i++)
        w[i] = f32_from_bf16(w16[i] = bf16_from_f32(w[i]));
    for (int i = 0; i < MOST * OUT; i++)
        dy[i] = f32_from_bf16(dy16[i] = bf16_from_f32(dy[i]));
    for (int which = 0; which < 3; which++) {
        struct device *d = which == 2 ? bf16_device : f32_device;
        if (!d)
            continue;
        struct weight *weight = which == 0 ? d->weight_create(d, w, F32, OUT, IN)
                                           : d->weight_create(d, w16, BF16, OUT, IN);
        for (int rows = 1; rows <= MOST; rows += 23) {
            float *dx = random_floats((size_t)rows * IN, 16);
            double *want = xaligned((size_t)rows * IN * sizeof *want);
            for (int pass = 0; pass < 2; pass++) {
                for (int r = 0; r < rows; r++)
                    for (int i = 0; i < IN; i++) {
                        double sum = pass ? (double)dx[r * IN + i] : 0;
                        for (int o = 0; o < OUT; o++)
                            sum += (double)dy[r * OUT + o] * (double)w[o * IN + i];
                        want[r * IN + i] = sum;
                    }
                d->matmul_backward(d, weight, which == 2 ? (void *)dy16 : dy, dx, rows, pass);
                assert_all_near(dx, want, (size_t)rows * IN, 2e-6);
            }
            free(dx), free(want);
        }
        d->weight_free(d, weight);
    }
    free(w), free(dy);
}

/* ---- dropout, and what moves rows ---- */

/* Seen through an A that is the identity: sums of one number and zeros. numbers: of the rows, or
 * NULL; of 300 rows of 70, 21,000 draws, five standard deviations are 158. */
static void check_dropout(enum dtype type, const int32_t *numbers)
{
    enum { ROWS = 300, WIDTH = 70 };
    struct device *d = type == F32 ? f32_device : bf16_device;
    struct stored_matrix x = stored_matrix(type, (size_t)ROWS * WIDTH, 17);
    void *identity = xcalloc((size_t)WIDTH * WIDTH, dtype_size(type));
    for (size_t i = 0; i < WIDTH; i++)
        dtype_store(type, identity, i * WIDTH + i, 1);
    float out[ROWS * WIDTH] = {0};
    d->lower(d, &(struct lowering){.n = 1,
                                   .rows = ROWS,
                                   .in = WIDTH,
                                   .ranks = {WIDTH},
                                   .type = type,
                                   .x = x.stored,
                                   .a = identity,
                                   .dropout = {{.rate = 0.05,
                                                .seed = 0x123456789abcdefu,
                                                .stream = 3,
                                                .step = 17,
                                                .row_numbers = numbers}},
                                   .low = out});
    int dropped = 0;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < WIDTH; c++) {
            uint32_t number = (uint32_t)(numbers ? numbers[r] : r);
            struct philox counter = {{(uint32_t)c / 4, number, 3, 17}};
            counter = philox4x32(counter, 0x89abcdefu, 0x01234567u);
            bool keep = counter.v[c % 4] >= 214748364u; /* 0.05 * 2^32 */
            dropped += !keep;
            float want = keep ? x.x[r * WIDTH + c] * (float)(1 / 0.95) : 0.0f;
            assert_true(out[r * WIDTH + c] == want);
        }
    assert_in_range(dropped, 1050 - 158, 1050 + 158);
    free(x.x), free(x.stored), free(identity);
}

static void dropout_keeps_what_philox_says(void **state)
{
    (void)state;
    int32_t numbers[300];
    for (int r = 0; r < 300; r++)
        numbers[r] = 7 * r + 1000000;
    for (enum dtype type = F32; type <= BF16; type++) {
        check_dropout(type, NULL);
        check_dropout(type, numbers);
    }
}

static void rows_are_added_and_types_converted(void **state)
{
    (void)state;
    float from[4] = {1, 2, 3, 4}, to[6] = {1, 1, 1, 1, 1, 1};
    f32_device->scatter_add(f32_device, from, (int32_t[]){2, 0}, 2, 2, to);
    assert_memory_equal(to, ((float[]){4, 5, 1, 1, 2, 3}), sizeof to);
    uint16_t rounded[3];
    float back[3];
    f32_device->convert(f32_device, (float[]){1.0f, 1.00390625f, -3.14159f}, F32, rounded, BF16, 3);
    f32_device->convert(f32_device, rounded, BF16, back, F32, 3);
    assert_true(back[0] == 1.0f && back[1] == 1.0f && back[2] == -3.140625f);
}

/* ---- threads ---- */

static void results_do_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    enum { ROWS = LARGE_ROWS, N = ROWS * (HEADS + 2 * KV_HEADS) * HEAD_DIM, OUT = 512, IN = 640 };
    const size_t q_size = ROWS * HEADS * HEAD_DIM;
    float *x = random_floats(N, 18), *d_out = random_floats(q_size, 19),
          *out = xaligned(4 * q_size);
    float *w = random_floats(OUT * IN, 20), *dy = random_floats(ROWS * OUT, 21);
    uint16_t *w16 = xaligned(OUT * IN * 2), *dy16 = xaligned(ROWS * OUT * 2);
    f32_device->convert(f32_device, w, F32, w16, BF16, OUT * IN);
    f32_device->convert(f32_device, dy, F32, dy16, BF16, ROWS * OUT);
    float lse[ROWS * HEADS] = {0}, work[ROWS * HEADS] = {0};
    float *first = NULL;
    size_t total = N + 2 * ROWS * IN + OUT * 16;
    int threads = threads_count();
    for (int t = 1; t <= 4; t++) {
        threads_set(t);
        float *result = xcalloc(total, sizeof *result);
        attend_large(x, 0, 0, d_out, out, lse, work, result);
        struct weight *weight = f32_device->weight_create(f32_device, w, F32, OUT, IN);
        f32_device->matmul_backward(f32_device, weight, dy, result + N, ROWS, false);
        f32_device->weight_free(f32_device, weight);
        if (bf16_device) {
            weight = bf16_device->weight_create(bf16_device, w16, BF16, OUT, IN);
            bf16_device->matmul_backward(bf16_device, weight, dy16, result + N + ROWS * IN, ROWS,
                                         false);
            bf16_device->weight_free(bf16_device, weight);
        }
        f32_device->gemm(f32_device, &(struct matrix_product){.transpose_a = true,
                                                              .m = OUT,
                                                              .n = 16,
                                                              .k = ROWS,
                                                              .scale = 1,
                                                              .a = dy,
                                                              .b = x,
                                                              .a_step = OUT,
                                                              .b_step = 16,
                                                              .c_step = 16,
                                                              .c = result + N + 2 * ROWS * IN});
        if (first) {
            assert_memory_equal(first, result, total * sizeof *result);
            free(result);
        } else {
            first = result;
        }
    }
    threads_set(threads);
    free(first), free(x), free(d_out), free(out), free(w), free(dy), free(w16), free(dy16);
}

static int open_devices(void **state)
{
    (void)state;
    f32_device = cpu_device_open(F32, 0);
    bf16_device = cpu_device_open(BF16, 0);
    return 0;
}

static int close_devices(void **state)
{
    (void)state;
    f32_device->close(f32_device);
    bf16_device->close(bf16_device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorms_gradient_agrees_with_differences),
        cmocka_unit_test(glus_gradient_agrees_with_differences),
        cmocka_unit_test(attentions_gradient_agrees_with_differences),
        cmocka_unit_test(attentions_gradient_is_right_over_many_blocks),
        cmocka_unit_test(products_agree_with_double_precision),
        cmocka_unit_test(adapters_agree_with_double_precision),
        cmocka_unit_test(a_weights_backward_product_agrees_with_double_precision),
        cmocka_unit_test(dropout_keeps_what_philox_says),
        cmocka_unit_test(rows_are_added_and_types_converted),
        cmocka_unit_test(results_do_not_depend_on_the_number_of_threads),
    };
    return cmocka_run_group_tests(tests, open_devices, close_devices);
}
