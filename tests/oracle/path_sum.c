/* One number for each path of this processor: FNV-1a over the bytes of what the CPU's operations
 * make of the same input in f32. tests/oracle/check-aarch64.sh compares them between processors. */
#include "common/util/mem.h"
#include "kernels/cpu/cpu.h"
#include "tests/c/random.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t seed, sum;

static float *random_floats(size_t n)
{
    return random_numbers(&seed, n);
}

static void take(const float *x, size_t n)
{
    const unsigned char *bytes = (const void *)x;
    for (size_t i = 0; i < n * sizeof *x; i++)
        sum = (sum ^ bytes[i]) * 1099511628211u;
}

static void take_products(struct device *d, enum dtype stored)
{
    enum { OUT = 70, IN = 133, ROWS = 97 };
    void *values = xaligned(OUT * IN * sizeof(float));
    for (size_t i = 0; i < OUT * IN; i++)
        dtype_store(stored, values, i, random_number(&seed));
    float *x = random_floats(ROWS * IN), *dy = random_floats(ROWS * OUT);
    float *bias = random_floats(OUT), *y = random_floats(ROWS * OUT);
    float *dx = random_floats(ROWS * IN);
    struct weight *w = d->weight_create(d, values, stored, OUT, IN);
    d->matmul(d, w, x, bias, y, ROWS, true);
    d->matmul_backward(d, w, dy, dx, ROWS, false);
    take(y, ROWS * OUT);
    take(dx, ROWS * IN);
    d->gated_matmul(d, SILU, w, w, x, bias, bias, y, ROWS);
    take(y, ROWS * OUT);
    d->weight_free(d, w);
    free(values), free(x), free(dy), free(bias), free(y), free(dx);
}

static void take_attention(struct device *d)
{
    enum { HEADS = 6, KV = 2, HEAD = 20, ROWS = 151, PREFIX = 70 };
    enum { Q = ROWS * HEADS * HEAD, K = ROWS * KV * HEAD, P = PREFIX * KV * HEAD };
    static const struct attention_span spans[] = {{0, 131, 0, 131, 0, 0},
                                                  {131, 20, 131, 20, 0, PREFIX}};
    float *in = random_floats(2 * Q + 2 * K + 2 * P), *out = random_floats(2 * Q + 2 * K + 2 * P);
    float *lse = random_floats(2 * ROWS * HEADS);
    memset(out, 0, (2 * Q + 2 * K + 2 * P) * sizeof *out);
    struct attention_backward b = {.forward = {.q = in,
                                               .k = in + 2 * Q,
                                               .v = in + 2 * Q + K,
                                               .prefix_k = in + 2 * Q + 2 * K,
                                               .prefix_v = in + 2 * Q + 2 * K + P,
                                               .spans = spans,
                                               .spans_at = spans,
                                               .n_spans = 2,
                                               .heads = HEADS,
                                               .kv_heads = KV,
                                               .head_dim = HEAD,
                                               .scale = 0.3f,
                                               .out = out,
                                               .lse = lse},
                                   .d_out = in + Q,
                                   .dq = out + Q,
                                   .dk = out + 2 * Q,
                                   .dv = out + 2 * Q + K,
                                   .d_prefix_k = out + 2 * Q + 2 * K,
                                   .d_prefix_v = out + 2 * Q + 2 * K + P,
                                   .work = lse + ROWS * HEADS};
    d->attention(d, &b.forward);
    d->attention_backward(d, &b);
    take(out, 2 * Q + 2 * K + 2 * P);
    take(lse, ROWS * HEADS);
    free(in), free(out), free(lse);
}

static void take_rows(struct device *d)
{
    enum { ROWS = 7, WIDTH = 333, N = ROWS * WIDTH };
    float *x = random_floats(2 * N), *y = random_floats(2 * N);
    d->rmsnorm(d, x, x + 50, 1e-5f, ROWS, WIDTH, y, F32);
    take(y, N);
    d->rmsnorm_backward(d, x, x + 50, 1e-5f, ROWS, WIDTH, x + 100, y);
    take(y, N);
    d->glu(d, SILU, x, x + 11, N, y);
    take(y, N);
    d->glu_backward(d, SILU, x, x + 11, x + 31, N, y, y + N);
    take(y, 2 * N);
    d->dropout(d, &(struct dropout){.rate = 0.3, .seed = 9, .step = 1}, x, F32, ROWS, WIDTH, y,
               false);
    take(y, N);
    d->gemm(d, &(struct matrix_product){.transpose_a = true,
                                        .m = 40,
                                        .n = 37,
                                        .k = 29,
                                        .scale = 0.7f,
                                        .a = x,
                                        .a_step = 40,
                                        .b = x + 1,
                                        .b_step = 50,
                                        .c = y,
                                        .c_step = 37});
    take(y, 40 * 37);
    int32_t positions[ROWS] = {3, 1, 4, 1, 5, 0, 2};
    d->rope(d, x, ROWS, 1, WIDTH - 1, WIDTH - 1, positions, y, y + N);
    take(x, N);
    free(x), free(y);
}

int main(void)
{
    for (const struct path *const *p = paths_here(); *p; p++) {
        struct device *d = cpu_device_on_path(F32, 2, *p);
        seed = 1;
        sum = 14695981039346656037u;
        for (enum dtype stored = F32; stored <= F16; stored++)
            take_products(d, stored);
        take_attention(d);
        take_rows(d);
        printf("%016llx %s\n", (unsigned long long)sum, (*p)->name);
        d->close(d);
    }
    return 0;
}
