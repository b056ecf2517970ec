/* One fault in each kernel or call: the simulator names it. */
#include "selftest.h"

#include <thread>

static __global__ void two_barriers(int *x)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    x[threadIdx.x] = 1;
}

CASE(divergent_barriers)
{
    launch(two_barriers, dim3(1), dim3(64), 0, nullptr, on_device<int>(nullptr, 64));
}

static __global__ void leaves(int *x)
{
    if (threadIdx.x == 40)
        return;
    __syncthreads();
    x[threadIdx.x] = 1;
}

CASE(exit_before_barrier)
{
    launch(leaves, dim3(1), dim3(64), 0, nullptr, on_device<int>(nullptr, 64));
}

static __global__ void leaves_its_warp(int *x)
{
    if (threadIdx.x == 7)
        return;
    x[threadIdx.x] = __shfl_xor_sync(0xffffffffu, (int)threadIdx.x, 1);
}

CASE(exit_before_shuffle)
{
    launch(leaves_its_warp, dim3(1), dim3(32), 0, nullptr, on_device<int>(nullptr, 32));
}

static __global__ void half_a_warp(int *x)
{
    int i = (int)threadIdx.x;
    if (i < 16)
        i = __shfl_xor_sync(0xffffffffu, i, 1);
    __syncthreads();
    x[threadIdx.x] = i;
}

CASE(shuffle_lanes_missing)
{
    launch(half_a_warp, dim3(1), dim3(32), 0, nullptr, on_device<int>(nullptr, 32));
}

static __global__ void set(int *x)
{
    x[threadIdx.x] = 1;
}

CASE(host_pointer_to_kernel)
{
    static int x[32];
    launch(set, dim3(1), dim3(32), 0, nullptr, x);
}

CASE(host_reads_device)
{
    int *d = on_device<int>(nullptr, 32);
    launch(set, dim3(1), dim3(32), 0, nullptr, d);
    printf("%d\n", d[3]);
}

static __global__ void reads_an_absent_lane(int *x)
{
    if (threadIdx.x < 16)
        x[threadIdx.x] = __shfl_down_sync(0xffffu, (int)threadIdx.x, 8);
}

CASE(shuffle_from_outside_the_mask)
{
    launch(reads_an_absent_lane, dim3(1), dim3(32), 0, nullptr, on_device<int>(nullptr, 32));
}

/* ---- races ---- */

static __global__ void neighbour(int *x)
{
    SHARED(int, s, 64);
    int i = (int)threadIdx.x;
    s[i] = i;
    __syncthreads();
    s[i] += 1;
    x[i] = s[(i + 32) % 64];
}

CASE(race_in_shared_memory)
{
    launch(neighbour, dim3(1), dim3(64), 0, nullptr, on_device<int>(nullptr, 64));
}

static __global__ void overwritten(int *x)
{
    DYN_SHARED(int, s);
    int i = (int)threadIdx.x;
    s[i] = i;
    __syncthreads();
    int sum = s[i] + s[63 - i];
    s[i] = sum; /* others still read */
    __syncthreads();
    x[i] = s[i];
}

CASE(race_of_write_after_read)
{
    launch(overwritten, dim3(1), dim3(64), 64 * sizeof(int), nullptr, on_device<int>(nullptr, 64));
}

static __global__ void lanes(int *x)
{
    SHARED(int, s, 32);
    int i = (int)threadIdx.x;
    s[i] = i;
    __syncwarp();
    s[i] += 1;
    x[i] = s[i ^ 1]; /* no __syncwarp() between */
}

CASE(race_in_a_warp)
{
    launch(lanes, dim3(1), dim3(32), 0, nullptr, on_device<int>(nullptr, 32));
}

static __global__ void same_place(float *x)
{
    if (threadIdx.x == 0)
        *x = (float)blockIdx.x;
}

CASE(race_of_blocks)
{
    launch(same_place, dim3(3), dim3(32), 0, nullptr, on_device<float>(nullptr, 1));
}

static __global__ void next_block(float *x)
{
    if (threadIdx.x == 0)
        x[blockIdx.x] = x[blockIdx.x + 1] + 1;
}

CASE(race_of_blocks_that_read)
{
    const float x[] = {1, 2, 3, 4};
    launch(next_block, dim3(3), dim3(32), 0, nullptr, on_device(x, 4));
}

static __global__ void global_neighbour(int *x)
{
    int i = (int)threadIdx.x;
    x[i] = i;
    __syncthreads();
    x[i] = x[(i + 1) % 64];
}

CASE(race_in_device_memory)
{
    launch(global_neighbour, dim3(1), dim3(64), 0, nullptr, on_device<int>(nullptr, 64));
}

static __global__ void half_atomic(int *x)
{
    if (threadIdx.x == 0)
        atomicAdd(x, 1);
    else if (threadIdx.x == 1)
        *x += 1;
}

CASE(race_with_an_atomic)
{
    const int zero = 0;
    launch(half_atomic, dim3(1), dim3(32), 0, nullptr, on_device(&zero, 1));
}

static __global__ void half_of_a_word(__nv_bfloat16 *x, unsigned *words)
{
    if (threadIdx.x == 0)
        words[3] = 0;
    if (threadIdx.x == 1)
        x[7] = __float2bfloat16(1);
}

CASE(race_in_half_a_word)
{
    void *x = on_device<unsigned>(nullptr, 8);
    launch(half_of_a_word, dim3(1), dim3(32), 0, nullptr, (__nv_bfloat16 *)x, (unsigned *)x);
}

/* ---- bounds ---- */

static __global__ void set_at(float *x, int i)
{
    x[i] = 1;
}

CASE(past_the_end)
{
    launch(set_at, dim3(1), dim3(1), 0, nullptr, on_device<float>(nullptr, 10), 10);
}

CASE(before_the_start)
{
    launch(set_at, dim3(1), dim3(1), 0, nullptr, on_device<float>(nullptr, 10), -1);
}

CASE(use_after_free)
{
    float *x = on_device<float>(nullptr, 10);
    CUDA(cudaFree(x));
    launch(set_at, dim3(1), dim3(1), 0, nullptr, x, 0);
}

static __global__ void past_shared(float *x, int n)
{
    SHARED(float, first, 8);
    SHARED(float, second, 8);
    first[n] = 1;
    second[0] = first[n];
    *x = second[0];
}

CASE(past_a_shared_array)
{
    launch(past_shared, dim3(1), dim3(1), 0, nullptr, on_device<float>(nullptr, 1), 8);
}

static __global__ void large_shared(float *x)
{
    DYN_SHARED(float, first);
    SHARED(float, second, 10000);
    first[threadIdx.x] = second[threadIdx.x] = 1;
    x[threadIdx.x] = first[threadIdx.x] + second[threadIdx.x];
}

CASE(too_much_shared_memory)
{
    CUDA(cudaFuncSetAttribute(large_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, 140000));
    launch(large_shared, dim3(1), dim3(32), 140000, nullptr, on_device<float>(nullptr, 32));
}

static __global__ void past_dynamic(int n)
{
    DYN_SHARED(float, s);
    s[n] = 1;
}

CASE(past_dynamic_shared_memory)
{
    launch(past_dynamic, dim3(1), dim3(1), 32, nullptr, 8);
}

static __global__ void vector_at(float *x)
{
    float4 *p = reinterpret_cast<float4 *>(x + 2);
    *p = make_float4(1, 2, 3, 4);
}

CASE(misaligned_vector)
{
    launch(vector_at, dim3(1), dim3(1), 0, nullptr, on_device<float>(nullptr, 8));
}

struct indirect {
    const float *x;
};

static __global__ void through(struct indirect from, float *to)
{
    *to = from.x[1];
}

CASE(host_memory_in_a_kernel)
{
    static float x[4];
    x[1] = 2;
    launch(through, dim3(1), dim3(1), 0, nullptr, indirect{x}, on_device<float>(nullptr, 1));
}

static __global__ void deep(int *x)
{
    volatile char stack[1 << 20];
    for (int i = 0; i < 1 << 20; i += 64)
        stack[i] = (char)i;
    *x = stack[64];
}

CASE(stack_overflow)
{
    launch(deep, dim3(1), dim3(1), 0, nullptr, on_device<int>(nullptr, 1));
}

/* ---- what nobody set ---- */

static __global__ void sum(const float *x, float *y)
{
    y[threadIdx.x] = x[threadIdx.x] + 1;
}

CASE(uninitialised_device_memory)
{
    float *x = on_device<float>(nullptr, 32), *y = on_device<float>(nullptr, 32);
    CUDA(cudaMemset(x, 0, 31 * sizeof *x));
    launch(sum, dim3(1), dim3(32), 0, nullptr, x, y);
}

static __global__ void half_set(float *y)
{
    SHARED(float, s, 64);
    if (blockIdx.x == 0 || threadIdx.x < 32)
        s[threadIdx.x] = 1;
    __syncthreads();
    y[blockIdx.x * 64 + threadIdx.x] = s[63 - threadIdx.x];
}

CASE(uninitialised_shared_memory)
{
    launch(half_set, dim3(2), dim3(64), 0, nullptr, on_device<float>(nullptr, 128));
}

CASE(uninitialised_copy)
{
    float *x = on_device<float>(nullptr, 32), *y = on_device<float>(nullptr, 32);
    CUDA(cudaMemset(x, 0, 31 * sizeof *x));
    CUDA(cudaMemcpy(y, x, 32 * sizeof *x, cudaMemcpyDeviceToDevice));
    launch(sum, dim3(1), dim3(32), 0, nullptr, y, x);
}

CASE(uninitialised_download)
{
    float x[4];
    on_host(x, on_device<float>(nullptr, 4), 4);
}

static void square_product(const float *a, const float *b, float *c, float beta)
{
    cublasHandle_t handle;
    float one = 1;
    CUBLAS(cublasCreate(&handle));
    CUBLAS(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, a, CUDA_R_32F, 2, b,
                        CUDA_R_32F, 2, &beta, c, CUDA_R_32F, 2, CUBLAS_COMPUTE_32F,
                        CUBLAS_GEMM_DEFAULT));
}

static const float four[] = {1, 2, 3, 4};

CASE(uninitialised_operand)
{
    square_product(on_device(four, 4), on_device<float>(nullptr, 4), on_device<float>(nullptr, 4),
                   0);
}

CASE(uninitialised_result_read)
{
    square_product(on_device(four, 4), on_device(four, 4), on_device<float>(nullptr, 4), 1);
}

/* ---- cuBLAS ---- */

CASE(product_in_place)
{
    float *a = on_device(four, 4);
    square_product(a, on_device(four, 4), a, 0);
}

CASE(workspace_freed)
{
    cublasHandle_t handle;
    float one = 1, zero = 0;
    void *workspace = on_device<float>(nullptr, 256);
    CUBLAS(cublasCreate(&handle));
    CUBLAS(cublasSetWorkspace(handle, workspace, 1024));
    CUDA(cudaFree(workspace));
    CUBLAS(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, on_device(four, 4),
                        CUDA_R_32F, 2, on_device(four, 4), CUDA_R_32F, 2, &zero,
                        on_device<float>(nullptr, 4), CUDA_R_32F, 2, CUBLAS_COMPUTE_32F,
                        CUBLAS_GEMM_DEFAULT));
}

CASE(product_out_of_bounds)
{
    square_product(on_device(four, 3), on_device(four, 4), on_device<float>(nullptr, 4), 0);
}

CASE(product_of_host_memory)
{
    square_product(four, on_device(four, 4), on_device<float>(nullptr, 4), 0);
}

CASE(overlapping_products)
{
    cublasHandle_t handle;
    float one = 1, zero = 0;
    CUBLAS(cublasCreate(&handle));
    CUBLAS(cublasGemmStridedBatchedEx(
        handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, on_device(four, 4), CUDA_R_32F, 2, 0,
        on_device(four, 4), CUDA_R_32F, 2, 0, &zero, on_device<float>(nullptr, 8), CUDA_R_32F, 2, 3,
        2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

CASE(alpha_on_the_device)
{
    cublasHandle_t handle;
    float zero = 0;
    CUBLAS(cublasCreate(&handle));
    CUBLAS(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, on_device(four, 1),
                        on_device(four, 4), CUDA_R_32F, 2, on_device(four, 4), CUDA_R_32F, 2, &zero,
                        on_device<float>(nullptr, 4), CUDA_R_32F, 2, CUBLAS_COMPUTE_32F,
                        CUBLAS_GEMM_DEFAULT));
}

/* k = 8 elements of bf16 are 16 bytes, the second matrix starts at byte 8. */
CASE(misaligned_batch)
{
    cublasHandle_t handle;
    float one = 1, zero = 0;
    CUBLAS(cublasCreate(&handle));
    __nv_bfloat16 *x = on_device<__nv_bfloat16>(nullptr, 64);
    CUDA(cudaMemset(x, 0, 64 * sizeof *x));
    const void *as[] = {x + 4};
    void *cs[] = {on_device<float>(nullptr, 1)};
    CUBLAS(cublasGemmBatchedEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, 1, 1, 8, &one, on_device(as, 1),
                               CUDA_R_16BF, 8, on_device(as, 1), CUDA_R_16BF, 8, &zero,
                               on_device(cs, 1), CUDA_R_32F, 1, 1, CUBLAS_COMPUTE_32F,
                               CUBLAS_GEMM_DEFAULT));
}

/* ---- memory and copies ---- */

CASE(host_writes_device)
{
    int *d = on_device<int>(nullptr, 32);
    d[1] = 1;
}

CASE(copy_from_the_wrong_side)
{
    float *d = on_device(four, 4), x[4];
    CUDA(cudaMemcpy(x, d, sizeof x, cudaMemcpyHostToDevice));
}

CASE(copy_to_the_wrong_side)
{
    float *d = on_device(four, 4), x[4];
    CUDA(cudaMemcpy(d, x, sizeof x, cudaMemcpyDeviceToHost));
}

CASE(copy_past_the_end)
{
    float x[8], *d = on_device(four, 4);
    CUDA(cudaMemcpy(x, d, sizeof x, cudaMemcpyDeviceToHost));
}

CASE(freed_twice)
{
    float *d = on_device(four, 4);
    CUDA(cudaFree(d));
    CUDA(cudaFree(d));
}

CASE(freed_in_the_middle)
{
    CUDA(cudaFree(on_device(four, 4) + 1));
}

CASE(leak)
{
    on_device(four, 4);
}

CASE(pinned_leak)
{
    void *p;
    CUDA(cudaMallocHost(&p, 100));
}

CASE(stream_leak)
{
    cudaStream_t stream;
    on_device(four, 0);
    CUDA(cudaStreamCreate(&stream));
}

CASE(destroyed_stream)
{
    cudaStream_t stream;
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaStreamSynchronize(stream));
}

CASE(second_thread)
{
    float *d = on_device(four, 4);
    std::thread([d] { CUDA(cudaFree(d)); }).join();
}

/* ---- streams: faults only where work is deferred ---- */

enum { PINNED = 4096 };

/* Pinned memory that is filled again before the copy from it has run. */
static void reuse_staging(int n)
{
    int *pinned, *d = on_device<int>(nullptr, (size_t)n);
    CUDA(cudaMallocHost(&pinned, (size_t)n * sizeof *pinned));
    cudaStream_t stream;
    CUDA(cudaStreamCreate(&stream));
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < n; i++)
            pinned[i] = round;
        CUDA(cudaMemcpyAsync(d, pinned, (size_t)n * sizeof *d, cudaMemcpyHostToDevice, stream));
    }
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaFree(d));
    CUDA(cudaFreeHost(pinned));
}

CASE(staging_reused)
{
    reuse_staging(PINNED);
}

CASE(small_staging_reused)
{
    reuse_staging(10);
}

/* Pinned memory that is read before the copy to it has run. */
CASE(result_not_waited_for)
{
    int *pinned, *d = on_device<int>(nullptr, PINNED), sum = 0;
    CUDA(cudaMemset(d, 0, PINNED * sizeof *d));
    CUDA(cudaMallocHost(&pinned, PINNED * sizeof *pinned));
    cudaStream_t stream;
    CUDA(cudaStreamCreate(&stream));
    for (int round = 0; round < 100; round++) {
        CUDA(cudaMemcpyAsync(pinned, d, PINNED * sizeof *d, cudaMemcpyDeviceToHost, stream));
        for (int i = 0; i < PINNED; i++)
            sum += pinned[i];
    }
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaFree(d));
    CUDA(cudaFreeHost(pinned));
    REQUIRE(sum == 0);
}

/* One stream reads what another sets, and does not wait for it. */
CASE(event_forgotten)
{
    cudaStream_t first, second;
    CUDA(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
    CUDA(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
    for (int round = 0; round < 20; round++) {
        float *x = on_device<float>(nullptr, 32), *y = on_device<float>(nullptr, 32);
        CUDA(cudaMemsetAsync(x, 0, 32 * sizeof *x, first));
        launch(sum, dim3(1), dim3(32), 0, second, x, y);
        CUDA(cudaDeviceSynchronize());
        CUDA(cudaFree(x));
        CUDA(cudaFree(y));
    }
    CUDA(cudaStreamDestroy(first));
    CUDA(cudaStreamDestroy(second));
}
