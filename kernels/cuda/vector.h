/* Elements that lie side by side, moved by one instruction, and arithmetic in f32 on elements of
 * any type. Kernels are templates over V, how many: 4 where addresses and widths allow, else 1. */
#ifndef DUQ_CUDA_VECTOR_H
#define DUQ_CUDA_VECTOR_H

#include "kernels/cuda/cuda.h"

#include <cuda_fp16.h>

template <typename T, int V> struct alignas(sizeof(T) * V) vector {
    T at[V];
};

typedef __half f16; /* only ever read */

static __device__ inline float widen(float x)
{
    return x;
}

static __device__ inline float widen(bf16 x)
{
    return __bfloat162float(x);
}

static __device__ inline float widen(f16 x)
{
    return __half2float(x);
}

/* p[0] .. p[V - 1] */
template <int V, typename T> static __device__ inline vector<float, V> load(const T *p)
{
    vector<T, V> stored = *reinterpret_cast<const vector<T, V> *>(p);
    vector<float, V> x;
#pragma unroll
    for (int i = 0; i < V; i++)
        x.at[i] = widen(stored.at[i]);
    return x;
}

template <int V, typename T> static __device__ inline void store(T *p, const vector<float, V> &x)
{
    vector<T, V> stored;
#pragma unroll
    for (int i = 0; i < V; i++)
        store(&stored.at[i], x.at[i]);
    *reinterpret_cast<vector<T, V> *>(p) = stored;
}

/* The same where there may be fewer than V elements left: those past them are read as 0 and not
 * written. */
template <int V, typename T>
static __device__ inline vector<float, V> load_of(const T *p, size_t left)
{
    if (left >= V)
        return load<V>(p);
    vector<float, V> x;
#pragma unroll
    for (int i = 0; i < V; i++)
        x.at[i] = (size_t)i < left ? widen(p[i]) : 0.0f;
    return x;
}

template <int V, typename T>
static __device__ inline void store_of(T *p, size_t left, const vector<float, V> &x)
{
    if (left >= V)
        return store<V>(p, x);
#pragma unroll
    for (int i = 0; i < V; i++)
        if ((size_t)i < left)
            store(&p[i], x.at[i]);
}

/* Whether four elements from each of these on can be moved at once. */
template <typename... T> static bool fours(const T *...p)
{
    return ((reinterpret_cast<uintptr_t>(p) % (4 * sizeof(T)) == 0) && ...);
}

/* ---- activations ---- */

/* What a gate's value is divided by: 1 + e^-t of SiLU or GELU. */
static __device__ inline float gate_divisor(enum activation activation, float x)
{
    float t = activation == SILU ? x : x * (GELU_B * x * x + GELU_A);
    return 1.0f + expf(-t);
}

/* ---- launches ---- */

/* Kernels over n elements: a thread takes V of them from flat_index<V>() on. */
enum { FLAT_THREADS = 256 };

template <int V> static __device__ inline size_t flat_index()
{
    return ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
}

static inline unsigned flat_blocks(size_t n, bool fours)
{
    return (unsigned)div_up(n, fours ? 4 * FLAT_THREADS : FLAT_THREADS);
}

/* Kernels with a block for each row: how many threads share a row's `items`. */
static inline unsigned row_threads(size_t items)
{
    size_t threads = div_up(items, WARP) * WARP;
    return (unsigned)(threads < 256 ? threads : 256);
}

#endif
