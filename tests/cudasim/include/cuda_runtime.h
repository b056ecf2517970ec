/* The part of CUDA's language and runtime that our kernels keep to, as plain C++17: the simulator's
 * stand-in for NVIDIA's header of this name. Names, values and meanings are NVIDIA's (CUDA C++
 * Programming Guide; CUDA Runtime API), so that a source compiles with either. */
#ifndef CUDASIM_CUDA_RUNTIME_H
#define CUDASIM_CUDA_RUNTIME_H

#include "cudasim.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* ---- the language ---- */

#define __CUDASIM__ 1
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

#define CUDASIM_VECTORS(base, name, alignment2, alignment4)                                        \
    struct alignas(alignment2) name##2                                                             \
    {                                                                                              \
        base x, y;                                                                                 \
    };                                                                                             \
    struct name##3                                                                                 \
    {                                                                                              \
        base x, y, z;                                                                              \
    };                                                                                             \
    struct alignas(alignment4) name##4                                                             \
    {                                                                                              \
        base x, y, z, w;                                                                           \
    };                                                                                             \
    static inline name##2 make_##name##2(base x, base y)                                           \
    {                                                                                              \
        return {x, y};                                                                             \
    }                                                                                              \
    static inline name##3 make_##name##3(base x, base y, base z)                                   \
    {                                                                                              \
        return {x, y, z};                                                                          \
    }                                                                                              \
    static inline name##4 make_##name##4(base x, base y, base z, base w)                           \
    {                                                                                              \
        return {x, y, z, w};                                                                       \
    }

CUDASIM_VECTORS(float, float, 8, 16)
CUDASIM_VECTORS(int, int, 8, 16)
CUDASIM_VECTORS(double, double, 16, 16)

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
static inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}

/* Functions, not variables: which thread runs changes at every barrier, and a variable's read would
 * look like one of a kernel's own accesses to memory. */
#define threadIdx (cudasim::thread_index())
#define blockIdx (cudasim::block_index())
#define blockDim (cudasim::block_size())
#define gridDim (cudasim::grid_size())

namespace cudasim
{
uint3 thread_index();
uint3 block_index();
dim3 block_size();
dim3 grid_size();
} // namespace cudasim

static constexpr int warpSize = 32;

/* ---- threads that meet ---- */

/* Barriers and warp operations know themselves by the line of the source that they stand in. */
#define CUDASIM_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

void __syncthreads(CUDASIM_HERE);
int __syncthreads_or(int predicate, CUDASIM_HERE);
int __syncthreads_and(int predicate, CUDASIM_HERE);
int __syncthreads_count(int predicate, CUDASIM_HERE);
void __syncwarp(unsigned mask = 0xffffffffu, CUDASIM_HERE);
unsigned __ballot_sync(unsigned mask, int predicate, CUDASIM_HERE);
int __any_sync(unsigned mask, int predicate, CUDASIM_HERE);
int __all_sync(unsigned mask, int predicate, CUDASIM_HERE);
unsigned __reduce_add_sync(unsigned mask, unsigned value, CUDASIM_HERE);
unsigned __reduce_min_sync(unsigned mask, unsigned value, CUDASIM_HERE);
unsigned __reduce_max_sync(unsigned mask, unsigned value, CUDASIM_HERE);
int __reduce_add_sync(unsigned mask, int value, CUDASIM_HERE);
int __reduce_min_sync(unsigned mask, int value, CUDASIM_HERE);
int __reduce_max_sync(unsigned mask, int value, CUDASIM_HERE);

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, CUDASIM_HERE)
{
    return cudasim::shuffle(cudasim::SHUFFLE, mask, value, source, width, file, line);
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, CUDASIM_HERE)
{
    return cudasim::shuffle(cudasim::SHUFFLE_UP, mask, value, (int)delta, width, file, line);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, CUDASIM_HERE)
{
    return cudasim::shuffle(cudasim::SHUFFLE_DOWN, mask, value, (int)delta, width, file, line);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize, CUDASIM_HERE)
{
    return cudasim::shuffle(cudasim::SHUFFLE_XOR, mask, value, lanes, width, file, line);
}

static inline void __threadfence()
{
}
static inline void __threadfence_block()
{
}

/* ---- atomic operations: each returns what was there before ---- */

int atomicAdd(int *to, int value);
unsigned atomicAdd(unsigned *to, unsigned value);
unsigned long long atomicAdd(unsigned long long *to, unsigned long long value);
float atomicAdd(float *to, float value);
double atomicAdd(double *to, double value);
int atomicMax(int *to, int value);
unsigned atomicMax(unsigned *to, unsigned value);
int atomicMin(int *to, int value);
unsigned atomicMin(unsigned *to, unsigned value);
int atomicOr(int *to, int value);
unsigned atomicOr(unsigned *to, unsigned value);
int atomicExch(int *to, int value);
unsigned atomicExch(unsigned *to, unsigned value);
float atomicExch(float *to, float value);
int atomicCAS(int *to, int expected, int value);
unsigned atomicCAS(unsigned *to, unsigned expected, unsigned value);
unsigned long long atomicCAS(unsigned long long *to, unsigned long long expected,
                             unsigned long long value);

/* ---- arithmetic ---- */

#define CUDASIM_MIN_MAX(type)                                                                      \
    static inline type min(type a, type b)                                                         \
    {                                                                                              \
        return b < a ? b : a;                                                                      \
    }                                                                                              \
    static inline type max(type a, type b)                                                         \
    {                                                                                              \
        return a < b ? b : a;                                                                      \
    }

CUDASIM_MIN_MAX(int)
CUDASIM_MIN_MAX(unsigned)
CUDASIM_MIN_MAX(long)
CUDASIM_MIN_MAX(unsigned long)
CUDASIM_MIN_MAX(long long)
CUDASIM_MIN_MAX(unsigned long long)

static inline float min(float a, float b)
{
    return fminf(a, b);
}
static inline float max(float a, float b)
{
    return fmaxf(a, b);
}
static inline double min(double a, double b)
{
    return fmin(a, b);
}
static inline double max(double a, double b)
{
    return fmax(a, b);
}

static inline float rsqrtf(float x)
{
    return 1 / sqrtf(x);
}
static inline double rsqrt(double x)
{
    return 1 / sqrt(x);
}

/* The GPU's fast ones are less exact than these. */
#define __expf expf
#define __logf logf
#define __log2f log2f
#define __sinf sinf
#define __cosf cosf
#define __powf powf

static inline float __fdividef(float a, float b)
{
    return a / b;
}
static inline float __fmul_rn(float a, float b)
{
    return a * b;
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline float __fsqrt_rn(float x)
{
    return sqrtf(x);
}
static inline float __frcp_rn(float x)
{
    return 1 / x;
}
static inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}

static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline int __mulhi(int a, int b)
{
    return (int)((int64_t)a * b >> 32);
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}

#define CUDASIM_REINTERPRET(name, to, from)                                                        \
    static inline to name(from x)                                                                  \
    {                                                                                              \
        to y;                                                                                      \
        memcpy(&y, &x, sizeof y);                                                                  \
        return y;                                                                                  \
    }

CUDASIM_REINTERPRET(__float_as_int, int, float)
CUDASIM_REINTERPRET(__float_as_uint, unsigned, float)
CUDASIM_REINTERPRET(__int_as_float, float, int)
CUDASIM_REINTERPRET(__uint_as_float, float, unsigned)
CUDASIM_REINTERPRET(__double_as_longlong, long long, double)
CUDASIM_REINTERPRET(__longlong_as_double, double, long long)

template <typename T> static inline T __ldg(const T *p)
{
    return *p;
}

/* ---- the runtime ---- */

enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidMemcpyDirection = 21,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchOutOfResources = 701,
};
typedef enum cudaError cudaError_t;

const char *cudaGetErrorName(cudaError_t);
const char *cudaGetErrorString(cudaError_t);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

/* Of NVIDIA's, the fields that a program may choose by. */
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    size_t sharedMemPerBlock;
    size_t sharedMemPerBlockOptin;
    size_t sharedMemPerMultiprocessor;
    int regsPerBlock;
    int warpSize;
    int maxThreadsPerBlock;
    int maxThreadsDim[3];
    int maxGridSize[3];
    int major, minor;
    int multiProcessorCount;
    int maxThreadsPerMultiProcessor;
    int l2CacheSize;
    int asyncEngineCount;
    int unifiedAddressing;
    int memoryPoolsSupported;
};

cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int index);
cudaError_t cudaGetDevice(int *index);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *, int index);
cudaError_t cudaDeviceSynchronize();

typedef struct cudasim_stream *cudaStream_t;
typedef struct cudasim_event *cudaEvent_t;

enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1 };
enum { cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2 };

cudaError_t cudaStreamCreate(cudaStream_t *);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t);
cudaError_t cudaStreamSynchronize(cudaStream_t);
cudaError_t cudaStreamQuery(cudaStream_t);
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned flags = 0);
cudaError_t cudaEventCreate(cudaEvent_t *);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t);
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t);
cudaError_t cudaEventQuery(cudaEvent_t);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to);

cudaError_t cudaMalloc(void **, size_t bytes);
cudaError_t cudaFree(void *);
cudaError_t cudaMallocAsync(void **, size_t bytes, cudaStream_t);
cudaError_t cudaFreeAsync(void *, cudaStream_t);
cudaError_t cudaMemGetInfo(size_t *free, size_t *total);

/* Pinned host memory, which asynchronous copies read and write while the host goes on. */
enum { cudaHostAllocDefault = 0, cudaHostAllocPortable = 1, cudaHostAllocWriteCombined = 4 };
cudaError_t cudaMallocHost(void **, size_t bytes);
cudaError_t cudaHostAlloc(void **, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *);

template <typename T> cudaError_t cudaMalloc(T **p, size_t bytes)
{
    return cudaMalloc(reinterpret_cast<void **>(p), bytes);
}
template <typename T> cudaError_t cudaMallocAsync(T **p, size_t bytes, cudaStream_t stream)
{
    return cudaMallocAsync(reinterpret_cast<void **>(p), bytes, stream);
}
template <typename T> cudaError_t cudaMallocHost(T **p, size_t bytes)
{
    return cudaMallocHost(reinterpret_cast<void **>(p), bytes);
}

typedef struct cudasim_pool *cudaMemPool_t;
enum cudaMemPoolAttr {
    cudaMemPoolAttrReleaseThreshold = 4,
    cudaMemPoolAttrReservedMemCurrent = 5,
    cudaMemPoolAttrReservedMemHigh = 6,
    cudaMemPoolAttrUsedMemCurrent = 7,
    cudaMemPoolAttrUsedMemHigh = 8,
};
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *, int index);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, enum cudaMemPoolAttr, void *value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, enum cudaMemPoolAttr, void *value);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t bytes);

enum cudaMemcpyKind {
    cudaMemcpyHostToHost = 0,
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3,
    cudaMemcpyDefault = 4,
};
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind,
                            cudaStream_t = nullptr);
cudaError_t cudaMemset(void *, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void *, int value, size_t bytes, cudaStream_t = nullptr);

enum cudaMemoryType {
    cudaMemoryTypeUnregistered = 0,
    cudaMemoryTypeHost = 1,
    cudaMemoryTypeDevice = 2,
};
struct cudaPointerAttributes {
    enum cudaMemoryType type;
    int device;
    void *devicePointer, *hostPointer;
};
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *, const void *);

enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
    cudaFuncAttributePreferredSharedMemoryCarveout = 9,
};
cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute, int value);
template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), enum cudaFuncAttribute attribute,
                                 int value)
{
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), attribute, value);
}

/* ---- launches ---- */

namespace cudasim
{

/* A launch that waits for its turn: the kernel's arguments, and how a thread calls it. */
struct kernel_call {
    virtual ~kernel_call() = default;
    virtual void run_thread() = 0;
};

template <typename... Parameters> struct kernel_call_of final : kernel_call {
    static_assert((std::is_trivially_copyable<Parameters>::value && ...),
                  "a kernel's arguments are copied by the byte");
    static_assert((sizeof(Parameters) + ... + 0) <= 4096, "too many bytes of arguments");
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;

    template <typename... Arguments>
    explicit kernel_call_of(void (*k)(Parameters...), Arguments... a) : kernel(k), arguments(a...)
    {
    }
    template <size_t... I> CUDASIM_UNCHECKED void call(std::index_sequence<I...>)
    {
        kernel(std::get<I>(arguments)...);
    }
    CUDASIM_UNCHECKED void run_thread() override
    {
        call(std::index_sequence_for<Parameters...>());
    }
};

template <typename T> std::pair<const void *, bool> pointer_in(const T &)
{
    return {nullptr, false};
}
template <typename T> std::pair<const void *, bool> pointer_in(T *p)
{
    return {p, true};
}

/* Checks the launch, sets cudaGetLastError()'s status where it cannot be, and queues it. Every
 * argument that is a pointer must be the device's. */
void launch_call(std::unique_ptr<kernel_call>, const void *kernel, dim3 grid, dim3 block,
                 size_t shared_bytes, cudaStream_t,
                 std::vector<std::pair<const void *, bool>> arguments);

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, Arguments... arguments)
{
    launch_call(std::make_unique<kernel_call_of<Parameters...>>(kernel, arguments...),
                reinterpret_cast<const void *>(kernel), grid, block, shared_bytes, stream,
                {pointer_in(arguments)...});
}

} // namespace cudasim

#endif
