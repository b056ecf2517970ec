/* Gradients of the operations in rows.cu, and what the backward pass moves about. */
#include "kernels/cuda/vector.h"

/* ---- RMSNorm: a block for each row ---- */

/* y = gain x r with r = (mean(x^2) + eps)^-1/2: dx = r (gain dy) - x r^3 mean(x gain dy) */
template <int V>
static __global__ void rmsnorm_backward_rows(const float *x, const float *gain, float eps,
                                             int width, const float *dy, float *dx)
{
    SHARED(float, square_sums, WARP);
    SHARED(float, along_sums, WARP);
    x += (size_t)blockIdx.x * (size_t)width;
    dy += (size_t)blockIdx.x * (size_t)width;
    dx += (size_t)blockIdx.x * (size_t)width;
    int first = (int)threadIdx.x * V, step = (int)blockDim.x * V;
    float squares = 0, along = 0;
    for (int i = first; i < width; i += step) {
        vector<float, V> a = load<V>(x + i), g = load<V>(gain + i), b = load<V>(dy + i);
#pragma unroll
        for (int j = 0; j < V; j++) {
            squares += a.at[j] * a.at[j];
            along += a.at[j] * (g.at[j] * b.at[j]);
        }
    }
    squares = block_sum(squares, square_sums);
    along = block_sum(along, along_sums);
    float r = 1.0f / sqrtf(squares / (float)width + eps);
    float back = r * r * r * (along / (float)width);
    for (int i = first; i < width; i += step) {
        vector<float, V> a = load<V>(x + i), g = load<V>(gain + i), b = load<V>(dy + i);
        vector<float, V> sum = load<V>(dx + i);
#pragma unroll
        for (int j = 0; j < V; j++)
            sum.at[j] += r * (g.at[j] * b.at[j]) - back * a.at[j];
        store<V>(dx + i, sum);
    }
}

void cuda_rmsnorm_backward(struct device *d, const float *x, const float *gain, float eps, int rows,
                           int width, const float *dy, float *dx)
{
    if (rows == 0)
        return;
    bool four = width % 4 == 0 && fours(x, gain, dy, dx);
    auto rmsnorm_backward = four ? rmsnorm_backward_rows<4> : rmsnorm_backward_rows<1>;
    LAUNCH(d, rmsnorm_backward, (unsigned)rows, row_threads((size_t)width / (four ? 4 : 1)), 0, x,
           gain, eps, width, dy, dx);
}

/* ---- gated linear units and caps ---- */

/* With s = 1 / (1 + e^-t): the derivative of x s is s (1 + x t' (1 - s)). */
template <int V, typename T>
static __global__ void glu_gradients(enum activation activation, const float *gate, const float *up,
                                     const float *d_out, size_t n, T *d_gate, T *d_up)
{
    size_t first = flat_index<V>();
    if (first >= n)
        return;
    size_t left = n - first;
    vector<float, V> g = load_of<V>(gate + first, left), u = load_of<V>(up + first, left);
    vector<float, V> d = load_of<V>(d_out + first, left), by_gate, by_up;
#pragma unroll
    for (int j = 0; j < V; j++) {
        float x = g.at[j], sigmoid = 1.0f / gate_divisor(activation, x);
        float along = activation == SILU ? x : x * (3 * GELU_B * x * x + GELU_A);
        by_up.at[j] = d.at[j] * x * sigmoid;
        by_gate.at[j] = d.at[j] * u.at[j] * sigmoid * (1.0f + along * (1.0f - sigmoid));
    }
    store_of<V>(d_gate + first, left, by_gate);
    store_of<V>(d_up + first, left, by_up);
}

template <typename T>
static void glu_backward_of(struct device *d, enum activation activation, const float *gate,
                            const float *up, const float *d_out, size_t n, T *d_gate, T *d_up)
{
    bool four = fours(gate, up, d_out) && fours(d_gate, d_up);
    auto glu_backward = four ? glu_gradients<4, T> : glu_gradients<1, T>;
    LAUNCH(d, glu_backward, flat_blocks(n, four), FLAT_THREADS, 0, activation, gate, up, d_out, n,
           d_gate, d_up);
}

void cuda_glu_backward(struct device *d, enum activation activation, const float *gate,
                       const float *up, const float *d_out, size_t n, void *d_gate, void *d_up)
{
    if (n == 0)
        return;
    if (d->compute == F32)
        glu_backward_of(d, activation, gate, up, d_out, n, static_cast<float *>(d_gate),
                        static_cast<float *>(d_up));
    else
        glu_backward_of(d, activation, gate, up, d_out, n, static_cast<bf16 *>(d_gate),
                        static_cast<bf16 *>(d_up));
}

static __global__ void cap_gradients(float cap, const float *y, float *dx, size_t n)
{
    size_t i = flat_index<1>();
    if (i < n)
        dx[i] *= 1.0f - y[i] / cap * (y[i] / cap);
}

void cuda_cap_backward(struct device *d, float cap, const float *y, float *dx, size_t n)
{
    if (n)
        LAUNCH(d, cap_gradients, flat_blocks(n, false), FLAT_THREADS, 0, cap, y, dx, n);
}

/* ---- scatter: one block column for each row of `from` ---- */

enum { SCATTER_THREADS = 128 };

/* Rows may repeat. The block of the first of those that go to one place adds them all, in their
 * order; so nothing is added at the same time, and sums have one order. */
static __global__ void scatter_rows(const float *from, const int32_t *rows, int n, int width,
                                    float *to)
{
    int own = (int)blockIdx.x, i = (int)(blockIdx.y * blockDim.x + threadIdx.x);
    int32_t row = rows[own];
    for (int r = 0; r < own; r++)
        if (rows[r] == row)
            return;
    if (i >= width)
        return;
    float *place = to + (size_t)row * (size_t)width + i;
    float sum = *place;
    for (int r = own; r < n; r++)
        if (rows[r] == row)
            sum += from[(size_t)r * (size_t)width + (size_t)i];
    *place = sum;
}

void cuda_scatter_add(struct device *d, const float *from, const int32_t *rows, int n, int width,
                      float *to)
{
    if (n == 0)
        return;
    LAUNCH(d, scatter_rows, dim3((unsigned)n, (unsigned)div_up((size_t)width, SCATTER_THREADS)),
           SCATTER_THREADS, 0, from, rows, n, width, to);
}

/* ---- conversion ---- */

template <int V, typename From, typename To>
static __global__ void convert_elements(const From *from, To *to, size_t n)
{
    size_t first = flat_index<V>();
    if (first < n)
        store_of<V>(to + first, n - first, load_of<V>(from + first, n - first));
}

template <typename From, typename To>
static void convert_of(struct device *d, const void *from, void *to, size_t n)
{
    const From *p = static_cast<const From *>(from);
    To *q = static_cast<To *>(to);
    bool four = fours(p) && fours(q);
    auto convert = four ? convert_elements<4, From, To> : convert_elements<1, From, To>;
    LAUNCH(d, convert, flat_blocks(n, four), FLAT_THREADS, 0, p, q, n);
}

void cuda_convert(struct device *d, const void *from, enum dtype from_type, void *to,
                  enum dtype to_type, size_t n)
{
    if (n == 0)
        return;
    if (from_type == to_type)
        CUDA(cudaMemcpyAsync(to, from, n * dtype_size(to_type), cudaMemcpyDeviceToDevice,
                             cuda_of(d)->stream));
    else if (from_type == F32)
        convert_of<float, bf16>(d, from, to, n);
    else if (from_type == BF16)
        convert_of<bf16, float>(d, from, to, n);
    else if (to_type == BF16)
        convert_of<f16, bf16>(d, from, to, n);
    else
        convert_of<f16, float>(d, from, to, n);
}
