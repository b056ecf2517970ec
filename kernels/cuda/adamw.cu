/* The optimizer's operations on parameters and their gradients. */
#include "kernels/cuda/vector.h"

/* ---- sum of squares: each block's own sum, then the sum of those ---- */

enum { SQUARES_THREADS = 256, SQUARES_OF_A_BLOCK = 16 * SQUARES_THREADS };

static __global__ void sum_squares(const float *x, size_t n, double *partials)
{
    SHARED(double, sums, WARP);
    double squares = 0;
    for (size_t i = flat_index<1>(); i < n; i += (size_t)gridDim.x * blockDim.x)
        squares += (double)x[i] * (double)x[i];
    squares = block_sum(squares, sums);
    if (threadIdx.x == 0)
        partials[blockIdx.x] = squares;
}

static __global__ void sum_partials(const double *partials, int n, double *sum)
{
    double squares = 0;
    for (int i = (int)threadIdx.x; i < n; i += WARP)
        squares += partials[i];
    squares = warp_sum(squares);
    if (threadIdx.x == 0)
        *sum += squares;
}

/* The number of blocks depends on n alone, so that the sum has one order on any GPU. */
void cuda_add_squares(struct device *d, const float *x, size_t n, double *sum)
{
    if (n == 0)
        return;
    size_t blocks = div_up(n, SQUARES_OF_A_BLOCK);
    blocks = blocks < SQUARES_BLOCKS ? blocks : SQUARES_BLOCKS;
    double *partials = cuda_of(d)->partials;
    LAUNCH(d, sum_squares, (unsigned)blocks, SQUARES_THREADS, 0, x, n, partials);
    LAUNCH(d, sum_partials, 1, WARP, 0, partials, (int)blocks, sum);
}

/* ---- elements ---- */

template <int V> static __global__ void scale_elements(float factor, float *x, size_t n)
{
    size_t first = flat_index<V>();
    if (first >= n)
        return;
    vector<float, V> a = load_of<V>(x + first, n - first);
#pragma unroll
    for (int j = 0; j < V; j++)
        a.at[j] *= factor;
    store_of<V>(x + first, n - first, a);
}

void cuda_scale(struct device *d, float factor, float *x, size_t n)
{
    if (n == 0)
        return;
    bool four = fours(x);
    auto scale = four ? scale_elements<4> : scale_elements<1>;
    LAUNCH(d, scale, flat_blocks(n, four), FLAT_THREADS, 0, factor, x, n);
}

template <int V>
static __global__ void adamw_elements(struct adamw_factors f, const float *gradient, float *value,
                                      float *m, float *v, size_t n)
{
    size_t first = flat_index<V>();
    if (first >= n)
        return;
    size_t left = n - first;
    vector<float, V> g = load_of<V>(gradient + first, left), x = load_of<V>(value + first, left);
    vector<float, V> mean = load_of<V>(m + first, left), square = load_of<V>(v + first, left);
#pragma unroll
    for (int j = 0; j < V; j++)
        adamw_element(&f, g.at[j], &x.at[j], &mean.at[j], &square.at[j]);
    store_of<V>(value + first, left, x);
    store_of<V>(m + first, left, mean);
    store_of<V>(v + first, left, square);
}

void cuda_adamw(struct device *d, const struct adamw_factors *f, const float *gradient,
                float *value, float *m, float *v, size_t n)
{
    if (n == 0)
        return;
    bool four = fours(gradient, value, m, v);
    auto adamw = four ? adamw_elements<4> : adamw_elements<1>;
    LAUNCH(d, adamw, flat_blocks(n, four), FLAT_THREADS, 0, *f, gradient, value, m, v, n);
}
