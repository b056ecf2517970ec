/* The promise of kernels/ops.h on the CPU: in f32 every path of the processor gives the same bytes,
 * whatever the number of rows and of threads; in bf16 every path keeps its own. AMX's products run
 * everywhere, on simulated tiles. */
#include "common/util/mem.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/lanes.h"

#include "tests/c/amx_simulated.h"
#include "tests/c/lowering.h"
#include "tests/c/random.h"
#define multiplier_amx multiplier_amx_simulated
#include "kernels/cpu/path_amx.c"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t seed = 1;

static float *random_matrix(size_t n)
{
    return random_numbers(&seed, n);
}

static void *random_of_type(enum dtype type, size_t n)
{
    void *x = xaligned(n * dtype_size(type));
    for (size_t i = 0; i < n; i++)
        dtype_store(type, x, i, random_number(&seed));
    return x;
}

static void assert_same(const float *a, const float *b, size_t n, const char *path,
                        const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s, %s: element %zu is %.9g, not %.9g", path, what, i, (double)b[i],
                     (double)a[i]);
}

/* ---- arithmetic ---- */

/* The plain path is compiled without an instruction for it on x86-64. */
static void multiply_add_rounds_once(void **state)
{
    (void)state;
    static const float edges[] = {0.0f,      -0.0f,    1.0f,          0x1.fffffep127f, 0x1p-126f,
                                  0x1p-149f, INFINITY, 0x1.000002p0f, 0x1p-24f,        -0x1p-75f};
    enum { EDGES = sizeof edges / sizeof *edges };
    for (int i = 0; i < 300000; i++) {
        float v[3];
        for (int j = 0; j < 3; j++) {
            uint32_t bits =
                (uint32_t)(random_number(&seed) * 0x1p31f) * 2 + (random_number(&seed) > 0);
            memcpy(&v[j], &bits, sizeof bits);
            if (i % 3 == 0) /* near one another, so that sums cancel */
                v[j] =
                    ldexpf(1 + (float)(bits >> 9) * 0x1p-23f, (int)(bits % 5) - 2 - 12 * (j == 2));
            if (i % 11 == 1) /* half way between two floats, and a little beside */
                v[j] = (const float[]){0x1.000002p0f, 0x1p-24f, 1}[j] * (i % 2 ? 1 : 0x1.8p0f) +
                       (i % 3 == 1 && j == 1 ? 0x1p-47f : 0);
            if (i % 7 == 0)
                v[j] = edges[(bits >> 8) % EDGES];
        }
        vec all = {0};
        vec lanes = multiply_add_lanes(v[0] - all, v[1] - all, v[2] - all);
        float right = fmaf(v[0], v[1], v[2]);
        float ours[] = {multiply_add(v[0], v[1], v[2]), lanes[0], lanes[VECTOR - 1]};
        for (int j = 0; j < 3; j++)
            if (isnan(right) ? !isnan(ours[j]) : memcmp(&ours[j], &right, sizeof right) != 0)
                fail_msg("%a * %a + %a is %a, not %a", (double)v[0], (double)v[1], (double)v[2],
                         (double)ours[j], (double)right);
    }
}

/* ---- products ---- */

struct product_case {
    int out, in;
    enum dtype stored, compute;
};

/* What a path makes of the case's products: y [rows, out], accumulated upon ones with a bias, and
 * dx [rows, in]. */
static void run_products(const struct path *path, const struct product_case *c, int threads,
                         const void *values, const void *x, const void *dy, const float *bias,
                         int rows, float *y, float *dx)
{
    struct device *d = cpu_device_on_path(c->compute, threads, path);
    struct weight *w = d->weight_create(d, values, c->stored, c->out, c->in);
    for (size_t i = 0; i < (size_t)rows * (size_t)c->out; i++)
        y[i] = 1;
    d->matmul(d, w, x, bias, y, rows, true);
    d->matmul_backward(d, w, dy, dx, rows, false);
    d->weight_free(d, w);
    d->close(d);
}

/* SwiGLU of two products at once has the bytes of the two, then SwiGLU. */
static void gated_products_are_those_of_two(void **state)
{
    (void)state;
    enum { ROWS = 290, OUT = 75, IN = 130 };
    struct path amx = *paths_here()[0];
    amx.bf16 = multiplier_amx_simulated;
    const struct path *paths[8] = {&amx};
    for (int i = 0; paths_here()[i]; i++)
        paths[i + 1] = paths_here()[i];
    for (int p = 0; paths[p]; p++)
        for (enum dtype compute = F32; compute <= BF16; compute++) {
            struct device *d = cpu_device_on_path(compute, 2, paths[p]);
            void *values[] = {random_of_type(BF16, OUT * IN), random_of_type(F32, OUT * IN)};
            void *x = random_of_type(compute, ROWS * IN);
            float *bias = random_matrix(OUT), *gate = random_matrix(ROWS * OUT);
            float *up = random_matrix(ROWS * OUT);
            char want[ROWS * OUT * 4], got[ROWS * OUT * 4];
            struct weight *w[] = {d->weight_create(d, values[0], BF16, OUT, IN),
                                  d->weight_create(d, values[1], F32, OUT, IN)};
            d->matmul(d, w[0], x, bias, gate, ROWS, false);
            d->matmul(d, w[1], x, NULL, up, ROWS, false);
            d->glu(d, SILU, gate, up, ROWS * OUT, want);
            d->gated_matmul(d, SILU, w[0], w[1], x, bias, NULL, got, ROWS);
            assert_memory_equal(got, want, ROWS * OUT * dtype_size(compute));
            d->weight_free(d, w[0]);
            d->weight_free(d, w[1]);
            d->close(d);
            free(values[0]), free(values[1]), free(x), free(bias), free(gate), free(up);
        }
}

/* All paths against the first of their list, and each against itself with fewer rows and other
 * threads. same: whether paths are to agree. */
static void check_products(const struct product_case *c, const struct path *const *paths, bool same)
{
    enum { ROWS = 300 };
    size_t out = (size_t)c->out, in = (size_t)c->in, size = dtype_size(c->compute);
    void *values = random_of_type(c->stored, out * in);
    char *x = random_of_type(c->compute, ROWS * in), *dy = random_of_type(c->compute, ROWS * out);
    float *bias = random_matrix(out);
    float *want_y = random_matrix(ROWS * out), *want_dx = random_matrix(ROWS * in);
    float *y = random_matrix(ROWS * out), *dx = random_matrix(ROWS * in);
    for (const struct path *const *p = paths; *p; p++) {
        char what[96];
        snprintf(what, sizeof what, "%d x %d, stored %s, computed %s", c->out, c->in,
                 dtype_name(c->stored), dtype_name(c->compute));
        run_products(*p, c, 1, values, x, dy, bias, ROWS, y, dx);
        if (same && p > paths) {
            assert_same(want_y, y, ROWS * out, (*p)->name, what);
            assert_same(want_dx, dx, ROWS * in, (*p)->name, what);
        }
        memcpy(want_y, y, ROWS * out * sizeof *y);
        memcpy(want_dx, dx, ROWS * in * sizeof *dx);
        for (int rows = 1, threads = 1; rows <= ROWS; rows += rows < 20 ? 1 : 47, threads++) {
            size_t from = (size_t)(ROWS - rows);
            run_products(*p, c, threads % 4 + 1, values, x + from * in * size,
                         dy + from * out * size, bias, rows, y, dx);
            assert_same(want_y + from * out, y, (size_t)rows * out, (*p)->name, what);
            assert_same(want_dx + from * in, dx, (size_t)rows * in, (*p)->name, what);
        }
    }
    void *all[] = {values, x, dy, bias, want_y, want_dx, y, dx};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static const int shapes[][2] = {{96, 80}, {33, 17}, {1, 1}, {70, 1100}, {530, 31}};

static void f32_products_are_the_same_on_every_path(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (enum dtype stored = F32; stored <= F16; stored++)
            check_products(&(struct product_case){shapes[s][0], shapes[s][1], stored, F32},
                           paths_here(), true);
}

/* Paths without bf16 products of their own multiply what they widen: those agree. */
static void bf16_products_keep_their_bits_on_each_path(void **state)
{
    (void)state;
    const struct path *own[8] = {NULL}, *widening[8] = {NULL};
    struct path amx = *paths_here()[0];
    amx.name = "amx, simulated";
    amx.bf16 = multiplier_amx_simulated;
    size_t n_own = 0, n_widening = 0;
    own[n_own++] = &amx;
    for (const struct path *const *p = paths_here(); *p; p++)
        if ((*p)->bf16.multiply)
            own[n_own++] = *p;
        else
            widening[n_widening++] = *p;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (enum dtype stored = F32; stored <= F16; stored++) {
            struct product_case c = {shapes[s][0], shapes[s][1], stored, BF16};
            check_products(&c, own, false);
            check_products(&c, widening, true);
        }
}

/* Against sums in double precision of what the operands are in bf16. */
static void simulated_amx_multiplies(void **state)
{
    (void)state;
    enum { ROWS = 37, OUT = 70, IN = 150 };
    struct path amx = *paths_here()[0];
    amx.bf16 = multiplier_amx_simulated;
    struct product_case c = {OUT, IN, BF16, BF16};
    uint16_t *values = random_of_type(BF16, OUT * IN), *x = random_of_type(BF16, ROWS * IN);
    uint16_t *dy = random_of_type(BF16, ROWS * OUT);
    float *bias = random_matrix(OUT), y[ROWS * OUT], dx[ROWS * IN];
    run_products(&amx, &c, 1, values, x, dy, bias, ROWS, y, dx);
    for (int r = 0; r < ROWS; r++) {
        for (int o = 0; o < OUT; o++) {
            double sum = 1 + (double)bias[o];
            for (int i = 0; i < IN; i++)
                sum += (double)f32_from_bf16(x[r * IN + i]) *
                       (double)f32_from_bf16(values[o * IN + i]);
            assert_true(fabs(sum - (double)y[r * OUT + o]) < 1e-5);
        }
        for (int i = 0; i < IN; i++) {
            double sum = 0;
            for (int o = 0; o < OUT; o++)
                sum += (double)f32_from_bf16(dy[r * OUT + o]) *
                       (double)f32_from_bf16(values[o * IN + i]);
            assert_true(fabs(sum - (double)dx[r * IN + i]) < 1e-5);
        }
    }
    free(values);
    free(x);
    free(dy);
    free(bias);
}

/* ---- the other operations ---- */

/* One run of attention and its gradients, into out. */
enum { HEADS = 6, KV = 2, HEAD = 20, TOKENS = 190, PREFIX_ROWS = 200 };
enum { Q = TOKENS * HEADS * HEAD, K = TOKENS * KV * HEAD, P = PREFIX_ROWS * KV * HEAD };
enum { ATTENTION_FLOATS = 2 * Q + 2 * K + 2 * P + TOKENS * HEADS };

static void run_attention(struct device *d, float cap, const float *in, float *out)
{
    static const struct attention_span spans[] = {{0, 1, 0, 1, 0, 0},
                                                  {1, 130, 1, 130, 0, 0},
                                                  {131, 20, 131, 20, 0, 70},
                                                  {151, 3, 151, 33, 70, 64},
                                                  {184, 5, 184, 5, 70, 127}};
    static float work[TOKENS * HEADS];
    memset(out, 0, ATTENTION_FLOATS * sizeof *out);
    struct attention a = {.q = in,
                          .k = in + Q,
                          .v = in + Q + K,
                          .prefix_k = in + Q + 2 * K,
                          .prefix_v = in + Q + 2 * K + P,
                          .spans = spans,
                          .spans_at = spans,
                          .n_spans = sizeof spans / sizeof *spans,
                          .heads = HEADS,
                          .kv_heads = KV,
                          .head_dim = HEAD,
                          .window = 100,
                          .scale = 0.3f,
                          .cap = cap,
                          .out = out,
                          .lse = out + 2 * Q + 2 * K + 2 * P};
    d->attention(d, &a);
    struct attention_backward b = {.forward = a,
                                   .d_out = in,
                                   .dq = out + Q,
                                   .dk = out + 2 * Q,
                                   .dv = out + 2 * Q + K,
                                   .d_prefix_k = out + 2 * Q + 2 * K,
                                   .d_prefix_v = out + 2 * Q + 2 * K + P,
                                   .work = work};
    d->attention_backward(d, &b);
}

/* Every operation on rows, in f32, of random input; returns how many floats it wrote. */
enum { N = 7 * 333, WIDTH = 333 };

static size_t run_rows(struct device *d, const float *in, float *out)
{
    float *at = out;
    int32_t positions[7] = {3, 1, 4, 1, 5, 0, 2};
    float *x = at;
    memcpy(at, in, N * sizeof *at);
    d->rope(d, x, 7, 1, 332, 332, positions, in, in + 1000);
    d->rope(d, x, 7, 1, 332, 250, positions, in, in + 1000);
    at += N;
    d->rmsnorm(d, in, in + 50, 1e-5f, 7, WIDTH, at, F32);
    at += N;
    memcpy(at, in + 7, N * sizeof *at);
    d->rmsnorm_backward(d, in, in + 50, 1e-5f, 7, WIDTH, in + 100, at);
    at += N;
    float *big = at;
    for (int i = 0; i < N; i++)
        big[i] = 60 * in[i];
    at += N;
    d->glu(d, SILU, big, in + 11, N, at);
    at += N;
    d->glu_backward(d, SILU, big, in + 11, in + 31, N, at, at + N);
    at += 2 * N;
    d->glu(d, GELU_TANH, big, in + 11, N, at);
    at += N;
    d->glu_backward(d, GELU_TANH, big, in + 11, in + 31, N, at, at + N);
    at += 2 * N;
    memcpy(at, big, N * sizeof *at);
    d->cap(d, 5, at, N);
    memcpy(at + N, in, N * sizeof *at);
    d->cap_backward(d, 5, at, at + N, N);
    d->add(d, 0.37f, in + 3, at + N, N);
    at += 2 * N;
    d->class_logits(d, in, 7, in + 20, 5, WIDTH, at);
    at += 35;
    d->gemm(d, &(struct matrix_product){.transpose_a = true,
                                        .m = 40,
                                        .n = 37,
                                        .k = 29,
                                        .scale = 0.7f,
                                        .a = in,
                                        .a_step = 40,
                                        .b = in + 1,
                                        .b_step = 50,
                                        .c = at,
                                        .c_step = 37});
    at += 40 * 37;
    uint16_t narrow[N];
    d->convert(d, in, F32, narrow, BF16, N);
    d->convert(d, narrow, BF16, at, F32, N);
    return (size_t)(at + N - out);
}

/* What adapters make of an input, and their gradients: the same bytes on every path in f32, in bf16
 * on those that widen; whatever the threads. On simulated tiles and on every path they are near
 * double precision. */
static void adapters_keep_their_bits(void **state)
{
    (void)state;
    struct path amx = *paths_here()[0];
    amx.name = "amx, simulated";
    amx.bf16 = multiplier_amx_simulated;
    const struct path *paths[8] = {&amx};
    for (int i = 0; paths_here()[i]; i++)
        paths[i + 1] = paths_here()[i];
    for (int i = 0; i < LOWERING_CASES; i++)
        for (int how = 0; how < 4; how++) {
            struct lowering_case c = lowering_cases[i];
            c.type = how & 1 ? BF16 : F32;
            c.rate = how & 2 ? 0.3 : 0;
            struct lowered want[2] = {{0}}; /* of products in f32; of the path's own */
            for (int p = 0; paths[p]; p++)
                for (int threads = 1; threads <= 3; threads += 2) {
                    struct device *d = cpu_device_on_path(c.type, threads, paths[p]);
                    struct lowered got = lowered_run(d, &c, 0.5);
                    d->close(d);
                    double error = lowered_error(&got);
                    if (!(error <= 1e-6))
                        fail_msg("%s, case %d, %s: off by %.3g", paths[p]->name, i,
                                 dtype_name(c.type), error);
                    bool own = c.type == BF16 && paths[p]->bf16.multiply;
                    struct lowered *first = &want[own];
                    if (!first->low || (own && threads == 1)) {
                        lowered_free(first);
                        *first = got;
                        continue;
                    }
                    assert_same(first->low, got.low, got.low_n, paths[p]->name, "A x");
                    assert_same(first->da, got.da, got.a_n, paths[p]->name, "dA");
                    assert_same(first->dx, got.dx, got.x_n, paths[p]->name, "dx");
                    lowered_free(&got);
                }
            lowered_free(&want[0]);
            lowered_free(&want[1]);
        }
}

static void other_operations_are_the_same_on_every_path(void **state)
{
    (void)state;
    enum { MOST = 14 * N + 40 * 37 + 35 };
    float *in = random_matrix(Q + 2 * K + 2 * P), *rows_in = random_matrix(2 * N);
    enum { TWICE = 2 * ATTENTION_FLOATS };
    float *want = random_matrix(TWICE), *got = random_matrix(TWICE);
    float *want_rows = random_matrix(MOST), *rows = random_matrix(MOST);
    for (const struct path *const *p = paths_here(); *p; p++)
        for (int threads = 1; threads <= 3; threads++) {
            struct device *d = cpu_device_on_path(F32, threads, *p);
            bool first = p == paths_here() && threads == 1;
            run_attention(d, 0, in, first ? want : got);
            run_attention(d, 0.4f, in, (first ? want : got) + ATTENTION_FLOATS);
            size_t n = run_rows(d, rows_in, first ? want_rows : rows);
            assert_true(n <= MOST);
            if (!first) {
                assert_same(want, got, TWICE, (*p)->name, "attention");
                assert_same(want_rows, rows, n, (*p)->name, "rows");
            }
            d->close(d);
        }
    void *all[] = {in, rows_in, want, got, want_rows, rows};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* bf16 attention near that of f32 on what the operands are in bf16. */
static void bf16_attention_is_near(void **state)
{
    (void)state;
    static const struct attention_span span = {0, TOKENS, 0, TOKENS, 0, 0};
    struct path amx = *paths_here()[0];
    amx.bf16 = multiplier_amx_simulated;
    const struct path *tried[] = {&amx, paths_here()[0]};
    float *in = random_matrix(Q + 2 * K), exact[Q] = {0};
    uint16_t out[Q];
    for (int i = 0; i < Q + 2 * K; i++)
        in[i] = f32_from_bf16(bf16_from_f32(in[i]));
    struct attention a = {.q = in,
                          .k = in + Q,
                          .v = in + Q + K,
                          .spans = &span,
                          .spans_at = &span,
                          .n_spans = 1,
                          .heads = HEADS,
                          .kv_heads = KV,
                          .head_dim = HEAD,
                          .scale = 0.25f,
                          .out = exact};
    struct device *d = cpu_device_on_path(F32, 1, paths_here()[0]);
    d->attention(d, &a);
    d->close(d);
    a.out = out;
    for (size_t t = 0; t < sizeof tried / sizeof *tried; t++) {
        d = cpu_device_on_path(BF16, 1, tried[t]);
        d->attention(d, &a);
        d->close(d);
        /* Probabilities and the result are rounded to 8 bits. */
        for (int i = 0; i < Q; i++)
            assert_true(fabsf(f32_from_bf16(out[i]) - exact[i]) < 0.008f);
    }
    free(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multiply_add_rounds_once),
        cmocka_unit_test(f32_products_are_the_same_on_every_path),
        cmocka_unit_test(bf16_products_keep_their_bits_on_each_path),
        cmocka_unit_test(simulated_amx_multiplies),
        cmocka_unit_test(gated_products_are_those_of_two),
        cmocka_unit_test(adapters_keep_their_bits),
        cmocka_unit_test(other_operations_are_the_same_on_every_path),
        cmocka_unit_test(bf16_attention_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
