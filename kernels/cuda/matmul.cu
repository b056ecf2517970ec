/* Products, all by cuBLAS, with sums in f32.
 *
 * cuBLAS counts matrices by columns: what we call X[rows, columns], its rows `step` apart, is for
 * it the transposed X^T[columns, rows] of leading dimension `step`. So our C = op(A) op(B) is asked
 * for as C^T = op(B)^T op(A)^T: the operands change places, m and n with them, and each is
 * transposed exactly when ours is. */
#include "kernels/cuda/vector.h"

#include "common/util/mem.h"

#include <stdlib.h>

void cuda_gemm(struct device *d, const struct matrix_product *p)
{
    if (p->m == 0 || p->n == 0)
        return;
    cudaDataType_t operand = p->type == F32 ? CUDA_R_32F : CUDA_R_16BF;
    float beta = p->accumulate ? 1 : 0;
    CUBLAS(cublasGemmEx(cuda_of(d)->cublas, p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                        p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, p->n, p->m, p->k, &p->scale,
                        p->b, operand, (int)p->b_step, p->a, operand, (int)p->a_step, &beta, p->c,
                        CUDA_R_32F, (int)p->c_step, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

/* ---- weights ---- */

struct weight {
    void *data; /* [out, in], on the device, of the compute type */
    int out, in;
};

/* How many elements are converted at a time. */
enum : size_t { PIECE = 1 << 20 };

struct weight *cuda_weight_create(struct device *d, const void *data, enum dtype stored, int out,
                                  int in)
{
    size_t n = (size_t)out * (size_t)in, to_size = dtype_size(d->compute);
    struct weight *w = static_cast<struct weight *>(xmalloc(sizeof *w));
    *w = {cuda_alloc(d, n * to_size), out, in};
    if (stored == d->compute) {
        cuda_upload(d, w->data, data, n * to_size);
        return w;
    }
    size_t from_size = dtype_size(stored);
    void *piece = cuda_alloc(d, (n < PIECE ? n : PIECE) * from_size);
    for (size_t first = 0; first < n; first += PIECE) {
        size_t count = n - first < PIECE ? n - first : PIECE;
        cuda_upload(d, piece, static_cast<const char *>(data) + first * from_size,
                    count * from_size);
        cuda_convert(d, piece, stored, static_cast<char *>(w->data) + first * to_size, d->compute,
                     count);
    }
    cuda_release(d, piece);
    return w;
}

void cuda_weight_free(struct device *d, struct weight *w)
{
    if (!w)
        return;
    cuda_release(d, w->data);
    free(w);
}

/* y[r] = bias, or y[r] += bias: a block for each row */
template <int V>
static __global__ void bias_rows(const float *bias, int width, bool accumulate, float *y)
{
    y += (size_t)blockIdx.x * (size_t)width;
    for (int i = (int)threadIdx.x * V; i < width; i += (int)blockDim.x * V) {
        vector<float, V> b = load<V>(bias + i);
        if (accumulate) {
            vector<float, V> before = load<V>(y + i);
#pragma unroll
            for (int j = 0; j < V; j++)
                b.at[j] += before.at[j];
        }
        store<V>(y + i, b);
    }
}

void cuda_matmul(struct device *d, const struct weight *w, const void *x, const float *bias,
                 float *y, int rows, bool accumulate)
{
    if (rows == 0)
        return;
    if (bias) {
        bool four = w->out % 4 == 0 && fours(bias, y);
        auto add_bias = four ? bias_rows<4> : bias_rows<1>;
        LAUNCH(d, add_bias, (unsigned)rows, row_threads((size_t)w->out / (four ? 4 : 1)), 0, bias,
               w->out, accumulate, y);
    }
    struct matrix_product p = {};
    p.type = d->compute;
    p.a = x;
    p.b = w->data;
    p.transpose_b = true;
    p.m = rows;
    p.n = w->out;
    p.k = w->in;
    p.scale = 1;
    p.a_step = p.b_step = (size_t)w->in;
    p.c = y;
    p.c_step = (size_t)w->out;
    p.accumulate = accumulate || bias;
    cuda_gemm(d, &p);
}

void cuda_matmul_backward(struct device *d, const struct weight *w, const void *dy, float *dx,
                          int rows, bool accumulate)
{
    struct matrix_product p = {};
    p.type = d->compute;
    p.a = dy;
    p.b = w->data;
    p.m = rows;
    p.n = w->in;
    p.k = w->out;
    p.scale = 1;
    p.a_step = (size_t)w->out;
    p.b_step = p.c_step = (size_t)w->in;
    p.c = dx;
    p.accumulate = accumulate;
    cuda_gemm(d, &p);
}
