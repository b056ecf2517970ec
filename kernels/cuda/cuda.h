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

/* ---- memory ---- */

void *cuda_alloc(struct device *, size_t bytes);
void cuda_release(struct device *, void *);
void cuda_upload(struct device *, void *to, const void *from, size_t bytes);

/* ---- the operations of ops.h ---- */

struct weight *cuda_weight_create(struct device *, const void *data, enum dtype stored, int out,
                                  int in);
void cuda_weight_free(struct device *, struct weight *);
void cuda_matmul(struct device *, const struct weight *, const void *x, const float *bias, float *y,
                 int rows, bool accumulate);
void cuda_matmul_backward(struct device *, const struct weight *, const void *dy, float *dx,
                          int rows, bool accumulate);
void cuda_gemm(struct device *, const struct matrix_product *);

void cuda_attention(struct device *, const struct attention *);
size_t cuda_attention_memory(struct device *, const struct attention *, bool backward);
void cuda_attention_forget(struct device *); /* the plan */
void cuda_class_logits(struct device *, const float *h, int rows, const float *w, int classes,
                       int width, float *logits);
void cuda_embed(struct device *, const void *table, enum dtype stored, int width,
                const int32_t *ids, int n, float *out);
void cuda_gather(struct device *, const float *from, const int32_t *rows, int n, int width,
                 float *to);
void cuda_rmsnorm(struct device *, const float *x, const float *gain, float eps, int rows,
                  int width, void *out, enum dtype out_type);
void cuda_rope(struct device *, float *x, int rows, int heads, int head_dim,
               const int32_t *positions, const float *cosine, const float *sine);
void cuda_swiglu(struct device *, const float *gate, const float *up, size_t n, void *out);

void cuda_attention_backward(struct device *, const struct attention_backward *);
/* Reads F16, too. */
void cuda_convert(struct device *, const void *from, enum dtype from_type, void *to,
                  enum dtype to_type, size_t n);
void cuda_dropout(struct device *, const struct dropout *, const void *x, enum dtype type, int rows,
                  int width, float *out, bool accumulate);
void cuda_rmsnorm_backward(struct device *, const float *x, const float *gain, float eps, int rows,
                           int width, const float *dy, float *dx);
void cuda_scatter_add(struct device *, const float *from, const int32_t *rows, int n, int width,
                      float *to);
void cuda_swiglu_backward(struct device *, const float *gate, const float *up, const float *d_out,
                          size_t n, void *d_gate, void *d_up);

void cuda_loss(struct device *, const struct loss_batch *);
void cuda_add_squares(struct device *, const float *x, size_t n, double *sum);
void cuda_scale(struct device *, float factor, float *x, size_t n);
void cuda_adamw(struct device *, const struct adamw_factors *, const float *gradient, float *value,
                float *m, float *v, size_t n);

#endif
