/* What the simulator's environment changes: each case expects the setting that it names. */
#include "selftest.h"

CASE(second_allocation_fails)
{
    void *p, *q;
    CUDA(cudaMalloc(&p, 100));
    REQUIRE(cudaMalloc(&q, 100) == cudaErrorMemoryAllocation);
    REQUIRE(cudaGetLastError() == cudaErrorMemoryAllocation);
    CUDA(cudaMalloc(&q, 100));
    CUDA(cudaFree(p));
    CUDA(cudaFree(q));
}

CASE(only_the_first_allocation_does)
{
    void *p, *q;
    CUDA(cudaMalloc(&p, 100));
    for (int i = 0; i < 3; i++)
        REQUIRE(cudaMalloc(&q, 100) == cudaErrorMemoryAllocation);
    REQUIRE(cudaGetLastError() == cudaErrorMemoryAllocation);
    CUDA(cudaFree(p));
}

CASE(second_copy_fails)
{
    float x = 3, y = 4, *d = on_device(&x, 1);
    REQUIRE(cudaMemcpy(&y, d, sizeof y, cudaMemcpyDeviceToHost) != cudaSuccess);
    REQUIRE(y == 4);
    CUDA(cudaMemcpy(&y, d, sizeof y, cudaMemcpyDeviceToHost));
    REQUIRE(y == 3);
    CUDA(cudaFree(d));
}

static __global__ void count_up(int *x)
{
    *x += 1;
}

CASE(second_launch_fails)
{
    int x = 0, *d = on_device(&x, 1);
    launch(count_up, dim3(1), dim3(1), 0, nullptr, d);
    CUDA(cudaGetLastError());
    launch(count_up, dim3(1), dim3(1), 0, nullptr, d);
    REQUIRE(cudaGetLastError() == cudaErrorLaunchOutOfResources);
    launch(count_up, dim3(1), dim3(1), 0, nullptr, d);
    CUDA(cudaGetLastError());
    on_host(&x, d, 1);
    REQUIRE(x == 2);
    CUDA(cudaFree(d));
}

/* The error comes with the kernel's launch or with whatever waits for it, and stays. */
CASE(second_kernel_faults)
{
    int x = 0, *d = on_device(&x, 1);
    for (int i = 0; i < 2; i++)
        launch(count_up, dim3(1), dim3(1), 0, nullptr, d);
    REQUIRE(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
    REQUIRE(cudaGetLastError() == cudaErrorIllegalAddress);
    REQUIRE(cudaGetLastError() == cudaErrorIllegalAddress);
    REQUIRE(cudaMemcpy(&x, d, sizeof x, cudaMemcpyDeviceToHost) == cudaErrorIllegalAddress);
    REQUIRE(cudaFree(d) == cudaErrorIllegalAddress);
    REQUIRE(x == 0);
    _Exit(0); /* nothing can be freed */
}

CASE(second_product_fails)
{
    const float x = 3, one = 1;
    float zero = 0, *d = on_device(&x, 1), *square = on_device(&zero, 1);
    cublasHandle_t handle;
    CUBLAS(cublasCreate(&handle));
    for (int call = 1; call <= 3; call++) {
        cublasStatus_t status = cublasGemmEx(
            handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, d, CUDA_R_32F, 1, d, CUDA_R_32F, 1,
            &one, square, CUDA_R_32F, 1, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
        REQUIRE((status == CUBLAS_STATUS_SUCCESS) == (call != 2));
    }
    CUBLAS(cublasDestroy(handle));
    on_host(&zero, square, 1);
    REQUIRE(zero == 18);
    CUDA(cudaFree(d));
    CUDA(cudaFree(square));
}

CASE(a_million_bytes)
{
    size_t free, total;
    void *p, *q;
    CUDA(cudaMalloc(&p, 600000));
    CUDA(cudaMemGetInfo(&free, &total));
    REQUIRE(total == 1000000 && free == 400000);
    REQUIRE(cudaMalloc(&q, 400001) == cudaErrorMemoryAllocation);
    CUDA(cudaMalloc(&q, 400000));
    CUDA(cudaFree(p));
    CUDA(cudaMalloc(&p, 600000));
    CUDA(cudaFree(p));
    CUDA(cudaFree(q));
}

CASE(a_pool_of_a_million_bytes)
{
    size_t free, total;
    void *p, *q;
    cudaMemPool_t pool;
    uint64_t keep = UINT64_MAX, reserved, used;
    CUDA(cudaDeviceGetDefaultMemPool(&pool, 0));
    CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
    CUDA(cudaMallocAsync(&p, 600000, 0));
    CUDA(cudaMallocAsync(&q, 100000, 0));
    CUDA(cudaFreeAsync(p, 0));
    CUDA(cudaStreamSynchronize(0));
    CUDA(cudaMemGetInfo(&free, &total));
    CUDA(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved));
    CUDA(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
    REQUIRE(free == 300000 && reserved == 700000 && used == 100000);
    REQUIRE(cudaMallocAsync(&p, 500000, 0) == cudaErrorMemoryAllocation);
    REQUIRE(cudaGetLastError() == cudaErrorMemoryAllocation);
    CUDA(cudaMallocAsync(&p, 600000, 0));
    CUDA(cudaFreeAsync(p, 0));
    CUDA(cudaStreamSynchronize(0));
    CUDA(cudaMemPoolTrimTo(pool, 0));
    CUDA(cudaMallocAsync(&p, 500000, 0));
    CUDA(cudaFreeAsync(p, 0));
    CUDA(cudaFreeAsync(q, 0));
}
