/* Device memory: addresses of one reservation, so that a comparison tells whose a pointer is. Its
 * pages are mapped twice: where the program's pointers point, which only running kernels may reach,
 * and for the simulator's own copies and matrix products (host_view). */
#include "simulator.h"

#include <errno.h>
#include <fcntl.h>
#include <map>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

namespace cudasim
{

constexpr size_t PAGE = 4096;
constexpr size_t OFFSET = 256; /* in a page, where an allocation starts: CUDA aligns no further */

struct allocation {
    size_t bytes;
    bool released; /* by cudaFreeAsync, whose turn has not come */
    const void *caller;
};

static char *device, *view;
static size_t reserved, high_water, in_use;
static int backing;
static std::map<uintptr_t, struct allocation> allocations;
static std::map<uintptr_t, size_t> holes; /* freed, and not used again until the end is reached */

/* ---- the host's access to device memory ---- */

static struct sigaction previous;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    const char *p = (const char *)info->si_addr;
    if (on_fiber_guard(p))
        report("stack", "a thread's stack overflows");
    if (p >= device && p < device + reserved) {
        if (running)
            report("bounds", "%p is no device memory that was allocated", (const void *)p);
        report("host", "the host reads or writes device memory at %p", (const void *)p);
    }
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
    } else {
        sigaction(signal, &previous, nullptr); /* and the instruction faults again */
    }
}

/* Again and again, for test frameworks set handlers of their own. */
static void catch_faults()
{
    struct sigaction now;
    sigaction(SIGSEGV, nullptr, &now);
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault)
        return;
    static char stack[64 << 10];
    stack_t old;
    if (sigaltstack(nullptr, &old) == 0 && (old.ss_flags & SS_DISABLE)) {
        stack_t own = {};
        own.ss_sp = stack;
        own.ss_size = sizeof stack;
        sigaltstack(&own, nullptr);
    }
    previous = now;
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
}

void open_device_memory()
{
    catch_faults();
    if (high_water)
        mprotect(device, high_water, PROT_READ | PROT_WRITE);
}

void close_device_memory()
{
    if (high_water)
        mprotect(device, high_water, PROT_NONE);
}

/* ---- the reservation ---- */

[[noreturn]] static void no_reservation(const char *what)
{
    fprintf(stderr, "cudasim: %s: %s\n", what, strerror(errno));
    abort();
}

static void reserve()
{
    if (device)
        return;
    reserved = (size_t)64 << 30;
    if (reserved < 4 * settings().memory)
        reserved = 4 * settings().memory;
    backing = memfd_create("cudasim", MFD_CLOEXEC);
    if (backing < 0 || ftruncate(backing, (off_t)reserved) != 0)
        no_reservation("device memory");
    void *a = mmap(nullptr, reserved, PROT_NONE, MAP_SHARED | MAP_NORESERVE, backing, 0);
    void *b =
        mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, backing, 0);
    if (a == MAP_FAILED || b == MAP_FAILED)
        no_reservation("device memory");
    madvise(a, reserved, MADV_DONTDUMP);
    madvise(b, reserved, MADV_DONTDUMP);
    device = (char *)a;
    view = (char *)b;
}

/* Room for an allocation, guards on both sides, in whole pages. */
static size_t span(size_t bytes)
{
    return (OFFSET + bytes + PAGE - 1) / PAGE * PAGE + PAGE;
}

static char *find_room(size_t bytes)
{
    size_t need = span(bytes);
    if (high_water + need <= reserved) {
        char *p = device + high_water;
        high_water += need;
        ASAN_POISON_MEMORY_REGION(p, need);
        return p;
    }
    for (auto hole = holes.begin(); hole != holes.end(); ++hole)
        if (hole->second >= need) {
            char *p = (char *)hole->first;
            size_t rest = hole->second - need;
            holes.erase(hole);
            if (rest)
                holes[(uintptr_t)p + need] = rest;
            return p;
        }
    return nullptr;
}

static void leave_room(char *p, size_t bytes)
{
    size_t size = span(bytes);
    fallocate(backing, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, p - device, (off_t)size);
    auto next = holes.lower_bound((uintptr_t)p);
    if (next != holes.end() && next->first == (uintptr_t)p + size) {
        size += next->second;
        next = holes.erase(next);
    }
    if (next != holes.begin()) {
        auto before = std::prev(next);
        if (before->first + before->second == (uintptr_t)p) {
            before->second += size;
            return;
        }
    }
    holes[(uintptr_t)p] = size;
}

void *host_view(const void *p)
{
    return view + ((const char *)p - device);
}

/* ---- allocations ---- */

static cudaError_t allocate(void **p, size_t bytes, const void *caller)
{
    reserve();
    *p = nullptr;
    if (bytes == 0)
        return cudaSuccess;
    if (fails(FAIL_MALLOC) || bytes > settings().memory - in_use)
        return set_error(cudaErrorMemoryAllocation);
    char *room = find_room(bytes);
    if (!room)
        return set_error(cudaErrorMemoryAllocation);
    *p = room + OFFSET;
    ASAN_UNPOISON_MEMORY_REGION(*p, bytes);
    memset(host_view(*p), 0xff, bytes); /* NaN, for what nobody sets */
    allocations[(uintptr_t)*p] = {bytes, false, caller};
    in_use += bytes;
    return cudaSuccess;
}

static std::map<uintptr_t, struct allocation>::iterator find_exactly(void *p, const char *call,
                                                                     const void *caller)
{
    auto a = allocations.find((uintptr_t)p);
    if (a == allocations.end() || a->second.released)
        report_at(caller, "free", "%s(%p): %s", call, p,
                  a != allocations.end()              ? "freed already"
                  : kind_of(p) == memory_kind::DEVICE ? "no allocation starts there, or it was "
                                                        "freed already"
                                                      : "is no device memory");
    return a;
}

static void forget(void *p)
{
    auto a = allocations.find((uintptr_t)p);
    size_t bytes = a->second.bytes;
    in_use -= bytes;
    allocations.erase(a);
    ASAN_POISON_MEMORY_REGION(p, bytes);
    leave_room((char *)p - OFFSET, bytes);
}

/* ---- whose a pointer is ---- */

static std::map<uintptr_t, size_t> pinned;

enum memory_kind kind_of(const void *p)
{
    if (device && (const char *)p >= device && (const char *)p < device + reserved)
        return memory_kind::DEVICE;
    auto next = pinned.upper_bound((uintptr_t)p);
    if (next != pinned.begin()) {
        auto a = std::prev(next);
        if ((uintptr_t)p - a->first < a->second)
            return memory_kind::PINNED;
    }
    return memory_kind::PAGEABLE;
}

void require_device(const void *p, size_t bytes, const char *what)
{
    if (kind_of(p) != memory_kind::DEVICE)
        report("pointer", "%s: %p is the host's memory, the device's is due", what, p);
    auto next = allocations.upper_bound((uintptr_t)p);
    if (next != allocations.begin()) {
        auto a = std::prev(next);
        size_t offset = (uintptr_t)p - a->first;
        if (offset + bytes <= a->second.bytes)
            return;
        if (offset < a->second.bytes)
            report("bounds", "%s: %zu bytes at %p, byte %zu of an allocation of %zu", what, bytes,
                   p, offset, a->second.bytes);
    }
    /* The end of an array may be pointed to. */
    if (bytes > 0)
        report("bounds", "%s: no device memory is allocated at %p", what, p);
}

void require_host(const void *p, const char *what)
{
    if (kind_of(p) == memory_kind::DEVICE)
        report("pointer", "%s: %p is the device's memory, the host's is due", what, p);
}

} // namespace cudasim

using namespace cudasim;

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    return allocate(p, bytes, __builtin_return_address(0));
}

cudaError_t cudaMallocAsync(void **p, size_t bytes, cudaStream_t)
{
    return allocate(p, bytes, __builtin_return_address(0));
}

cudaError_t cudaFree(void *p)
{
    wait_for_device();
    if (p) {
        find_exactly(p, "cudaFree", __builtin_return_address(0));
        forget(p);
    }
    return cudaSuccess;
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t stream)
{
    if (p) {
        find_exactly(p, "cudaFreeAsync", __builtin_return_address(0))->second.released = true;
        enqueue(stream, [p] { forget(p); });
    }
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    *total = settings().memory;
    *free = *total - in_use;
    return cudaSuccess;
}

/* A pool that keeps nothing: what is released is free at once. */
struct cudasim_pool {
    uint64_t threshold;
};

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int)
{
    static struct cudasim_pool p;
    *pool = &p;
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    if (attribute != cudaMemPoolAttrReleaseThreshold)
        return set_error(cudaErrorInvalidValue);
    pool->threshold = *(const uint64_t *)value;
    return cudaSuccess;
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    uint64_t v = attribute == cudaMemPoolAttrReleaseThreshold ? pool->threshold : in_use;
    memcpy(value, &v, sizeof v);
    return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t)
{
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    return cudaHostAlloc(p, bytes, cudaHostAllocDefault);
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    *p = nullptr;
    if (fails(FAIL_MALLOC))
        return set_error(cudaErrorMemoryAllocation);
    size_t size = (bytes + PAGE - 1) / PAGE * PAGE;
    void *q = mmap(nullptr, size ? size : PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    if (q == MAP_FAILED)
        return set_error(cudaErrorMemoryAllocation);
    pinned[(uintptr_t)q] = size ? size : PAGE;
    *p = q;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    if (!p)
        return cudaSuccess;
    wait_for_device();
    auto a = pinned.find((uintptr_t)p);
    if (a == pinned.end())
        report_at(__builtin_return_address(0), "free", "cudaFreeHost(%p): is no pinned memory", p);
    munmap(p, a->second);
    pinned.erase(a);
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p)
{
    enum memory_kind kind = kind_of(p);
    a->type = kind == memory_kind::DEVICE   ? cudaMemoryTypeDevice
              : kind == memory_kind::PINNED ? cudaMemoryTypeHost
                                            : cudaMemoryTypeUnregistered;
    a->device = kind == memory_kind::PAGEABLE ? -2 : 0;
    a->devicePointer = kind == memory_kind::PAGEABLE ? nullptr : (void *)p;
    a->hostPointer = kind == memory_kind::DEVICE ? nullptr : (void *)p;
    return cudaSuccess;
}

/* ---- copies ---- */

static void copy(void *to, const void *from, size_t bytes)
{
    memmove(kind_of(to) == memory_kind::DEVICE ? host_view(to) : to,
            kind_of(from) == memory_kind::DEVICE ? host_view(from) : from, bytes);
}

static enum cudaMemcpyKind check_copy(const char *call, void *to, const void *from, size_t bytes,
                                      enum cudaMemcpyKind kind)
{
    std::string target = std::string(call) + "'s target", source = std::string(call) + "'s source";
    bool to_device = kind_of(to) == memory_kind::DEVICE;
    bool from_device = kind_of(from) == memory_kind::DEVICE;
    if (kind == cudaMemcpyDefault)
        kind = to_device ? from_device ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice
                         : (from_device ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
    if (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice)
        require_device(to, bytes, target.c_str());
    else
        require_host(to, target.c_str());
    if (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice)
        require_device(from, bytes, source.c_str());
    else
        require_host(from, source.c_str());
    return kind;
}

/* Pinned memory that queued copies have yet to read. */
struct source {
    const char *from;
    size_t bytes;
};
static std::vector<struct source> sources;

static void forget_source(const void *from)
{
    for (size_t i = 0; i < sources.size(); i++)
        if (sources[i].from == from) {
            sources.erase(sources.begin() + (ptrdiff_t)i);
            return;
        }
}

static bool is_source(const void *p, size_t bytes)
{
    for (const struct source &s : sources)
        if (s.from < (const char *)p + bytes && (const char *)p < s.from + s.bytes)
            return true;
    return false;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    if (bytes == 0)
        return cudaSuccess;
    kind = check_copy("cudaMemcpyAsync", to, from, bytes, kind);
    if (fails(FAIL_MEMCPY))
        return set_error(cudaErrorIllegalAddress);
    bool from_pageable = kind_of(from) == memory_kind::PAGEABLE;
    if (kind == cudaMemcpyHostToDevice && from_pageable) {
        /* Read before the call returns (CUDA Runtime API, "API synchronization behavior"). */
        auto bytes_now = std::make_shared<std::string>((const char *)from, bytes);
        enqueue(stream, [=] { copy(to, bytes_now->data(), bytes); });
        return cudaSuccess;
    }
    if (kind == cudaMemcpyHostToDevice) {
        sources.push_back({(const char *)from, bytes});
        enqueue(stream, [=] {
            forget_source(from);
            copy(to, from, bytes);
        });
        return cudaSuccess;
    }
    if (kind == cudaMemcpyDeviceToHost && kind_of(to) == memory_kind::PINNED &&
        settings().deferred && !is_source(to, bytes))
        memset(to, 0xff, bytes); /* not there yet, for whoever does not wait */
    enqueue(stream, [=] { copy(to, from, bytes); });
    if (kind == cudaMemcpyHostToHost || kind_of(to) == memory_kind::PAGEABLE)
        wait_for_stream(stream);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    if (bytes == 0)
        return cudaSuccess;
    check_copy("cudaMemcpy", to, from, bytes, kind);
    if (fails(FAIL_MEMCPY))
        return set_error(cudaErrorIllegalAddress);
    enqueue(nullptr, [=] { copy(to, from, bytes); });
    wait_for_stream(nullptr);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    if (bytes == 0)
        return cudaSuccess;
    require_device(p, bytes, "cudaMemset's target");
    enqueue(stream, [=] { memset(host_view(p), value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    cudaError_t status = cudaMemsetAsync(p, value, bytes, nullptr);
    wait_for_stream(nullptr);
    return status;
}
