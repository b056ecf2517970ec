/* Kernels as they should be: the simulator computes what a GPU does, and reports nothing. */
#include "selftest.h"

#include <string.h>
#include <vector>

static __global__ void add(const float *x, const float *y, float *z, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n)
        z[i] = x[i] + y[i];
}

CASE(elements)
{
    const int n = 1000;
    std::vector<float> x(n), y(n), z(n);
    for (int i = 0; i < n; i++) {
        x[i] = (float)i;
        y[i] = (float)(i * i);
    }
    float *dx = on_device(x.data(), n), *dy = on_device(y.data(), n);
    float *dz = on_device<float>(nullptr, n);
    launch(add, dim3(8), dim3(128), 0, nullptr, dx, dy, dz, n);
    CUDA(cudaGetLastError());
    on_host(z.data(), dz, n);
    for (int i = 0; i < n; i++)
        REQUIRE(z[i] == (float)(i + i * i));
    CUDA(cudaFree(dx));
    CUDA(cudaFree(dy));
    CUDA(cudaFree(dz));
}

static __global__ void reverse(int *x)
{
    DYN_SHARED(int, there);
    SHARED(int, back, 64);
    unsigned i = threadIdx.x, n = blockDim.x;
    there[i] = x[blockIdx.x * n + i];
    __syncthreads();
    back[i] = there[n - 1 - i];
    __syncthreads();
    x[blockIdx.x * n + i] = back[i];
}

CASE(shared_memory)
{
    int x[3 * 64];
    for (int i = 0; i < 3 * 64; i++)
        x[i] = i;
    int *dx = on_device(x, 3 * 64);
    launch(reverse, dim3(3), dim3(64), 64 * sizeof(int), nullptr, dx);
    CUDA(cudaGetLastError());
    on_host(x, dx, 3 * 64);
    for (int i = 0; i < 3 * 64; i++)
        REQUIRE(x[i] == i / 64 * 64 + 63 - i % 64);
    CUDA(cudaFree(dx));
}

static __global__ void warps(unsigned *sums, unsigned *moved)
{
    unsigned i = threadIdx.x, lane = i % 32, sum = i;
    for (int step = 16; step; step /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, step);
    sums[i] = sum;
    unsigned *m = moved + i * 8;
    m[0] = __shfl_sync(0xffffffffu, i, 5);
    m[1] = __shfl_up_sync(0xffffffffu, i, 3);
    m[2] = __shfl_down_sync(0xffffffffu, i, 3);
    m[3] = __shfl_xor_sync(0xffffffffu, i, 9, 8);
    m[4] = __ballot_sync(0xffffffffu, lane % 3 == 0);
    m[5] = __reduce_max_sync(0xffffffffu, lane * 7 % 32);
    m[6] = __shfl_down_sync(0xffffffffu, i, 3, 8);
    m[7] = (unsigned)__any_sync(0xffffffffu, i == 40) + 2u * (unsigned)__all_sync(0xffffffffu, 1);
}

/* Expected values by the tables of the CUDA C++ Programming Guide, "Warp shuffle functions". */
CASE(warp_operations)
{
    unsigned sums[64], m[64 * 8], thirds = 0;
    for (unsigned lane = 0; lane < 32; lane += 3)
        thirds |= 1u << lane;
    unsigned *dsums = on_device<unsigned>(nullptr, 64), *dm = on_device<unsigned>(nullptr, 64 * 8);
    launch(warps, dim3(1), dim3(64), 0, nullptr, dsums, dm);
    on_host(sums, dsums, 64);
    on_host(m, dm, 64 * 8);
    for (unsigned i = 0; i < 64; i++) {
        unsigned lane = i % 32, first = i - lane;
        REQUIRE(sums[i] == (i < 32 ? 496u : 496u + 32u * 32u));
        REQUIRE(m[i * 8] == first + 5);
        REQUIRE(m[i * 8 + 1] == (lane < 3 ? i : i - 3));
        REQUIRE(m[i * 8 + 2] == (lane > 28 ? i : i + 3));
        /* 9 leads one segment of 8 on, which gives the own value, or one back, which is read */
        REQUIRE(m[i * 8 + 3] == (lane / 8 % 2 ? first + (lane ^ 9) : i));
        REQUIRE(m[i * 8 + 4] == thirds);
        REQUIRE(m[i * 8 + 5] == 31);
        REQUIRE(m[i * 8 + 6] == (lane % 8 > 4 ? i : i + 3));
        REQUIRE(m[i * 8 + 7] == (i < 32 ? 2u : 3u));
    }
    CUDA(cudaFree(dsums));
    CUDA(cudaFree(dm));
}

static __global__ void count(int *total, float *sum, const int *x, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    int members = __syncthreads_count(i < n && x[i] > 2);
    if (threadIdx.x == 0)
        atomicAdd(total, members);
    if (i < n)
        atomicAdd(sum, (float)x[i]);
}

CASE(atomics_and_votes)
{
    int x[100], total = 0;
    float sum = 0;
    for (int i = 0; i < 100; i++)
        x[i] = i % 5;
    int *dx = on_device(x, 100), *dtotal = on_device(&total, 1);
    float *dsum = on_device(&sum, 1);
    launch(count, dim3(2), dim3(64), 0, nullptr, dtotal, dsum, dx, 100);
    on_host(&total, dtotal, 1);
    on_host(&sum, dsum, 1);
    REQUIRE(total == 40 && sum == 200);
    CUDA(cudaFree(dx));
    CUDA(cudaFree(dtotal));
    CUDA(cudaFree(dsum));
}

static __global__ void where(unsigned *at)
{
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    at[block * 24 + thread] = block * 1000 + thread;
}

CASE(three_dimensions)
{
    unsigned at[12 * 24];
    unsigned *d = on_device<unsigned>(nullptr, 12 * 24);
    launch(where, dim3(2, 3, 2), dim3(4, 3, 2), 0, nullptr, d);
    on_host(at, d, 12 * 24);
    for (unsigned i = 0; i < 12 * 24; i++)
        REQUIRE(at[i] == i / 24 * 1000 + i % 24);
    CUDA(cudaFree(d));
}

CASE(launch_errors)
{
    int *d = on_device<int>(nullptr, 64);
    launch(reverse, dim3(1), dim3(1025), 0, nullptr, d);
    REQUIRE(cudaGetLastError() == cudaErrorInvalidConfiguration);
    REQUIRE(cudaGetLastError() == cudaSuccess);
    launch(reverse, dim3(1, 65536), dim3(32), 0, nullptr, d);
    REQUIRE(cudaGetLastError() == cudaErrorInvalidConfiguration);
    launch(reverse, dim3(0), dim3(32), 0, nullptr, d);
    REQUIRE(cudaGetLastError() == cudaErrorInvalidConfiguration);
    launch(reverse, dim3(1), dim3(64), 49153, nullptr, d);
    REQUIRE(cudaGetLastError() == cudaErrorInvalidConfiguration);
    CUDA(cudaFree(d));
}

static __global__ void wide(int *x, int n)
{
    DYN_SHARED(int, s);
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x)
        s[i] = i;
    __syncthreads();
    x[threadIdx.x] = s[n - 1 - (int)threadIdx.x];
}

/* More than 48 KiB of shared memory are had by asking. */
CASE(large_shared_memory)
{
    const int n = 20000, bytes = n * (int)sizeof(int);
    int x[32], *d = on_device<int>(nullptr, 32);
    launch(wide, dim3(1), dim3(32), (size_t)bytes, nullptr, d, n);
    REQUIRE(cudaGetLastError() == cudaErrorInvalidConfiguration);
    CUDA(cudaFuncSetAttribute(wide, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    launch(wide, dim3(1), dim3(32), (size_t)bytes, nullptr, d, n);
    CUDA(cudaGetLastError());
    on_host(x, d, 32);
    for (int i = 0; i < 32; i++)
        REQUIRE(x[i] == n - 1 - i);
    CUDA(cudaFree(d));
}

/* C = A B^T + 2 C by double sums, in every pair of types; and C is not read when beta is 0. */
static void product(cudaDataType_t in, cudaDataType_t out, int m, int n, int k)
{
    std::vector<float> a((size_t)m * k), b((size_t)n * k), c((size_t)m * n);
    unsigned seed = 1;
    for (std::vector<float> *v : {&a, &b, &c})
        for (float &x : *v) { /* exact in every type */
            seed = seed * 1664525u + 1013904223u;
            x = (float)(int)(seed >> 28) - 8;
        }
    std::vector<unsigned short> a16(a.size()), b16(b.size()), c16(c.size());
    bool half = in == CUDA_R_16F;
    for (size_t i = 0; i < a.size(); i++)
        a16[i] = half ? __half_as_ushort(__float2half(a[i]))
                      : __bfloat16_as_ushort(__float2bfloat16(a[i]));
    for (size_t i = 0; i < b.size(); i++)
        b16[i] = half ? __half_as_ushort(__float2half(b[i]))
                      : __bfloat16_as_ushort(__float2bfloat16(b[i]));
    bool narrow = in != CUDA_R_32F, narrow_out = out != CUDA_R_32F;
    const void *da =
        narrow ? (void *)on_device(a16.data(), a.size()) : on_device(a.data(), a.size());
    const void *db =
        narrow ? (void *)on_device(b16.data(), b.size()) : on_device(b.data(), b.size());
    for (float beta : {0.0f, 2.0f}) {
        for (size_t i = 0; i < c.size(); i++) {
            float value = beta == 0 ? NAN : c[i];
            c16[i] = half ? __half_as_ushort(__float2half(value))
                          : __bfloat16_as_ushort(__float2bfloat16(value));
        }
        std::vector<float> start(c.size(), NAN), result(c.size());
        if (beta != 0)
            start = c;
        void *dc = narrow_out ? (void *)on_device(c16.data(), c.size())
                              : on_device(start.data(), c.size());
        cublasHandle_t handle;
        CUBLAS(cublasCreate(&handle));
        float alpha = 0.5f;
        CUBLAS(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_T, m, n, k, &alpha, da, in, m, db, in, n,
                            &beta, dc, out, m, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
        CUBLAS(cublasDestroy(handle));
        if (narrow_out) {
            on_host(c16.data(), (const unsigned short *)dc, c.size());
            for (size_t i = 0; i < c.size(); i++)
                result[i] = half ? __half2float(__ushort_as_half(c16[i]))
                                 : __bfloat162float(__ushort_as_bfloat16(c16[i]));
        } else {
            on_host(result.data(), (const float *)dc, c.size());
        }
        for (int row = 0; row < m; row++)
            for (int column = 0; column < n; column++) {
                double sum = 0;
                for (int i = 0; i < k; i++)
                    sum += (double)a[(size_t)i * m + row] * b[(size_t)i * n + column];
                size_t at = (size_t)column * m + row;
                double expected = 0.5 * sum + beta * c[at];
                double unit = narrow_out ? half ? 0x1p-11 : 0x1p-8 : 0;
                REQUIRE(fabs(result[at] - expected) <= unit * fabs(expected));
            }
        CUDA(cudaFree(dc));
    }
    CUDA(cudaFree((void *)da));
    CUDA(cudaFree((void *)db));
}

CASE(products)
{
    product(CUDA_R_32F, CUDA_R_32F, 7, 5, 13);
    product(CUDA_R_16BF, CUDA_R_32F, 1, 31, 64);
    product(CUDA_R_16BF, CUDA_R_16BF, 33, 3, 17);
    product(CUDA_R_16F, CUDA_R_16F, 5, 8, 19);
}

/* What cuBLAS multiplies with sums in f32 (its documentation's table of cublasGemmEx), and what it
 * refuses. */
CASE(product_types)
{
    static const struct {
        cudaDataType_t in, out;
        cublasComputeType_t compute;
        bool supported;
    } types[] = {{CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, true},
                 {CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F, true},
                 {CUDA_R_16BF, CUDA_R_16BF, CUBLAS_COMPUTE_32F, true},
                 {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, true},
                 {CUDA_R_32F, CUDA_R_16BF, CUBLAS_COMPUTE_32F, false},
                 {CUDA_R_16F, CUDA_R_16BF, CUBLAS_COMPUTE_32F, false},
                 {CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, false}};
    const float zeros[4] = {};
    float *p = on_device(zeros, 4), *c = on_device(zeros, 4), one = 1;
    cublasHandle_t handle;
    CUBLAS(cublasCreate(&handle));
    for (const auto &t : types)
        REQUIRE(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, p, t.in, 2, p, t.in,
                             2, &one, c, t.out, 2, t.compute, CUBLAS_GEMM_DEFAULT) ==
                (t.supported ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED));
    CUBLAS(cublasDestroy(handle));
    CUDA(cudaFree(p));
    CUDA(cudaFree(c));
}

/* Two products with strides, and the same by pointers, row-major through transposition. */
CASE(batched_products)
{
    const float a[] = {1, 2, 3, 4, 5, 6, 7, 8}, b[] = {1, 0, 0, 1, 2, 1, 0, 3};
    float c[8];
    float *da = on_device(a, 8), *db = on_device(b, 8), *dc = on_device<float>(nullptr, 8);
    float one = 1, zero = 0;
    cublasHandle_t handle;
    CUBLAS(cublasCreate(&handle));
    const float expected[] = {1, 2, 3, 4, 17, 20, 21, 24}; /* columns of A B */
    CUBLAS(cublasGemmStridedBatchedEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, da,
                                      CUDA_R_32F, 2, 4, db, CUDA_R_32F, 2, 4, &zero, dc, CUDA_R_32F,
                                      2, 4, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    on_host(c, dc, 8);
    for (int i = 0; i < 8; i++)
        REQUIRE(c[i] == expected[i]);
    const void *as[] = {da + 4, da}, *bs[] = {db + 4, db};
    void *cs[] = {dc + 4, dc};
    const void **das = on_device(as, 2), **dbs = on_device(bs, 2);
    void **dcs = on_device(cs, 2);
    CUDA(cudaMemset(dc, 0, 8 * sizeof *dc));
    CUBLAS(cublasGemmBatchedEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, das, CUDA_R_32F, 2,
                               dbs, CUDA_R_32F, 2, &zero, dcs, CUDA_R_32F, 2, 2, CUBLAS_COMPUTE_32F,
                               CUBLAS_GEMM_DEFAULT));
    on_host(c, dc, 8);
    for (int i = 0; i < 8; i++)
        REQUIRE(c[i] == expected[i]);
    CUBLAS(cublasDestroy(handle));
    for (void *p : {(void *)da, (void *)db, (void *)dc, (void *)das, (void *)dbs, (void *)dcs})
        CUDA(cudaFree(p));
}

CASE(copies_within_the_device)
{
    const float x[] = {1, 2, 3, 4};
    float y[4], *d = on_device(x, 4), *e = on_device<float>(nullptr, 4);
    CUDA(cudaMemcpy(e + 1, d, 3 * sizeof *d, cudaMemcpyDeviceToDevice));
    CUDA(cudaMemcpy(e, d + 3, sizeof *d, cudaMemcpyDefault));
    on_host(y, e, 4);
    REQUIRE(y[0] == 4 && y[1] == 1 && y[2] == 2 && y[3] == 3);
    CUDA(cudaFree(d));
    CUDA(cudaFree(e));
}

/* x as the nearest number of `digits` binary digits that is a multiple of 2^last, ties to even;
 * infinite from `limit` on. */
static double rounded(double x, int digits, int last, double limit)
{
    int exponent;
    if (x == 0 || isinf(x))
        return x;
    frexp(x, &exponent);
    double unit = ldexp(1, exponent - digits > last ? exponent - digits : last);
    double r = rint(x / unit) * unit;
    return fabs(r) >= limit ? copysign(INFINITY, x) : r;
}

static void convert_and_back(unsigned bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    float b = __bfloat162float(__float2bfloat16_rn(x)), h = __half2float(__float2half_rn(x));
    if (isnan(x)) {
        REQUIRE(isnan(b) && isnan(h));
        return;
    }
    REQUIRE(b == rounded(x, 8, -133, 0x1p128) && signbit(b) == signbit(x));
    REQUIRE(h == rounded(x, 11, -24, 0x1p16) && signbit(h) == signbit(x));
}

/* At and about every number of 16 bits and half way to the next, and some between. */
CASE(conversions)
{
    for (unsigned h = 0; h < 1 << 16; h++) {
        float value = __half2float(__ushort_as_half((unsigned short)h));
        unsigned half;
        memcpy(&half, &value, sizeof half);
        for (unsigned near : {0xffffffffu, 0u, 1u}) {
            convert_and_back((h << 16) + near);
            convert_and_back((h << 16) + 0x8000 + near);
            convert_and_back(half + near);
            convert_and_back(half + 0x1000 + near);
        }
    }
    for (unsigned long long bits = 0; bits >> 32 == 0; bits += 4099)
        convert_and_back((unsigned)bits);
}

static __global__ void twice(float *x, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n)
        x[i] *= 2;
}

/* Pinned memory there and back on one stream, an event for another; every legal order of work gives
 * this. */
CASE(streams)
{
    const int n = 256;
    float *pinned, *d;
    CUDA(cudaMallocHost(&pinned, n * sizeof *pinned));
    CUDA(cudaMalloc(&d, n * sizeof *d));
    cudaStream_t first, second;
    CUDA(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
    CUDA(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
    cudaEvent_t event;
    CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < n; i++)
            pinned[i] = (float)(round + i);
        CUDA(cudaMemcpyAsync(d, pinned, n * sizeof *d, cudaMemcpyHostToDevice, first));
        launch(twice, dim3(2), dim3(128), 0, first, d, n);
        CUDA(cudaEventRecord(event, first));
        CUDA(cudaStreamWaitEvent(second, event, 0));
        launch(twice, dim3(2), dim3(128), 0, second, d, n);
        CUDA(cudaMemcpyAsync(pinned, d, n * sizeof *d, cudaMemcpyDeviceToHost, second));
        CUDA(cudaStreamSynchronize(second));
        for (int i = 0; i < n; i++)
            REQUIRE(pinned[i] == 4 * (float)(round + i));
    }
    CUDA(cudaEventDestroy(event));
    CUDA(cudaStreamDestroy(first));
    CUDA(cudaStreamDestroy(second));
    CUDA(cudaFree(d));
    CUDA(cudaFreeHost(pinned));
}

static __global__ void halves(__nv_bfloat16 *x, unsigned *both)
{
    SHARED(__nv_bfloat16, s, 64);
    unsigned i = threadIdx.x;
    s[i] = __float2bfloat16((float)i);
    __syncthreads();
    x[i] = s[63 - i];
    __syncthreads();
    if (i < 32)
        both[i] = reinterpret_cast<const unsigned *>(x)[i] + reinterpret_cast<unsigned *>(s)[i];
    __syncthreads();
    s[i] = x[i];
}

/* Two threads have the halves of each word, then one has the whole: no race. */
CASE(halves_of_words)
{
    unsigned both[32];
    __nv_bfloat16 *dx = on_device<__nv_bfloat16>(nullptr, 64);
    unsigned *dboth = on_device<unsigned>(nullptr, 32);
    launch(halves, dim3(1), dim3(64), 0, nullptr, dx, dboth);
    on_host(both, dboth, 32);
    for (unsigned i = 0; i < 32; i++) {
        auto bits = [](unsigned n) {
            return (unsigned)__bfloat16_as_ushort(__float2bfloat16((float)n));
        };
        REQUIRE(both[i] == bits(63 - 2 * i) + (bits(62 - 2 * i) << 16) + bits(2 * i) +
                               (bits(2 * i + 1) << 16));
    }
    CUDA(cudaFree(dx));
    CUDA(cudaFree(dboth));
}

static __global__ void handed_over(int *x)
{
    SHARED(int, s, 64);
    unsigned i = threadIdx.x;
    s[i] = (int)i;
    __syncwarp();
    int other = s[i ^ 1];
    __syncwarp();
    s[i] = other;
    x[i] = s[i];
}

CASE(syncwarp_orders)
{
    int x[64], *dx = on_device<int>(nullptr, 64);
    launch(handed_over, dim3(1), dim3(64), 0, nullptr, dx);
    on_host(x, dx, 64);
    for (int i = 0; i < 64; i++)
        REQUIRE(x[i] == (i ^ 1));
    CUDA(cudaFree(dx));
}

static __global__ void in_place(float *x, const float *common)
{
    const float table[] = {1, 10, 100,
                           1000}; /* the compiler makes a constant of the program of it */
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    x[i] = x[i] * common[threadIdx.x % 4] + table[threadIdx.x % 4];
}

/* All blocks read the same, each writes its own, launch after launch; freed memory is used again.
 */
CASE(launches_follow_each_other)
{
    const float common[] = {1, 2, 3, 4}, table[] = {1, 10, 100, 1000};
    float x[128];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 128; i++)
            x[i] = (float)i;
        float *dx = on_device(x, 128), *dcommon = on_device(common, 4);
        launch(in_place, dim3(4), dim3(32), 0, nullptr, dx, dcommon);
        launch(in_place, dim3(2), dim3(64), 0, nullptr, dx, dcommon);
        on_host(x, dx, 128);
        for (int i = 0; i < 128; i++) {
            float c = common[i % 4], t = table[i % 4];
            REQUIRE(x[i] == ((float)i * c + t) * c + t);
        }
        CUDA(cudaFree(dx));
        CUDA(cudaFree(dcommon));
    }
}

/* Columns of three products stand side by side in one matrix, as heads do: no overlap. */
CASE(interleaved_products)
{
    float a[3 * 4], b[4] = {1, 0, 0, 2}, c[12], one = 1, zero = 0;
    for (int i = 0; i < 12; i++)
        a[i] = (float)i;
    float *da = on_device(a, 12), *db = on_device(b, 4), *dc = on_device<float>(nullptr, 12);
    cublasHandle_t handle;
    CUBLAS(cublasCreate(&handle));
    CUBLAS(cublasGemmStridedBatchedEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, da,
                                      CUDA_R_32F, 6, 2, db, CUDA_R_32F, 2, 0, &zero, dc, CUDA_R_32F,
                                      6, 2, 3, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    CUBLAS(cublasDestroy(handle));
    on_host(c, dc, 12);
    for (int i = 0; i < 12; i++)
        REQUIRE(c[i] == (i < 6 ? a[i] : 2 * a[i]));
    for (float *p : {da, db, dc})
        CUDA(cudaFree(p));
}
