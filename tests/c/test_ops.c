/* The CPU's operations one by one, against plain loops in double precision. */
#include "common/util/mem.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/lanes.h"
#include "tests/c/random.h"

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

static void half_types_convert_exactly(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 1 << 16; h++) {
        uint32_t exponent = h >> 10 & 31, fraction = h & 1023;
        double value = exponent ? ldexp(1024 + fraction, (int)exponent - 25) : ldexp(fraction, -24);
        if (exponent == 31)
            value = fraction ? NAN : INFINITY;
        value = h & 0x8000 ? -value : value;
        float ours = f32_from_f16((uint16_t)h);
        assert_true(isnan(value) ? isnan(ours) : ours == (float)value);
        float wide = f32_from_bf16((uint16_t)h);
        if (!isnan(wide))
            assert_int_equal(bf16_from_f32(wide), h);
    }
    assert_true(isnan(f32_from_bf16(bf16_from_f32(NAN))));
    /* Between two neighbours: to the nearer, ties to even. */
    assert_int_equal(bf16_from_f32(1.0f + 0x1p-8f), 0x3f80);
    assert_int_equal(bf16_from_f32(1.0f + 3 * 0x1p-8f), 0x3f82);
    assert_int_equal(bf16_from_f32(1.0f + 0x1.01p-8f), 0x3f81);
    assert_int_equal(bf16_from_f32(0x1.fffp127f), 0x7f80);
}

static void exponential_is_right_to_2e_7(void **state)
{
    (void)state;
    double worst = 0;
    for (float x = -87.3f; x < 88.0f; x += 0.00137f)
        worst = fmax(worst, fabs((double)fast_exp(x) / exp((double)x) - 1));
    assert_true(worst < 2e-7);
    assert_true(fast_exp(0) == 1.0f);
    assert_true(fast_exp(-INFINITY) == 0 && fast_exp(-88) == 0);
    assert_true(isfinite(fast_exp(INFINITY)) && fast_exp(INFINITY) > 1e38f);
    /* Whatever else is in its bits, which a model's file may say. */
    static const uint32_t nans[] = {0x7fc00000, 0xffc00000, 0x7fe14fff, 0xffc00001, 0x7f800001};
    for (size_t i = 0; i < sizeof nans / sizeof *nans; i++) {
        float x;
        memcpy(&x, &nans[i], sizeof x);
        assert_true(isnan(fast_exp(x)));
    }
}

static void hyperbolic_tangent_is_right_to_6e_7(void **state)
{
    (void)state;
    double worst = 0;
    for (float x = -20; x < 20; x += 0.000731f)
        worst = fmax(worst, fabs((double)fast_tanh(x) / tanh((double)x) - 1));
    for (float x = 1e-30f; x < 1; x *= 1.1f)
        worst = fmax(worst, fabs((double)fast_tanh(x) / tanh((double)x) - 1));
    assert_true(worst < 6e-7);
    assert_true(fast_tanh(0) == 0 && fast_tanh(INFINITY) == 1 && fast_tanh(-INFINITY) == -1);
    assert_true(isnan(fast_tanh(NAN)));
}

/* Products of every compute and stored type, with bias and accumulation, against double sums; and
 * whatever the number of rows, a row has the same bits. */
static void products_are_right_and_rows_independent(void **state)
{
    (void)state;
    static const int shapes[][2] = {{576, 576}, {30, 48}, {192, 1536}, {96, 33}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int c = 0; c < 2; c++)
            for (enum dtype stored = F32; stored <= F16; stored++) {
                enum dtype compute = c ? BF16 : F32;
                if (compute == BF16 && stored == F16) /* rounded when packed: test_paths.c */
                    continue;
                enum { ROWS = 70 };
                int out = shapes[s][0], in = shapes[s][1];
                size_t n_out = (size_t)out, n_in = (size_t)in;
                struct device *d = cpu_device_open(compute, 0);
                float *values = random_matrix(n_out * n_in), *x = random_matrix(ROWS * n_in);
                float *bias = random_matrix(n_out), *y = random_matrix(ROWS * n_out);
                float *start = xaligned(ROWS * n_out * sizeof *start);
                memcpy(start, y, ROWS * n_out * sizeof *start);
                uint16_t *halves = xaligned(n_out * n_in * 2), *narrow = xaligned(ROWS * n_in * 2);
                for (size_t i = 0; i < n_out * n_in && stored != F32; i++) {
                    /* As f16, bits of small numbers: 0x2c00 is 1/16. */
                    halves[i] = stored == BF16 ? bf16_from_f32(values[i])
                                               : (uint16_t)(0x2c00 + (seed = seed * 5 + 3) % 4096);
                    values[i] = dtype_load(stored, halves, i);
                }
                for (size_t i = 0; i < ROWS * n_in && compute == BF16; i++) {
                    narrow[i] = bf16_from_f32(x[i]);
                    x[i] = f32_from_bf16(narrow[i]);
                }
                if (compute == BF16 && stored == F32) /* rounded when they are packed */
                    for (size_t i = 0; i < n_out * n_in; i++)
                        values[i] = f32_from_bf16(bf16_from_f32(values[i]));
                const void *input = compute == BF16 ? (void *)narrow : (void *)x;
                struct weight *w = d->weight_create(
                    d, stored == F32 ? (void *)values : (void *)halves, stored, out, in);
                d->matmul(d, w, input, bias, y, ROWS, true);
                for (int r = 0; r < ROWS; r++)
                    for (int o = 0; o < out; o++) {
                        double sum = 0, size = 0;
                        for (int i = 0; i < in; i++) {
                            double term = (double)x[r * in + i] * (double)values[o * in + i];
                            sum += term;
                            size += fabs(term);
                        }
                        sum += (double)bias[o] + (double)start[r * out + o];
                        assert_true(fabs(sum - (double)y[r * out + o]) < 1e-6 * (size + 2));
                    }
                d->matmul(d, w, input, bias, y, ROWS, false);
                float *part = xaligned(ROWS * n_out * sizeof *part);
                for (int rows = 1; rows < ROWS; rows = rows * 2 + 1) {
                    int from = ROWS - rows;
                    d->matmul(d, w, (const char *)input + (size_t)from * n_in * dtype_size(compute),
                              bias, part, rows, false);
                    for (int i = 0; i < rows * out; i++) {
                        float a = part[i], b = y[from * out + i];
                        if (a != b)
                            fail_msg("%d rows: %g is not %g", rows, (double)a, (double)b);
                    }
                }
                d->weight_free(d, w);
                d->close(d);
                free(values);
                free(x);
                free(bias);
                free(y);
                free(start);
                free(halves);
                free(narrow);
                free(part);
            }
}

static void rms_norm_rope_and_glu_follow_their_formulas(void **state)
{
    (void)state;
    enum { ROWS = 3, WIDTH = 37, HEADS = 2, HEAD = 6, POSITIONS = 5 };
    struct device *d = cpu_device_open(F32, 0);
    float *x = random_matrix(ROWS * WIDTH), *gain = random_matrix(WIDTH), out[ROWS * WIDTH];
    d->rmsnorm(d, x, gain, 1e-2f, ROWS, WIDTH, out, F32);
    for (int r = 0; r < ROWS; r++) {
        double squares = 0;
        for (int i = 0; i < WIDTH; i++)
            squares += pow((double)x[r * WIDTH + i], 2);
        for (int i = 0; i < WIDTH; i++)
            assert_true(fabs((double)gain[i] * (double)x[r * WIDTH + i] /
                                 sqrt(squares / WIDTH + (double)1e-2f) -
                             (double)out[r * WIDTH + i]) < 1e-6);
    }
    float *q = random_matrix(ROWS * HEADS * HEAD), before[ROWS * HEADS * HEAD];
    memcpy(before, q, sizeof before);
    float cosine[POSITIONS * HEAD / 2], sine[POSITIONS * HEAD / 2];
    for (int i = 0; i < POSITIONS * HEAD / 2; i++) {
        cosine[i] = cosf(0.3f * (float)i);
        sine[i] = sinf(0.3f * (float)i);
    }
    int32_t positions[ROWS] = {4, 0, 2};
    d->rope(d, q, ROWS, HEADS, HEAD, HEAD, positions, cosine, sine);
    for (int r = 0; r < ROWS; r++)
        for (int h = 0; h < HEADS; h++)
            for (int i = 0; i < HEAD / 2; i++) {
                int at = (r * HEADS + h) * HEAD + i, t = positions[r] * HEAD / 2 + i;
                float a = before[at], b = before[at + HEAD / 2];
                assert_true(fabsf(a * cosine[t] - b * sine[t] - q[at]) < 1e-6f);
                assert_true(fabsf(b * cosine[t] + a * sine[t] - q[at + HEAD / 2]) < 1e-6f);
            }
    for (int i = 0; i < ROWS * WIDTH; i++)
        x[i] *= 20;
    float *up = random_matrix(ROWS * WIDTH);
    d->glu(d, SILU, x, up, ROWS * WIDTH, out);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        double g = (double)x[i], expected = g / (1 + exp(-g)) * (double)up[i];
        assert_true(fabs(expected - (double)out[i]) < 1e-6 * (1 + fabs(expected)));
    }
    d->glu(d, GELU_TANH, x, up, ROWS * WIDTH, out);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        double g = (double)x[i], t = tanh(sqrt(2 / M_PI) * (g + 0.044715 * g * g * g));
        double expected = 0.5 * g * (1 + t) * (double)up[i];
        /* Where 1 + t is small, it is a difference of what is rounded in double too. */
        assert_true(fabs(expected - (double)out[i]) < 1e-6 * (1 + fabs(expected)));
    }
    free(x);
    free(gain);
    free(q);
    free(up);
    d->close(d);
}

/* The first 4 of 6 dimensions turn, the others stay; a norm may take its input's place. */
static void part_of_a_head_turns_and_norms_work_in_place(void **state)
{
    (void)state;
    enum { ROWS = 3, HEADS = 2, HEAD = 6, DIMS = 4, N = ROWS * HEADS * HEAD };
    struct device *d = cpu_device_open(F32, 0);
    float *x = random_matrix(N), *table = random_matrix(2 * DIMS), apart[N], gain[HEAD];
    float before[N];
    int32_t positions[ROWS] = {1, 0, 3};
    memcpy(before, x, sizeof before);
    d->rope(d, x, ROWS, HEADS, HEAD, DIMS, positions, table, table);
    for (int i = 0; i < N; i++) {
        int row = i / (HEADS * HEAD), c = i % HEAD, t = positions[row] * DIMS / 2 + c % (DIMS / 2);
        double turned = (double)before[i];
        if (c < DIMS / 2)
            turned = (double)(before[i] - before[i + DIMS / 2]) * (double)table[t];
        else if (c < DIMS)
            turned = (double)(before[i] + before[i - DIMS / 2]) * (double)table[t];
        assert_true(fabs(turned - (double)x[i]) < 1e-6);
    }
    for (int i = 0; i < HEAD; i++)
        gain[i] = 1 + (float)i;
    d->rmsnorm(d, x, gain, 1e-3f, ROWS * HEADS, HEAD, apart, F32);
    d->rmsnorm(d, x, gain, 1e-3f, ROWS * HEADS, HEAD, x, F32);
    assert_memory_equal(x, apart, sizeof apart);
    free(x), free(table);
    d->close(d);
}

static void caps_and_sums_follow_their_formulas(void **state)
{
    (void)state;
    enum { N = 333 };
    struct device *d = cpu_device_open(F32, 0);
    float *x = random_matrix(N), *y = random_matrix(N), *dy = random_matrix(N), sum[N], dx[N];
    for (int i = 0; i < N; i++)
        x[i] *= i % 3 ? 10.0f : 0.1f;
    memcpy(sum, y, sizeof sum);
    d->add(d, 0.3f, x, sum, N);
    for (int i = 0; i < N; i++)
        assert_true(fabs((double)y[i] + 0.3 * (double)x[i] - (double)sum[i]) < 1e-6);
    memcpy(y, x, N * sizeof *y);
    memcpy(dx, dy, sizeof dx);
    d->cap(d, 3, y, N);
    d->cap_backward(d, 3, y, dx, N);
    for (int i = 0; i < N; i++) {
        double t = tanh((double)x[i] / 3);
        assert_true(fabs((double)y[i] - 3 * t) < 2e-6);
        assert_true(fabs((double)dx[i] - (double)dy[i] * (1 - t * t)) < 1e-6);
    }
    free(x), free(y), free(dy);
    d->close(d);
}

/* One query by the definition. lse: log of the denominator. */
static void plain_attention(const struct attention *a, const struct attention_span *s, int token,
                            int head, double *out, double *lse)
{
    int position = s->prefix + s->keys - s->queries + token, kv = head / (a->heads / a->kv_heads);
    int from = a->window && position - a->window + 1 > 0 ? position - a->window + 1 : 0;
    double weights[512] = {0}, sum = 0;
    const float *q = a->q + ((s->query_row + token) * a->heads + head) * a->head_dim;
    for (int i = 0; i < a->head_dim; i++)
        out[i] = 0;
    for (int p = from; p <= position; p++) {
        bool shared = p < s->prefix;
        int row = shared ? s->prefix_row + p : s->key_row + p - s->prefix;
        const float *k = (shared ? a->prefix_k : a->k) + (row * a->kv_heads + kv) * a->head_dim;
        double score = 0;
        for (int i = 0; i < a->head_dim; i++)
            score += (double)q[i] * (double)k[i];
        score *= (double)a->scale;
        if (a->cap > 0)
            score = (double)a->cap * tanh(score / (double)a->cap);
        weights[p] = exp(score);
        sum += weights[p];
    }
    for (int p = from; p <= position; p++) {
        bool shared = p < s->prefix;
        int row = shared ? s->prefix_row + p : s->key_row + p - s->prefix;
        const float *v = (shared ? a->prefix_v : a->v) + (row * a->kv_heads + kv) * a->head_dim;
        for (int i = 0; i < a->head_dim; i++)
            out[i] += weights[p] / sum * (double)v[i];
    }
    *lse = log(sum);
}

static void attention_sees_prefix_window_and_own_keys_capped_or_not(void **state)
{
    (void)state;
    enum { HEADS = 6, KV = 2, HEAD = 10, ROWS = 300, PREFIX_ROWS = 200 };
    static const int windows[] = {0, 1, 20, 64, 100};
    static const struct attention_span spans[] = {
        {.query_row = 0, .queries = 1, .key_row = 0, .keys = 1},
        {.query_row = 1, .queries = 130, .key_row = 1, .keys = 130},
        {.query_row = 131,
         .queries = 20,
         .key_row = 131,
         .keys = 20,
         .prefix_row = 0,
         .prefix = 70},
        {.query_row = 151,
         .queries = 3,
         .key_row = 151,
         .keys = 33,
         .prefix_row = 70,
         .prefix = 64},
        {.query_row = 184,
         .queries = 5,
         .key_row = 184,
         .keys = 5,
         .prefix_row = 70,
         .prefix = 127},
    };
    struct device *d = cpu_device_open(F32, 0);
    float *q = random_matrix(ROWS * HEADS * HEAD), *k = random_matrix(ROWS * KV * HEAD);
    float *v = random_matrix(ROWS * KV * HEAD), *pk = random_matrix(PREFIX_ROWS * KV * HEAD);
    float *pv = random_matrix(PREFIX_ROWS * KV * HEAD);
    float *out = random_matrix(ROWS * HEADS * HEAD), *lse = random_matrix(ROWS * HEADS);
    const size_t n_windows = sizeof windows / sizeof *windows;
    for (size_t w = 0; w < 2 * n_windows; w++) {
        struct attention a = {.q = q,
                              .k = k,
                              .v = v,
                              .prefix_k = pk,
                              .prefix_v = pv,
                              .spans = spans,
                              .spans_at = spans,
                              .n_spans = sizeof spans / sizeof *spans,
                              .heads = HEADS,
                              .kv_heads = KV,
                              .head_dim = HEAD,
                              .window = windows[w % n_windows],
                              .scale = 0.7f,
                              .cap = w < n_windows ? 0 : 0.5f,
                              .out = out,
                              .lse = lse};
        d->attention(d, &a);
        for (int i = 0; i < a.n_spans; i++)
            for (int t = 0; t < spans[i].queries; t++)
                for (int h = 0; h < HEADS; h++) {
                    double expected[HEAD], expected_lse;
                    plain_attention(&a, &spans[i], t, h, expected, &expected_lse);
                    int row = spans[i].query_row + t;
                    assert_true(fabs(expected_lse - (double)lse[row * HEADS + h]) < 1e-5);
                    for (int e = 0; e < HEAD; e++)
                        assert_true(fabs(expected[e] - (double)out[(row * HEADS + h) * HEAD + e]) <
                                    1e-6);
                }
    }
    free(q);
    free(k);
    free(v);
    free(pk);
    free(pv);
    free(out);
    free(lse);
    d->close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_types_convert_exactly),
        cmocka_unit_test(exponential_is_right_to_2e_7),
        cmocka_unit_test(hyperbolic_tangent_is_right_to_6e_7),
        cmocka_unit_test(part_of_a_head_turns_and_norms_work_in_place),
        cmocka_unit_test(caps_and_sums_follow_their_formulas),
        cmocka_unit_test(products_are_right_and_rows_independent),
        cmocka_unit_test(rms_norm_rope_and_glu_follow_their_formulas),
        cmocka_unit_test(attention_sees_prefix_window_and_own_keys_capped_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
