/* The CUDA device's operations but attention, one by one, against plain loops in double precision.
 * Each is tried over shapes at the edges of its launches and vectors, on aligned memory and on
 * memory an element off, and must leave what lies beside its results alone.
 *
 * Tolerances: SINGLE for results in f32, relative to the sum of the terms' sizes: some ten times
 * the unit in the last place, for sums are in an order of the device's choosing. HALF for results
 * rounded to bf16: half a unit in the last place. */
#include "common/math/adamw.h"
#include "common/math/loss.h"
#include "common/math/special.h"
#include "kernels/ops.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/c/cuda_buffers.h"
#include "tests/c/lowering.h"

#define SINGLE 1e-6
#define HALF 0x1p-8

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const enum dtype types[] = {F32, BF16};

/* |got - wanted| within the tolerance of a result of this type; `size` is what it was summed from.
 */
static void assert_close(double got, double wanted, double size, enum dtype type)
{
    double limit = SINGLE * size + (type == BF16 ? HALF * (fabs(wanted) + SINGLE * size) : 0);
    if (!(fabs(got - wanted) <= limit + 1e-30))
        fail_msg("%.9g should be %.9g within %.3g", got, wanted, limit);
}

static void assert_array_close(const void *got, enum dtype type, const double *wanted,
                               const double *sizes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_close((double)dtype_load(type, got, i), wanted[i],
                     sizes ? sizes[i] : fabs(wanted[i]), type);
}

static double *doubles(size_t n)
{
    return xcalloc(n + 1, sizeof(double));
}

/* ---- memory ---- */

static void copies_arrive_whatever_their_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 3, 4096, (4 << 20) - 1, 4 << 20, (4 << 20) + 5, 37 << 20};
    struct device *d = open_cuda(F32);
    for (size_t s = 0; s < COUNT(sizes); s++) {
        unsigned char *host = xmalloc(sizes[s]), *back = xmalloc(sizes[s]);
        for (size_t i = 0; i < sizes[s]; i++)
            host[i] = (unsigned char)(i * 7 + i / 251 + s);
        unsigned char *p = d->alloc(d, sizes[s]);
        d->upload(d, p, host, sizes[s]);
        const unsigned char *imported = d->import(d, host, sizes[s]);
        memset(back, 0, sizes[s]);
        d->download(d, back, p, sizes[s]);
        assert_memory_equal(back, host, sizes[s]);
        memset(host, 0, sizes[s]); /* what was imported is a copy */
        unsigned char *kept = xmalloc(sizes[s]);
        d->download(d, kept, imported, sizes[s]);
        assert_memory_equal(kept, back, sizes[s]);
        size_t first = sizes[s] / 3, cleared = sizes[s] / 2;
        d->clear(d, p + first, cleared);
        memset(back + first, 0, cleared);
        d->download(d, host, p, sizes[s]);
        assert_memory_equal(host, back, sizes[s]);
        d->release(d, p);
        free(host);
        free(back);
        free(kept);
    }
    d->close(d);
}

/* More uploads than can be on their way at once, each from memory that changes at once. */
static void what_is_uploaded_may_change_as_soon_as_it_is_queued(void **state)
{
    (void)state;
    enum { UPLOADS = 1000 };
    struct device *d = open_cuda(F32);
    int32_t *p = d->alloc(d, UPLOADS * sizeof *p), back[UPLOADS], value;
    for (int i = 0; i < UPLOADS; i++) {
        value = i * i;
        d->upload(d, p + i, &value, sizeof value);
    }
    value = -1;
    d->download(d, back, p, sizeof back);
    for (int i = 0; i < UPLOADS; i++)
        assert_int_equal(back[i], i * i);
    d->release(d, p);
    d->close(d);
}

static void nothing_is_a_size_too(void **state)
{
    (void)state;
    struct device *d = open_cuda(F32);
    void *p = d->alloc(d, 0);
    assert_non_null(p);
    d->upload(d, p, NULL, 0);
    d->clear(d, p, 0);
    d->download(d, NULL, p, 0);
    d->release(d, p);
    d->release(d, NULL);
    d->close(d);
}

static void memory_says_what_allocations_leave(void **state)
{
    (void)state;
    enum { MIB = 1 << 20 };
    struct device *d = open_cuda(F32);
    size_t before, during, after, total;
    d->memory(d, &before, &total);
    void *p = d->alloc(d, 64 * MIB);
    d->memory(d, &during, &total);
    d->release(d, p);
    d->download(d, NULL, NULL, 0); /* the release is queued */
    d->memory(d, &after, &total);
    assert_true(before <= total);
    assert_true(during <= before - 64 * MIB && during >= before - 96 * MIB);
    assert_true(after >= before - 8 * MIB); /* a GPU has tables for what was mapped */
    d->close(d);
}

/* ---- products ---- */

/* y[rows, n] = start + x[rows, k] W + bias, W[k, n] at w[i * k_step + j * n_step]; sizes: the sums
 * of the terms' sizes. */
static void multiply(const float *x, const float *w, const float *bias, const float *start,
                     int rows, int n, int k, size_t k_step, size_t n_step, double *y, double *sizes)
{
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < n; j++) {
            double sum = bias ? (double)bias[j] : 0, size = fabs(sum);
            if (start) {
                sum += (double)start[r * n + j];
                size += fabs((double)start[r * n + j]);
            }
            for (int i = 0; i < k; i++) {
                double term = (double)x[(size_t)r * (size_t)k + (size_t)i] *
                              (double)w[(size_t)i * k_step + (size_t)j * n_step];
                sum += term;
                size += fabs(term);
            }
            y[r * n + j] = sum;
            sizes[r * n + j] = size;
        }
}

static void try_weight(struct device *d, enum dtype stored, int rows, int out, int in)
{
    enum dtype compute = d->compute;
    size_t n_out = (size_t)out, n_in = (size_t)in, n_rows = (size_t)rows;
    float *values = draw_array(n_out * n_in), *x = draw_array(n_rows * n_in);
    float *dy = draw_array(n_rows * n_out), *bias = draw_array(n_out);
    float *y = draw_array(n_rows * n_out), *dx = draw_array(n_rows * n_in);
    void *data = rounded(stored, values, n_out * n_in);
    free(rounded(compute, values, n_out * n_in));
    void *x_c = rounded(compute, x, n_rows * n_in), *dy_c = rounded(compute, dy, n_rows * n_out);
    double *wanted = doubles(n_rows * (n_out + n_in)), *sizes = doubles(n_rows * (n_out + n_in));

    struct weight *w = d->weight_create(d, data, stored, out, in);
    memset(data, 0, n_out * n_in * dtype_size(stored)); /* the weight is a copy */
    void *x_d = copy_of(d, x_c, n_rows * n_in * dtype_size(compute));
    void *dy_d = copy_of(d, dy_c, n_rows * n_out * dtype_size(compute));
    for (int skew = 0; skew <= 4; skew += 4)
        for (int with = 0; with < 4; with++) {
            const float *b = with & 1 ? bias : NULL;
            float *b_d = b ? skewed_copy(d, b, n_out * sizeof *b, (size_t)skew) : NULL;
            float *got = draw_array(n_rows * n_out);
            float *y_d = skewed_copy(d, y, n_rows * n_out * sizeof *y, (size_t)skew);
            d->matmul(d, w, x_d, b_d, y_d, rows, with & 2);
            multiply(x, values, b, with & 2 ? y : NULL, rows, out, in, 1, n_in, wanted, sizes);
            fetch(d, got, y_d);
            assert_array_close(got, F32, wanted, sizes, n_rows * n_out);
            free(got);
        }
    for (int with = 0; with < 2; with++) {
        float *got = draw_array(n_rows * n_in), *dx_d = copy_of(d, dx, n_rows * n_in * sizeof *dx);
        d->matmul_backward(d, w, dy_d, dx_d, rows, with);
        multiply(dy, values, NULL, with ? dx : NULL, rows, in, out, n_in, 1, wanted, sizes);
        fetch(d, got, dx_d);
        assert_array_close(got, F32, wanted, sizes, n_rows * n_in);
        free(got);
    }
    d->weight_free(d, w);
    d->weight_free(d, NULL);
    release_buffers(d);
    void *arrays[] = {values, x, dy, bias, y, dx, data, x_c, dy_c, wanted, sizes};
    for (size_t i = 0; i < COUNT(arrays); i++)
        free(arrays[i]);
}

static void products_with_weights_of_any_type(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 1, 1},     {1, 33, 17},  {7, 96, 33}, {13, 64, 128},
                                    {61, 192, 40}, {2, 30, 576}, {0, 8, 8}};
    for (size_t c = 0; c < COUNT(types); c++) {
        struct device *d = open_cuda(types[c]);
        for (size_t s = 0; s < COUNT(shapes); s++)
            for (enum dtype stored = F32; stored <= F16; stored++)
                try_weight(d, stored, shapes[s][0], shapes[s][1], shapes[s][2]);
        d->close(d);
    }
}

/* A weight that goes up, and is converted, in several pieces. */
static void large_weights_are_whole(void **state)
{
    (void)state;
    struct device *d = open_cuda(BF16);
    try_weight(d, F32, 1, 1031, 1033);
    try_weight(d, BF16, 1, 1031, 2053);
    d->close(d);
}

/* Every form of the product of two matrices, whose rows lie further apart than they are long. */
static void products_of_two_matrices(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 1, 1},    {1, 16, 31}, {37, 1, 5}, {16, 61, 7},
                                    {33, 16, 64}, {0, 3, 4},   {3, 0, 4}};
    struct device *d = open_cuda(BF16);
    for (size_t s = 0; s < COUNT(shapes); s++)
        for (int form = 0; form < 16; form++) {
            int m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
            struct matrix_product p = {.type = form & 8 ? BF16 : F32,
                                       .m = m,
                                       .n = n,
                                       .k = k,
                                       .scale = 0.75f,
                                       .transpose_a = form & 1,
                                       .transpose_b = form & 2,
                                       .accumulate = form & 4};
            p.a_step = (size_t)(p.transpose_a ? m : k) + 3;
            p.b_step = (size_t)(p.transpose_b ? k : n) + 1;
            p.c_step = (size_t)n + 2;
            size_t a_n = (size_t)(p.transpose_a ? k : m) * p.a_step;
            size_t b_n = (size_t)(p.transpose_b ? n : k) * p.b_step, c_n = (size_t)m * p.c_step;
            float *a = draw_array(a_n), *b = draw_array(b_n), *c = draw_array(c_n);
            void *stored_a = rounded(p.type, a, a_n), *stored_b = rounded(p.type, b, b_n);
            float *got = draw_array(c_n), *c_d = copy_of(d, c, c_n * sizeof *c);
            p.a = copy_of(d, stored_a, a_n * dtype_size(p.type));
            p.b = copy_of(d, stored_b, b_n * dtype_size(p.type));
            p.c = c_d;
            d->gemm(d, &p);
            fetch(d, got, c_d);
            for (int i = 0; i < m; i++)
                for (size_t j = 0; j < p.c_step; j++) {
                    float before = c[(size_t)i * p.c_step + j];
                    if (j >= (size_t)n) {
                        assert_true(got[(size_t)i * p.c_step + j] == before);
                        continue;
                    }
                    double sum = 0, size = 0;
                    for (int l = 0; l < k; l++) {
                        size_t at_a = p.transpose_a ? (size_t)l * p.a_step + (size_t)i
                                                    : (size_t)i * p.a_step + (size_t)l;
                        size_t at_b =
                            p.transpose_b ? j * p.b_step + (size_t)l : (size_t)l * p.b_step + j;
                        double term = (double)a[at_a] * (double)b[at_b];
                        sum += term;
                        size += fabs(term);
                    }
                    double start = p.accumulate ? (double)before : 0;
                    assert_close((double)got[(size_t)i * p.c_step + j], start + 0.75 * sum,
                                 fabs(start) + size, F32);
                }
            release_buffers(d);
            free(stored_a);
            free(stored_b);
            free(a);
            free(b);
            free(c);
            free(got);
        }
    d->close(d);
}

/* ---- rows ---- */

static const int widths[] = {1, 5, 31, 64, 80, 257, 576, 1028};

static void embedding_and_gather_copy_rows(void **state)
{
    (void)state;
    enum { TABLE = 23 };
    static const int32_t ids[] = {3, 22, 0, 3, 3, 17, 1};
    struct device *d = open_cuda(F32);
    for (size_t w = 0; w < COUNT(widths); w++)
        for (enum dtype stored = F32; stored <= F16; stored++)
            for (int skew = 0; skew <= 4; skew += 4)
                for (int n = 0; n <= (int)COUNT(ids); n += (int)COUNT(ids)) {
                    size_t width = (size_t)widths[w], count = (size_t)n * width;
                    float *values = draw_array(TABLE * width), *got = draw_array(count);
                    void *table = rounded(stored, values, TABLE * width);
                    void *table_d =
                        skewed_copy(d, table, TABLE * width * dtype_size(stored), (size_t)skew);
                    int32_t *ids_d = copy_of(d, ids, (size_t)n * sizeof *ids);
                    float *out = skewed_copy(d, got, count * sizeof *got, (size_t)skew);
                    d->embed(d, table_d, stored, widths[w], ids_d, n, out);
                    fetch(d, got, out);
                    for (size_t i = 0; i < count; i++)
                        assert_true(got[i] == values[(size_t)ids[i / width] * width + i % width]);
                    if (stored == F32) {
                        d->clear(d, out, count * sizeof *got);
                        d->gather(d, table_d, ids_d, n, widths[w], out);
                        fetch(d, got, out);
                        for (size_t i = 0; i < count; i++)
                            assert_true(got[i] ==
                                        values[(size_t)ids[i / width] * width + i % width]);
                    }
                    release_buffers(d);
                    free(values);
                    free(got);
                    free(table);
                }
    d->close(d);
}

/* Rows of one place are added in their order. */
static void scatter_adds_rows_in_order(void **state)
{
    (void)state;
    enum { ROWS = 9, MOST = 37 };
    struct device *d = open_cuda(F32);
    for (size_t w = 0; w < COUNT(widths); w++)
        for (int n = 0; n <= MOST; n = n ? n * 2 + n / 3 : 1) {
            size_t width = (size_t)widths[w];
            float *to = draw_array(ROWS * width), *from = draw_array((size_t)n * width);
            float *got = draw_array(ROWS * width);
            int32_t rows[2 * MOST];
            for (int i = 0; i < n; i++)
                rows[i] = i % 3 ? (i * 5) % ROWS : 4;
            float *to_d = copy_of(d, to, ROWS * width * sizeof *to);
            d->scatter_add(d, copy_of(d, from, (size_t)n * width * sizeof *from),
                           copy_of(d, rows, (size_t)n * sizeof *rows), n, widths[w], to_d);
            fetch(d, got, to_d);
            for (int i = 0; i < n; i++)
                for (size_t j = 0; j < width; j++)
                    to[(size_t)rows[i] * width + j] += from[(size_t)i * width + j];
            assert_memory_equal(got, to, ROWS * width * sizeof *to);
            release_buffers(d);
            free(to);
            free(from);
            free(got);
        }
    d->close(d);
}

static void rmsnorm_and_its_gradient(void **state)
{
    (void)state;
    const double eps = (double)1e-5f;
    struct device *d = open_cuda(F32);
    for (size_t w = 0; w < COUNT(widths); w++)
        for (int rows = 0; rows <= 13; rows = rows ? rows * 13 : 1)
            for (int skew = 0; skew <= 4; skew += 4) {
                int width = widths[w];
                size_t n = (size_t)rows * (size_t)width, bytes = n * sizeof(float);
                float *x = draw_array(n), *gain = draw_array((size_t)width);
                float *dy = draw_array(n), *dx = draw_array(n), *got = draw_array(n);
                double *y = doubles(n), *by_x = doubles(n), *sizes = doubles(n);
                for (int r = 0; r < rows; r++) {
                    const float *a = x + r * width, *b = dy + r * width;
                    double squares = 0, along = 0, along_size = 0;
                    for (int i = 0; i < width; i++) {
                        double term = (double)a[i] * (double)gain[i] * (double)b[i];
                        squares += (double)a[i] * (double)a[i];
                        along += term;
                        along_size += fabs(term);
                    }
                    double inverse = 1 / sqrt(squares / width + eps), cubed = pow(inverse, 3);
                    for (int i = 0; i < width; i++) {
                        int at = r * width + i;
                        double direct = inverse * (double)gain[i] * (double)b[i];
                        y[at] = (double)gain[i] * (double)a[i] * inverse;
                        by_x[at] = (double)dx[at] + direct - (double)a[i] * cubed * along / width;
                        sizes[at] = fabs((double)dx[at]) + fabs(direct) +
                                    fabs((double)a[i]) * cubed * along_size / width;
                    }
                }
                float *x_d = skewed_copy(d, x, bytes, (size_t)skew);
                float *gain_d = skewed_copy(d, gain, (size_t)width * sizeof *gain, (size_t)skew);
                for (size_t t = 0; t < COUNT(types); t++) {
                    void *out = skewed_copy(d, got, n * dtype_size(types[t]),
                                            (size_t)skew / 4 * dtype_size(types[t]));
                    d->rmsnorm(d, x_d, gain_d, (float)eps, rows, width, out, types[t]);
                    fetch(d, got, out);
                    assert_array_close(got, types[t], y, NULL, n);
                }
                float *dx_d = skewed_copy(d, dx, bytes, (size_t)skew);
                d->rmsnorm_backward(d, x_d, gain_d, (float)eps, rows, width,
                                    skewed_copy(d, dy, bytes, (size_t)skew), dx_d);
                fetch(d, got, dx_d);
                assert_array_close(got, F32, by_x, sizes, n);
                release_buffers(d);
                void *arrays[] = {x, gain, dy, dx, got, y, by_x, sizes};
                for (size_t i = 0; i < COUNT(arrays); i++)
                    free(arrays[i]);
            }
    d->close(d);
}

static void rope_turns_pairs(void **state)
{
    (void)state;
    enum { POSITIONS = 50 };
    static const int shapes[][2] = {{1, 2}, {3, 6}, {2, 64}, {5, 80}, {9, 128}};
    static const int32_t positions[] = {0, 49, 7, 7, 31};
    struct device *d = open_cuda(F32);
    for (size_t s = 0; s < COUNT(shapes); s++)
        for (int rows = 0; rows <= (int)COUNT(positions); rows = rows ? rows + 4 : 1)
            for (int skew = 0; skew <= 4; skew += 4) {
                int heads = shapes[s][0], head_dim = shapes[s][1];
                int dims = s % 2 ? head_dim / 4 * 2 : head_dim, half = dims / 2;
                size_t n = (size_t)(rows * heads * head_dim), table = POSITIONS * (size_t)half;
                float *x = draw_array(n), *cosine = draw_array(table), *sine = draw_array(table);
                float *got = draw_array(n), *x_d = skewed_copy(d, x, n * sizeof *x, (size_t)skew);
                double *wanted = doubles(n), *sizes = doubles(n);
                for (size_t i = 0; i < n; i++)
                    wanted[i] = (double)x[i];
                for (int r = 0; r < rows; r++)
                    for (int h = 0; h < heads; h++)
                        for (int i = 0; i < half; i++) {
                            int low = (r * heads + h) * head_dim + i, high = low + half;
                            double a = (double)x[low], b = (double)x[high];
                            double c = (double)cosine[positions[r] * half + i];
                            double e = (double)sine[positions[r] * half + i];
                            wanted[low] = a * c - b * e;
                            wanted[high] = b * c + a * e;
                            sizes[low] = fabs(a * c) + fabs(b * e);
                            sizes[high] = fabs(b * c) + fabs(a * e);
                        }
                d->rope(d, x_d, rows, heads, head_dim, dims,
                        copy_of(d, positions, (size_t)rows * sizeof *positions),
                        skewed_copy(d, cosine, table * sizeof *cosine, (size_t)skew),
                        skewed_copy(d, sine, table * sizeof *sine, (size_t)skew));
                fetch(d, got, x_d);
                assert_array_close(got, F32, wanted, sizes, n);
                release_buffers(d);
                void *arrays[] = {x, cosine, sine, got, wanted, sizes};
                for (size_t i = 0; i < COUNT(arrays); i++)
                    free(arrays[i]);
            }
    d->close(d);
}

static const size_t counts[] = {0, 1, 3, 4, 5, 1021, 4096};

/* The gate's value and its derivative; 0.5 (1 + tanh(t)), which cancels, is 1 / (1 + e^-2t).
 * Returns how many times larger a rounding of the exponent is in the value. */
static double plain_activation(enum activation a, double g, double *value, double *slope)
{
    double factor = 2 * sqrt(2 / M_PI), t = a == SILU ? g : factor * (g + 0.044715 * g * g * g);
    double by_g = a == SILU ? 1 : factor * (1 + 3 * 0.044715 * g * g), s = 1 / (1 + exp(-t));
    *value = g * s;
    *slope = s * (1 + g * by_g * (1 - s));
    return 1 + fabs(t) * (1 - s);
}

static void glu_and_its_gradients(void **state)
{
    (void)state;
    for (size_t t = 0; t < 2 * COUNT(types); t++) {
        enum dtype type = types[t % COUNT(types)];
        enum activation activation = t < COUNT(types) ? SILU : GELU_TANH;
        struct device *d = open_cuda(type);
        for (size_t s = 0; s < COUNT(counts); s++)
            for (size_t skew = 0; skew <= 1; skew++) {
                size_t n = counts[s], bytes = n * sizeof(float), out_bytes = n * dtype_size(type);
                float *gate = draw_array(n), *up = draw_array(n), *by = draw_array(n);
                double *out = doubles(n), *d_gate = doubles(n), *d_up = doubles(n);
                double *sizes = doubles(n), *out_sizes = doubles(n), *up_sizes = doubles(n);
                float *got = draw_array(n);
                for (size_t i = 0; i < n; i++) {
                    gate[i] *= i % 5 == 4 ? 200.0f : 8.0f; /* to where e^-x has no room in f32 */
                    double g = (double)gate[i], u = (double)up[i], value, slope;
                    double grown = plain_activation(activation, g, &value, &slope);
                    out[i] = value * u;
                    out_sizes[i] = fabs(out[i]) * grown;
                    up_sizes[i] = fabs((double)by[i] * value) * grown;
                    d_up[i] = (double)by[i] * value;
                    d_gate[i] = (double)by[i] * u * slope;
                    sizes[i] = fabs((double)by[i] * u) * (fabs(slope) + fabs(value) + 1e-3);
                }
                float *gate_d = skewed_copy(d, gate, bytes, 4 * skew);
                float *up_d = skewed_copy(d, up, bytes, 4 * skew);
                void *out_d = skewed_copy(d, got, out_bytes, skew * dtype_size(type));
                d->glu(d, activation, gate_d, up_d, n, out_d);
                fetch(d, got, out_d);
                for (size_t i = 0; i < n; i++)
                    assert_close((double)dtype_load(type, got, i), out[i], out_sizes[i], type);
                void *d_gate_d = skewed_copy(d, got, out_bytes, skew * dtype_size(type));
                void *d_up_d = skewed_copy(d, got, out_bytes, skew * dtype_size(type));
                d->glu_backward(d, activation, gate_d, up_d, skewed_copy(d, by, bytes, 4 * skew), n,
                                d_gate_d, d_up_d);
                fetch(d, got, d_gate_d);
                for (size_t i = 0; i < n; i++)
                    assert_close((double)dtype_load(type, got, i), d_gate[i], sizes[i], type);
                fetch(d, got, d_up_d);
                for (size_t i = 0; i < n; i++)
                    assert_close((double)dtype_load(type, got, i), d_up[i], up_sizes[i], type);
                release_buffers(d);
                void *arrays[] = {gate, up, by, out, d_gate, d_up, sizes, out_sizes, up_sizes, got};
                for (size_t i = 0; i < COUNT(arrays); i++)
                    free(arrays[i]);
            }
        d->close(d);
    }
}

static void caps_and_sums(void **state)
{
    (void)state;
    struct device *d = open_cuda(BF16);
    for (size_t s = 0; s < COUNT(counts); s++)
        for (size_t skew = 0; skew <= 4; skew += 4) {
            size_t n = counts[s], bytes = n * sizeof(float);
            float *x = draw_array(n), *dy = draw_array(n), *got = draw_array(n);
            double *sum = doubles(n), *capped = doubles(n), *by_x = doubles(n);
            double *sizes = doubles(n);
            for (size_t i = 0; i < n; i++) {
                x[i] *= 6;
                double t = tanh((double)x[i] / 2.5);
                sum[i] = (double)dy[i] + (double)-0.6f * (double)x[i];
                sizes[i] = fabs((double)dy[i]) + fabs((double)x[i]);
                capped[i] = 2.5 * t;
                by_x[i] = (double)dy[i] * (1 - t * t);
            }
            float *x_d = skewed_copy(d, x, bytes, skew), *dy_d = skewed_copy(d, dy, bytes, skew);
            float *sum_d = skewed_copy(d, dy, bytes, skew);
            d->add(d, -0.6f, x_d, sum_d, n);
            fetch(d, got, sum_d);
            assert_array_close(got, F32, sum, sizes, n);
            d->cap(d, 2.5f, x_d, n);
            fetch(d, got, x_d);
            assert_array_close(got, F32, capped, sizes, n);
            d->cap_backward(d, 2.5f, x_d, dy_d, n);
            fetch(d, got, dy_d);
            assert_array_close(got, F32, by_x, sizes, n);
            release_buffers(d);
            void *arrays[] = {x, dy, got, sum, capped, by_x, sizes};
            for (size_t i = 0; i < COUNT(arrays); i++)
                free(arrays[i]);
        }
    d->close(d);
}

static void class_logits_are_dot_products(void **state)
{
    (void)state;
    static const int shapes[][2] = {{0, 3}, {1, 1}, {1, 2}, {13, 5}, {3, 10}};
    struct device *d = open_cuda(BF16);
    for (size_t s = 0; s < COUNT(shapes); s++)
        for (size_t w = 0; w < COUNT(widths); w++)
            for (size_t skew = 0; skew <= 4; skew += 4) {
                int rows = shapes[s][0], classes = shapes[s][1], width = widths[w];
                size_t n = (size_t)(rows * classes), n_width = (size_t)width;
                float *h = draw_array((size_t)rows * n_width);
                float *output = draw_array((size_t)classes * n_width), *got = draw_array(n);
                double *wanted = doubles(n), *sizes = doubles(n);
                multiply(h, output, NULL, NULL, rows, classes, width, 1, n_width, wanted, sizes);
                float *logits = skewed_copy(d, got, n * sizeof *got, skew);
                d->class_logits(
                    d, skewed_copy(d, h, (size_t)rows * n_width * sizeof *h, skew), rows,
                    skewed_copy(d, output, (size_t)classes * n_width * sizeof *output, skew),
                    classes, width, logits);
                fetch(d, got, logits);
                assert_array_close(got, F32, wanted, sizes, n);
                release_buffers(d);
                void *arrays[] = {h, output, got, wanted, sizes};
                for (size_t i = 0; i < COUNT(arrays); i++)
                    free(arrays[i]);
            }
    d->close(d);
}

static void conversion_rounds_to_nearest_even(void **state)
{
    (void)state;
    static const float edges[] = {
        0.0f,          -0.0f,     1.0f + 0x1p-8f, 1.0f + 0x3p-8f, 1.0f + 0x1.01p-8f, 0x1.fffp127f,
        -0x1.fffp127f, 0x1p-133f, 0x1p-149f,      INFINITY,       -INFINITY,         NAN};
    struct device *d = open_cuda(BF16);
    for (size_t s = 0; s < COUNT(counts); s++)
        for (size_t skew = 0; skew <= 1; skew++) {
            size_t n = counts[s];
            float *x = draw_array(n), *back = draw_array(n);
            uint16_t *narrow = xcalloc(n + 1, sizeof *narrow);
            for (size_t i = 0; i < n && i < COUNT(edges); i++)
                x[i] = edges[i];
            float *x_d = skewed_copy(d, x, n * sizeof *x, skew * 4);
            uint16_t *narrow_d = skewed_copy(d, narrow, n * sizeof *narrow, skew * 2);
            d->convert(d, x_d, F32, narrow_d, BF16, n);
            fetch(d, narrow, narrow_d);
            for (size_t i = 0; i < n; i++)
                if (isnan(x[i]))
                    assert_true(isnan(f32_from_bf16(narrow[i])));
                else
                    assert_int_equal(narrow[i], bf16_from_f32(x[i]));
            d->convert(d, narrow_d, BF16, x_d, F32, n);
            fetch(d, back, x_d);
            for (size_t i = 0; i < n; i++) {
                float wide = f32_from_bf16(narrow[i]);
                assert_true(isnan(wide) ? isnan(back[i]) : back[i] == wide);
            }
            d->convert(d, copy_of(d, x, n * sizeof *x), F32, x_d, F32, n);
            fetch(d, back, x_d);
            assert_memory_equal(back, x, n * sizeof *x);
            release_buffers(d);
            free(x);
            free(back);
            free(narrow);
        }
    d->close(d);
}

/* ---- adapters ---- */

static void adapters_agree_with_double_precision(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT(types); t++) {
        struct device *d = open_cuda(types[t]);
        for (int i = 0; i < LOWERING_CASES; i++)
            for (int how = 0; how < 8; how++) {
                struct lowering_case c = lowering_cases[i];
                /* lm_head's products are in f32 whatever is computed in. */
                c.type = how & 1 ? types[t] : F32;
                c.rate = how & 2 ? 0.3 : 0;
                c.numbered = how & 4;
                struct lowered o = lowered_run(d, &c, 0.5);
                double error = lowered_error(&o);
                if (!(error <= 1e-6))
                    fail_msg("case %d, %s, rate %g: off by %.3g", i, dtype_name(c.type), c.rate,
                             error);
                lowered_free(&o);
            }
        d->close(d);
    }
}

/* Three dropouts of one input, seen through A matrices that are the identity. */
static void dropout_has_the_processors_bits(void **state)
{
    (void)state;
    static const double rates[] = {0, 0.05, 0.5, 0.999};
    static const int32_t numbers[] = {5, 0, 1 << 30, 5, 9, 2, 1};
    for (size_t t = 0; t < COUNT(types); t++) {
        struct device *d = open_cuda(types[t]), *cpu = cpu_device_open(types[t], 0);
        for (size_t w = 0; w < 6; w++)
            for (int rows = 0; rows <= 7; rows = rows ? rows * 7 : 1)
                for (int form = 0; form < 4; form++) {
                    int width = widths[w];
                    size_t n = (size_t)(rows * width), area = (size_t)(width * width);
                    size_t skew = form & 1 ? 4 * dtype_size(types[t]) / 4 : 0;
                    float *x = draw_array(n), *identity = xcalloc(3 * area, sizeof *identity);
                    for (size_t i = 0; i < 3 * area; i++)
                        identity[i] = i % area % ((size_t)width + 1) == 0;
                    void *narrow = rounded(types[t], x, n);
                    void *a = rounded(types[t], identity, 3 * area);
                    size_t bytes = n * dtype_size(types[t]),
                           a_bytes = 3 * area * dtype_size(types[t]);
                    float *got = draw_array(3 * n), *want = draw_array(3 * n);
                    struct lowering l = {.n = 3, .rows = rows, .in = width, .type = types[t]};
                    for (int i = 0; i < 3; i++) {
                        l.ranks[i] = width;
                        l.dropout[i] = (struct dropout){
                            .rate = rates[(w + (size_t)rows) % COUNT(rates)],
                            .seed = 0x123456789abcdef0u + w,
                            .stream = 3 + (uint32_t)i,
                            .step = 0x80000001u,
                            .row_numbers = form & 2 ? copy_of(d, numbers, sizeof numbers) : NULL};
                    }
                    l.x = skewed_copy(d, narrow, bytes, skew);
                    l.a = copy_of(d, a, a_bytes);
                    l.low = copy_of(d, got, 3 * n * sizeof *got);
                    l.work = copy_of(d, got, 3 * n * sizeof *got);
                    d->lower(d, &l);
                    fetch(d, got, l.low);
                    for (int i = 0; i < 3; i++)
                        l.dropout[i].row_numbers = form & 2 ? numbers : NULL;
                    l.x = narrow;
                    l.a = a;
                    l.low = want;
                    cpu->lower(cpu, &l);
                    for (size_t i = 0; i < 3 * n; i++)
                        assert_true(got[i] == want[i]);
                    release_buffers(d);
                    void *all[] = {x, identity, narrow, a, got, want};
                    for (size_t i = 0; i < COUNT(all); i++)
                        free(all[i]);
                }
        cpu->close(cpu);
        d->close(d);
    }
}

/* ---- losses and optimizer ---- */

/* The evidential loss: the label's risk and the KL of the evidence for other classes. */
static double plain_edl(const struct loss *l, const double *z, const double *y, int n)
{
    double a0 = 0, t0 = 0, value = 0;
    for (int c = 0; c < n; c++) {
        double alpha = 1 + log1p(exp(z[c]));
        a0 += alpha;
        t0 += y[c] + (1 - y[c]) * alpha;
    }
    for (int c = 0; c < n; c++) {
        double alpha = 1 + log1p(exp(z[c])), p = alpha / a0, t = y[c] + (1 - y[c]) * alpha;
        value += l->form == EDL_MSE   ? pow(y[c] - p, 2) + p * (1 - p) / (a0 + 1)
                 : l->form == EDL_LOG ? y[c] * log(a0 / alpha)
                                      : y[c] * (digamma(a0) - digamma(alpha));
        value += l->kl_weight * ((t - 1) * (digamma(t) - digamma(t0)) - lgamma(t));
    }
    return value + l->kl_weight * (lgamma(t0) - lgamma(n));
}

/* The loss written from its definition: no gradients, so that those are had by differences. */
static double plain_loss(const struct loss *l, const double *z, const double *target, int n,
                         double s)
{
    double value = 0;
    if (l->kind == LOSS_EDL)
        return plain_edl(l, z, target, n);
    if (l->kind != LOSS_DIRICHLET) {
        double top = z[0], sum = 0;
        for (int c = 1; c < n; c++)
            top = fmax(top, z[c]);
        for (int c = 0; c < n; c++)
            sum += exp(z[c] - top);
        for (int c = 0; c < n; c++)
            if (target[c] > 0)
                value += target[c] * (log(target[c]) - (z[c] - top - log(sum)));
        return value;
    }
    double a0 = 0, scale;
    for (int c = 0; c < n; c++)
        a0 += 1 + log1p(exp(z[c]));
    scale = l->mode == ALPHA0_FIXED ? l->alpha0 / a0 : 1;
    value = -lgamma(scale * a0);
    for (int c = 0; c < n; c++) {
        double alpha = scale * (1 + log1p(exp(z[c])));
        value += lgamma(alpha) - (alpha - 1) * target[c];
    }
    if (l->mode == ALPHA0_LEARNED)
        value += l->beta * pow(a0 - exp(s), 2);
    return value;
}

static void try_loss(struct device *d, const struct loss *l, int rows, int classes, bool in_place)
{
    const double s = 1.5, step = 1e-5;
    const int total = 16;
    size_t n = (size_t)(rows * classes);
    float *logits = draw_array(n), *gradients = draw_array(n);
    double *targets = doubles(n), *values = doubles(2 * (size_t)rows), *work = doubles(2 * n);
    for (size_t i = 0; i < n; i++) {
        logits[i] *= 12;
        targets[i] = l->kind == LOSS_DIRICHLET
                         ? -3 * fabs((double)random_number(random_seed())) - 0.01
                         : 1.0 / classes + 0.3 * (double)random_number(random_seed()) / classes;
    }
    for (int r = 0; r < rows && loss_facts[l->kind].target == TARGET_LABEL; r++)
        for (int c = 0; c < classes; c++)
            targets[r * classes + c] = c == r % classes;
    struct loss_batch b = {.loss = *l, .rows = rows, .classes = classes, .total = total, .s = s};
    float *logits_d = copy_of(d, logits, n * sizeof *logits);
    b.logits = logits_d;
    b.targets = copy_of(d, targets, n * sizeof *targets);
    b.d_logits = in_place ? logits_d : copy_of(d, gradients, n * sizeof *gradients);
    b.values = copy_of(d, values, 2 * (size_t)rows * sizeof *values);
    b.work = copy_of(d, work, 2 * n * sizeof *work);
    d->loss(d, &b);
    fetch(d, gradients, b.d_logits);
    fetch(d, values, b.values);
    fetch(d, work, b.work);
    for (int r = 0; r < rows; r++) {
        double z[16];
        const double *target = targets + r * classes;
        for (int c = 0; c < classes; c++)
            z[c] = (double)logits[r * classes + c];
        double wanted = plain_loss(l, z, target, classes, s);
        assert_true(fabs(values[r] - wanted) < 1e-10 * (1 + fabs(wanted)));
        for (int c = 0; c < classes; c++) {
            double at = z[c];
            z[c] = at + step;
            double above = plain_loss(l, z, target, classes, s);
            z[c] = at - step;
            double slope = (above - plain_loss(l, z, target, classes, s)) / (2 * step);
            z[c] = at;
            assert_true(fabs((double)gradients[r * classes + c] * total - slope) <
                        2e-6 * (1 + fabs(slope) + fabs(wanted)));
        }
        double by_s = (plain_loss(l, z, target, classes, s + step) -
                       plain_loss(l, z, target, classes, s - step)) /
                      (2 * step);
        assert_true(fabs(values[rows + r] - by_s) < 1e-5 * (1 + fabs(by_s)));
    }
    release_buffers(d);
    void *arrays[] = {logits, gradients, targets, values, work};
    for (size_t i = 0; i < COUNT(arrays); i++)
        free(arrays[i]);
}

static void losses_and_their_gradients(void **state)
{
    (void)state;
    static const struct loss losses[] = {
        {.kind = LOSS_SOFTMAX},
        {.kind = LOSS_LABELS},
        {.kind = LOSS_DIRICHLET},
        {.kind = LOSS_DIRICHLET, .mode = ALPHA0_FIXED, .alpha0 = 7.5},
        {.kind = LOSS_DIRICHLET, .mode = ALPHA0_LEARNED, .beta = 0.02},
        {.kind = LOSS_EDL},
        {.kind = LOSS_EDL, .form = EDL_LOG, .kl_weight = 0.3},
        {.kind = LOSS_EDL, .form = EDL_DIGAMMA, .kl_weight = 1},
    };
    static const int shapes[][2] = {{0, 2}, {1, 2}, {33, 5}, {70, 10}};
    struct device *d = open_cuda(BF16);
    for (size_t l = 0; l < COUNT(losses); l++)
        for (size_t s = 0; s < COUNT(shapes); s++)
            for (int in_place = 0; in_place < 2; in_place++)
                try_loss(d, &losses[l], shapes[s][0], shapes[s][1], in_place);
    d->close(d);
}

/* Twice as many logits as classes, and draws among the targets; the processor's are held against
 * PyTorch's in test_loss.c. */
static void the_bottlenecks_loss_is_the_processors(void **state)
{
    (void)state;
    enum { ROWS = 37, CLASSES = 3, SAMPLES = 4, OUTPUTS = ROWS * 2 * CLASSES };
    const struct loss loss = {.kind = LOSS_IB_EDL, .samples = SAMPLES, .ib_beta = 0.01};
    struct device *devices[] = {cpu_device_open(F32, 1), open_cuda(BF16)};
    size_t targets = ROWS * loss_target_size(&loss, CLASSES);
    float *logits = draw_array(OUTPUTS), *gradients[2];
    double *target = doubles(targets), *values[2], *work = doubles(2 * OUTPUTS);
    for (size_t i = 0; i < OUTPUTS; i++)
        logits[i] *= 8;
    for (size_t i = 0; i < targets; i++) {
        size_t row = i / loss_target_size(&loss, CLASSES);
        size_t at = i % loss_target_size(&loss, CLASSES);
        target[i] = at < CLASSES ? at == row % CLASSES : 3 * (double)random_number(random_seed());
    }
    for (int k = 0; k < 2; k++) {
        struct device *d = devices[k];
        gradients[k] = draw_array(OUTPUTS);
        values[k] = doubles(2 * (size_t)ROWS);
        struct loss_batch b = {.loss = loss, .rows = ROWS, .classes = CLASSES, .total = 16};
        b.logits = copy_of(d, logits, OUTPUTS * sizeof *logits);
        b.targets = copy_of(d, target, targets * sizeof *target);
        b.d_logits = copy_of(d, gradients[k], OUTPUTS * sizeof *logits);
        b.values = copy_of(d, values[k], 2 * (size_t)ROWS * sizeof *target);
        b.work = copy_of(d, work, 2 * (size_t)OUTPUTS * sizeof *work);
        d->loss(d, &b);
        fetch(d, gradients[k], b.d_logits);
        fetch(d, values[k], b.values);
        release_buffers(d);
        d->close(d);
    }
    for (int r = 0; r < ROWS; r++)
        assert_true(fabs(values[0][r] - values[1][r]) < 1e-12 * (1 + fabs(values[0][r])));
    for (size_t i = 0; i < OUTPUTS; i++)
        assert_true(fabsf(gradients[0][i] - gradients[1][i]) <
                    1e-6f * (1e-3f + fabsf(gradients[0][i])));
    void *arrays[] = {logits, gradients[0], gradients[1], target, values[0], values[1], work};
    for (size_t i = 0; i < COUNT(arrays); i++)
        free(arrays[i]);
}

static void squares_are_summed_in_double_precision(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 31, 4096, 4097, 100003, 1100003};
    struct device *d = open_cuda(F32);
    double before = 0.25, got;
    long double wanted = before;
    double *sum = copy_of(d, &before, sizeof before);
    for (size_t s = 0; s < COUNT(sizes); s++) {
        float *x = draw_array(sizes[s]), *x_d = copy_of(d, x, sizes[s] * sizeof *x);
        d->add_squares(d, x_d, sizes[s], sum);
        fetch(d, &got, sum);
        for (size_t i = 0; i < sizes[s]; i++)
            wanted += (long double)x[i] * (long double)x[i];
        assert_true(fabsl((long double)got - wanted) < 1e-13L * wanted);
        free(x);
    }
    release_buffers(d);
    d->close(d);
}

static void scale_multiplies(void **state)
{
    (void)state;
    struct device *d = open_cuda(F32);
    for (size_t s = 0; s < COUNT(counts); s++)
        for (size_t skew = 0; skew <= 4; skew += 4) {
            size_t n = counts[s];
            float *x = draw_array(n), *got = draw_array(n);
            float *x_d = skewed_copy(d, x, n * sizeof *x, skew);
            d->scale(d, -0.37f, x_d, n);
            fetch(d, got, x_d);
            for (size_t i = 0; i < n; i++)
                assert_true(got[i] == -0.37f * x[i]);
            release_buffers(d);
            free(x);
            free(got);
        }
    d->close(d);
}

/* Two steps of AdamW by its definition. */
static void adamw_steps(void **state)
{
    (void)state;
    const double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, rate = 1e-3, decay = 0.01;
    struct device *d = open_cuda(F32);
    for (size_t s = 0; s < COUNT(counts); s++)
        for (size_t skew = 0; skew <= 4; skew += 4) {
            size_t n = counts[s], bytes = n * sizeof(float);
            float *arrays[4], *zero = xcalloc(n + 1, sizeof *zero), *got = draw_array(n);
            arrays[0] = draw_array(n); /* gradient */
            arrays[1] = draw_array(n); /* value */
            float *g = skewed_copy(d, arrays[0], bytes, skew);
            float *value = skewed_copy(d, arrays[1], bytes, skew);
            float *m = skewed_copy(d, zero, bytes, skew), *v = skewed_copy(d, zero, bytes, skew);
            double *x = doubles(n), *mean = doubles(n), *square = doubles(n);
            for (size_t i = 0; i < n; i++)
                x[i] = (double)arrays[1][i];
            for (int step = 1; step <= 2; step++) {
                double correction1 = 1 - pow(beta1, step), correction2 = 1 - pow(beta2, step);
                struct adamw_factors f = {.rest1 = (float)(1 - beta1),
                                          .beta2 = (float)beta2,
                                          .rest2 = (float)(1 - beta2),
                                          .root_correction2 = (float)sqrt(correction2),
                                          .epsilon = (float)epsilon,
                                          .keep = (float)(1 - rate * decay),
                                          .size = (float)(rate / correction1)};
                d->adamw(d, &f, g, value, m, v, n);
                d->scale(d, 0.5f, g, n);
                for (size_t i = 0; i < n; i++) {
                    double gradient = (double)arrays[0][i] * (step == 1 ? 1 : 0.5);
                    mean[i] = beta1 * mean[i] + (1 - beta1) * gradient;
                    square[i] = beta2 * square[i] + (1 - beta2) * gradient * gradient;
                    x[i] -= rate * decay * x[i];
                    x[i] -=
                        rate * (mean[i] / correction1) / (sqrt(square[i] / correction2) + epsilon);
                }
            }
            fetch(d, got, value);
            for (size_t i = 0; i < n; i++)
                assert_close((double)got[i], x[i], fabs((double)arrays[1][i]) + 2 * rate, F32);
            fetch(d, got, m);
            assert_array_close(got, F32, mean, NULL, n);
            fetch(d, got, v);
            for (size_t i = 0; i < n; i++) /* 1 - beta2 has four digits less in f32 */
                assert_close((double)got[i], square[i], 20 * square[i], F32);
            release_buffers(d);
            void *all[] = {arrays[0], arrays[1], zero, got, x, mean, square};
            for (size_t i = 0; i < COUNT(all); i++)
                free(all[i]);
        }
    d->close(d);
}

/* ---- the same bits again ---- */

/* Everything that sums, once, from given inputs; the results one after another. */
static size_t run_sums(struct device *d, const float *x, const float *w, int rows, int width,
                       void *results)
{
    size_t n = (size_t)rows * (size_t)width, at = 0, bytes = n * sizeof(float);
    char *out = results;
    float *x_d = copy_of(d, x, bytes), *w_d = copy_of(d, w, (size_t)width * (size_t)width * 4);
    float *y = copy_of(d, x, bytes);
    double zero = 0, *sum = copy_of(d, &zero, sizeof zero);
    struct weight *weight = d->weight_create(d, w, F32, width, width);
    void *narrow = copy_of(d, x, bytes / 4 * dtype_size(d->compute));
    d->convert(d, x_d, F32, narrow, d->compute, n);
    for (int op = 0; op < 6; op++) {
        if (op == 0)
            d->matmul(d, weight, narrow, NULL, y, rows, false);
        if (op == 1)
            d->matmul_backward(d, weight, narrow, y, rows, true);
        if (op == 2)
            d->gemm(d, &(struct matrix_product){.m = rows,
                                                .n = width,
                                                .k = width,
                                                .scale = 0.5f,
                                                .a = x_d,
                                                .a_step = (size_t)width,
                                                .b = w_d,
                                                .b_step = (size_t)width,
                                                .c = y,
                                                .c_step = (size_t)width});
        if (op == 3)
            d->rmsnorm_backward(d, x_d, w_d, 1e-5f, rows, width, x_d, y);
        if (op == 4)
            d->class_logits(d, x_d, rows, w_d, width, width, y);
        if (op == 5)
            d->rmsnorm(d, x_d, w_d, 1e-5f, rows, width, y, F32);
        d->add_squares(d, y, n, sum);
        fetch(d, out + at, y);
        at += bytes;
    }
    fetch(d, out + at, sum);
    d->weight_free(d, weight);
    release_buffers(d);
    return at + sizeof zero;
}

static void repeated_runs_have_the_same_bits(void **state)
{
    (void)state;
    enum { ROWS = 17, WIDTH = 200 };
    float *x = draw_array(ROWS * WIDTH), *w = draw_array(WIDTH * WIDTH);
    for (size_t t = 0; t < COUNT(types); t++) {
        char *first = xmalloc(6 * ROWS * WIDTH * 4 + 8), *again = xmalloc(6 * ROWS * WIDTH * 4 + 8);
        struct device *d = open_cuda(types[t]);
        size_t bytes = run_sums(d, x, w, ROWS, WIDTH, first);
        run_sums(d, x, w, ROWS, WIDTH, again);
        assert_memory_equal(first, again, bytes);
        d->close(d);
        d = open_cuda(types[t]);
        run_sums(d, x, w, ROWS, WIDTH, again);
        assert_memory_equal(first, again, bytes);
        d->close(d);
        free(first);
        free(again);
    }
    free(x);
    free(w);
}

int main(void)
{
    choose_cuda_plugin();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_arrive_whatever_their_size),
        cmocka_unit_test(what_is_uploaded_may_change_as_soon_as_it_is_queued),
        cmocka_unit_test(nothing_is_a_size_too),
        cmocka_unit_test(memory_says_what_allocations_leave),
        cmocka_unit_test(products_with_weights_of_any_type),
        cmocka_unit_test(large_weights_are_whole),
        cmocka_unit_test(products_of_two_matrices),
        cmocka_unit_test(embedding_and_gather_copy_rows),
        cmocka_unit_test(scatter_adds_rows_in_order),
        cmocka_unit_test(rmsnorm_and_its_gradient),
        cmocka_unit_test(rope_turns_pairs),
        cmocka_unit_test(glu_and_its_gradients),
        cmocka_unit_test(caps_and_sums),
        cmocka_unit_test(class_logits_are_dot_products),
        cmocka_unit_test(conversion_rounds_to_nearest_even),
        cmocka_unit_test(adapters_agree_with_double_precision),
        cmocka_unit_test(dropout_has_the_processors_bits),
        cmocka_unit_test(losses_and_their_gradients),
        cmocka_unit_test(the_bottlenecks_loss_is_the_processors),
        cmocka_unit_test(squares_are_summed_in_double_precision),
        cmocka_unit_test(scale_multiplies),
        cmocka_unit_test(adamw_steps),
        cmocka_unit_test(repeated_runs_have_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
