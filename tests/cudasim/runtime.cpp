/* The device's properties, errors, and launches. */
#include "simulator.h"

#include <map>
#include <pthread.h>
#include <stdio.h>

namespace cudasim
{

static cudaError_t last_error = cudaSuccess, broken_by = cudaSuccess;

cudaError_t set_error(cudaError_t status)
{
    return last_error = status;
}

void break_down(cudaError_t status)
{
    broken_by = status;
}

cudaError_t device_status()
{
    return broken_by;
}

void require_owner()
{
    static const pthread_t owner = pthread_self();
    if (!pthread_equal(owner, pthread_self()))
        report("thread", "a second thread of the program uses the device");
}

static void run_kernel(const struct launched &l)
{
    if (fails(FAIL_KERNEL))
        break_down(cudaErrorIllegalAddress);
    else
        run_grid(l);
}

constexpr unsigned MAX_THREADS = 1024, MAX_BLOCK_Z = 64;
constexpr unsigned MAX_GRID_X = 0x7fffffff, MAX_GRID_YZ = 65535;

static std::map<const void *, size_t> dynamic_limits; /* of kernels that asked for more */

static bool can_be_launched(const void *kernel, dim3 grid, dim3 block, size_t shared_bytes)
{
    auto limit = dynamic_limits.find(kernel);
    return grid.x && grid.y && grid.z && block.x && block.y && block.z && grid.x <= MAX_GRID_X &&
           grid.y <= MAX_GRID_YZ && grid.z <= MAX_GRID_YZ && block.x <= MAX_THREADS &&
           block.y <= MAX_THREADS && block.z <= MAX_BLOCK_Z &&
           (uint64_t)block.x * block.y * block.z <= MAX_THREADS &&
           shared_bytes <= (limit == dynamic_limits.end() ? SHARED_STATIC_LIMIT : limit->second);
}

void launch_call(std::unique_ptr<kernel_call> call, const void *kernel, dim3 grid, dim3 block,
                 size_t shared_bytes, cudaStream_t stream,
                 std::vector<std::pair<const void *, bool>> arguments)
{
    require_owner();
    auto l = std::make_shared<struct launched>();
    l->call = std::move(call);
    l->kernel = kernel;
    l->grid = grid;
    l->block = block;
    l->shared_bytes = shared_bytes;
    if (!can_be_launched(kernel, grid, block, shared_bytes)) {
        set_error(cudaErrorInvalidConfiguration);
        return;
    }
    if (fails(FAIL_LAUNCH)) {
        set_error(cudaErrorLaunchOutOfResources);
        return;
    }
    for (size_t i = 0; i < arguments.size(); i++)
        if (arguments[i].second && arguments[i].first &&
            kind_of(arguments[i].first) == memory_kind::PAGEABLE) {
            std::string what =
                "argument " + std::to_string(i + 1) + " of kernel " + kernel_name(kernel);
            require_device(arguments[i].first, 0, what.c_str());
        }
    enqueue(stream, [l] { run_kernel(*l); });
}

} // namespace cudasim

using namespace cudasim;

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute, int value)
{
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
        return cudaSuccess;
    if (value < 0 || (size_t)value > SHARED_OPTIN_LIMIT)
        return set_error(cudaErrorInvalidValue);
    dynamic_limits[kernel] = (size_t)value;
    return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
    cudaError_t status = cudaPeekAtLastError();
    last_error = cudaSuccess;
    return status;
}

cudaError_t cudaPeekAtLastError()
{
    return broken_by == cudaSuccess ? last_error : broken_by;
}

struct error_text {
    cudaError_t status;
    const char *name, *text;
};

static const struct error_text errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection",
     "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources",
     "too many resources requested for launch"},
};

static const struct error_text &text_of(cudaError_t status)
{
    static const struct error_text unknown = {cudaSuccess, "cudaErrorUnknown", "unknown error"};
    for (const struct error_text &e : errors)
        if (e.status == status)
            return e;
    return unknown;
}

const char *cudaGetErrorName(cudaError_t status)
{
    return text_of(status).name;
}

const char *cudaGetErrorString(cudaError_t status)
{
    return text_of(status).text;
}

/* ---- the one device ---- */

constexpr int CUDA_VERSION = 12000, OLD_VERSION = 11020;

cudaError_t cudaDriverGetVersion(int *version)
{
    enum driver_state driver = settings().driver;
    *version = driver == driver_state::NONE  ? 0
               : driver == driver_state::OLD ? OLD_VERSION
                                             : CUDA_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDA_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    enum driver_state driver = settings().driver;
    *count = driver == driver_state::LOST_GPU
                 ? 2
                 : driver == driver_state::GOOD || driver == driver_state::OLD_GPU;
    if (*count)
        return cudaSuccess;
    return set_error(driver == driver_state::NO_GPU ? cudaErrorNoDevice
                                                    : cudaErrorInsufficientDriver);
}

cudaError_t cudaSetDevice(int index)
{
    return index == 0 ? cudaSuccess : set_error(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int *index)
{
    *index = 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int index)
{
    if (index != 0)
        return set_error(cudaErrorInvalidDevice);
    *p = {};
    snprintf(p->name, sizeof p->name, "CUDA simulator");
    p->totalGlobalMem = settings().memory;
    p->sharedMemPerBlock = SHARED_STATIC_LIMIT;
    p->sharedMemPerBlockOptin = SHARED_OPTIN_LIMIT;
    p->sharedMemPerMultiprocessor = SHARED_OPTIN_LIMIT + 1024;
    p->regsPerBlock = 65536;
    p->warpSize = warpSize;
    p->maxThreadsPerBlock = MAX_THREADS;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = MAX_THREADS;
    p->maxThreadsDim[2] = MAX_BLOCK_Z;
    p->maxGridSize[0] = MAX_GRID_X;
    p->maxGridSize[1] = p->maxGridSize[2] = MAX_GRID_YZ;
    p->major = settings().driver == driver_state::OLD_GPU ? 7 : 8;
    p->multiProcessorCount = 4;
    p->maxThreadsPerMultiProcessor = 2048;
    p->l2CacheSize = 40 << 20;
    p->asyncEngineCount = 2;
    p->unifiedAddressing = 1;
    p->memoryPoolsSupported = 1;
    return cudaSuccess;
}
