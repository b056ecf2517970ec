/* What the files of the CUDA device share. */
#ifndef DUQ_CUDA_CUDA_H
#define DUQ_CUDA_CUDA_H

#include "kernels/cuda/launch.h"
#include "kernels/cuda/plugin.h"

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

typedef __nv_bfloat16 bf16;

struct staging;        /* pinned memory that uploads pass through (device.cu) */
struct import;         /* a copy of constant host memory (device.cu) */
struct attention_plan; /* how attention's work is cut up (attention.h) */

/* A sum of squares is formed by this many blocks, whatever the GPU, so that it has one order. */
enum : size_t { SQUARES_BLOCKS = 256 };

/* The state of a device. All of its work is queued on one stream, so what a later operation reads
 * an earlier one has written, and released memory may be used again at once. */
struct cuda {
    int index;
    char *description;
    int processors; /* streaming multiprocessors */
    cudaStream_t stream;
    cudaMemPool_t pool;
    cublasHandle_t cublas;
    void *workspace;  /* cuBLAS's */
    double *partials; /* [SQUARES_BLOCKS], of add_squares */
    struct staging *staging;
    struct import *imports;
    struct attention_plan *attention; /* of the last call, or NULL */
    size_t attention_bytes;           /* what cuda_attention_limit() set */
};

static inline struct cuda *cuda_of(const struct device *d)
{
    return static_cast<struct cuda *>(d->state);
}

/* ---- errors: every call's status goes through one of these, which end the program ---- */

#define CUDA(call) cuda_check((call), #call, __FILE__)
#define CUBLAS(call) cublas_check((call), #call, __FILE__)

void cuda_check(cudaError_t status, const char *call, const char *file);
void cublas_check(cublasStatus_t status, const char *call, const char *file);

/* Starts a kernel of at least one block on the device's stream; one with commas in its name is
 * given in parentheses. */
#define LAUNCH(d, kernel, grid, block, shared_bytes, ...)                                          \
    do {                                                                                           \
        launch(kernel, grid, block, shared_bytes, cuda_of(d)->stream, __VA_ARGS__);                \
        cuda_check(cudaGetLastError(), "kernel " #kernel, __FILE__);                               \
    } while (0)

/* ---- for kernels ---- */

enum { WARP = 32 };

#define WHOLE_WARP 0xffffffffu

/* The sum, or the largest, over a warp's 32 threads, in every one of them, in one order. */
template <typename T> static __device__ inline T warp_sum(T x)
{
    for (int lane = WARP / 2; lane; lane /= 2)
        x += __shfl_xor_sync(WHOLE_WARP, x, lane);
    return x;
}

static __device__ inline float warp_max(float x)
{
    for (int lane = WARP / 2; lane; lane /= 2)
        x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, lane));
    return x;
}

/* The same sum over a block's threads. warps: shared, [WARP], for this sum alone. */
template <typename T> static __device__ inline T block_sum(T x, T *warps)
{
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0)
        warps[threadIdx.x / WARP] = x;
    __syncthreads();
    return warp_sum(threadIdx.x % WARP < blockDim.x / WARP ? warps[threadIdx.x % WARP] : T(0));
}

/* Rounds to nearest, ties to even, or leaves as it is. */
static __device__ inline void store(float *to, float x)
{
    *to = x;
}

static __device__ inline void store(bf16 *to, float x)
{
    *to = __float2bfloat16_rn(x);
}

static inline size_t div_up(size_t n, size_t by)
{
    return (n + by - 1) / by;
}

/* ---- the operations: cuda_rmsnorm() ... ----
 * cuda_convert() reads F16, too. */

#define OPERATION(result, name, parameters, arguments) result cuda_##name parameters;
#define OPTIONAL_OPERATION(...)
#include "kernels/operations.h"
size_t cuda_attention_memory(struct device *, const struct attention *, bool backward);

void cuda_attention_forget(struct device *); /* the plan */

#endif
