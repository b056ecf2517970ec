/* Device memory: addresses of one reservation, so that a comparison tells whose a pointer is. Its
 * pages are mapped twice: where the program's pointers point, which only running kernels may reach,
 * and for the simulator's own copies and matrix products (host_view). */
#include "access.h"

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
/* Which allocation each page belongs to, for a quick answer: no two share a page. */
struct extent {
    uintptr_t begin, end;
};
static uint32_t *owners;
static std::vector<struct extent> extents;
static std::vector<uint32_t> free_extents;
static std::map<uintptr_t, size_t> holes; /* freed, and not used again until the end is reached */

/* ---- the host's access to device memory ---- */

static struct sigaction previous;

static void report_claim(const char *p);

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
    report_claim(p);
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

/* ---- what is left at the end ---- */

static std::map<uintptr_t, size_t> pinned;

static std::string described(uintptr_t, const std::pair<const uintptr_t, struct allocation> &);

/* A program that ends in an error leaves memory behind, and may. */
static void report_leaks(int status, void *)
{
    if (status != 0)
        return;
    wait_for_device();
    if (!allocations.empty())
        report("leak", "%zu allocations of device memory were not freed; the first: %s",
               allocations.size(),
               described(allocations.begin()->first, *allocations.begin()).c_str());
    if (!pinned.empty())
        report("leak", "%zu allocations of pinned memory were not freed", pinned.size());
}

/* ---- the reservation ---- */

[[noreturn]] static void no_reservation(const char *what)
{
    fprintf(stderr, "cudasim: %s: %s\n", what, strerror(errno));
    abort();
}

static void reserve()
{
    catch_faults();
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
    owners = (uint32_t *)mmap(nullptr, reserved / PAGE * sizeof *owners, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (owners == MAP_FAILED)
        no_reservation("device memory");
    extents.push_back({0, 0}); /* of pages without allocation */
    access_begin(device, reserved);
    on_exit(report_leaks, nullptr);
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

static void set_owner(uintptr_t p, size_t bytes, uint32_t owner)
{
    size_t first = (p - (uintptr_t)device) / PAGE,
           last = (p + bytes - 1 - (uintptr_t)device) / PAGE;
    std::fill(owners + first, owners + last + 1, owner);
}

static void own_pages(uintptr_t p, size_t bytes)
{
    uint32_t owner;
    if (free_extents.empty()) {
        owner = (uint32_t)extents.size();
        extents.push_back({});
    } else {
        owner = free_extents.back();
        free_extents.pop_back();
    }
    extents[owner] = {p, p + bytes};
    set_owner(p, bytes, owner);
}

static void disown_pages(uintptr_t p, size_t bytes)
{
    free_extents.push_back(owners[(p - (uintptr_t)device) / PAGE]);
    set_owner(p, bytes, 0);
}

bool is_allocated(const void *p, size_t bytes)
{
    const struct extent &e = extents[owners[(size_t)((const char *)p - device) / PAGE]];
    return (uintptr_t)p >= e.begin && (uintptr_t)p + bytes <= e.end;
}

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
    if (!sees_accesses)
        memset(host_view(*p), 0xff, bytes); /* NaN, for what nobody sets */
    ASAN_UNPOISON_MEMORY_REGION(*p, bytes);
    own_pages((uintptr_t)*p, bytes);
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
    disown_pages((uintptr_t)p, bytes);
    mark_unset(p, bytes);
    ASAN_POISON_MEMORY_REGION(p, bytes);
    leave_room((char *)p - OFFSET, bytes);
}

/* ---- whose a pointer is ---- */

/* Pinned memory that queued copies have yet to read or write. Pages that lie in it whole, the host
 * may not write, or not touch, until then; what else a copy will write holds NaN meanwhile. */
struct claim {
    const char *begin, *end;
    bool written;
};
static std::vector<struct claim> claims;

static const struct claim *claim_of(const char *begin, const char *end)
{
    const struct claim *found = nullptr;
    for (const struct claim &c : claims)
        if (c.begin <= begin && end <= c.end && (!found || c.written))
            found = &c;
    return found;
}

static char *first_page(const void *p)
{
    return (char *)(((uintptr_t)p + PAGE - 1) / PAGE * PAGE);
}

static void protect_pinned(const char *begin, const char *end)
{
    for (char *page = first_page(begin); page + PAGE <= end; page += PAGE) {
        const struct claim *c = claim_of(page, page + PAGE);
        mprotect(page, PAGE, !c ? PROT_READ | PROT_WRITE : c->written ? PROT_NONE : PROT_READ);
    }
}

/* For a copy whose turn it is, whatever later ones claim. */
static void open_pinned(const void *p, size_t bytes)
{
    char *begin = first_page(p), *end = (char *)p + bytes;
    if (settings().deferred && begin < end)
        mprotect(begin, (size_t)(end - begin) / PAGE * PAGE, PROT_READ | PROT_WRITE);
}

static void claim_pinned(const void *p, size_t bytes, bool written)
{
    if (!settings().deferred)
        return;
    catch_faults();
    const char *begin = (const char *)p, *end = begin + bytes;
    bool wanted = false; /* by a copy before this one */
    for (const struct claim &c : claims)
        wanted |= c.begin < end && begin < c.end;
    if (written && !wanted)
        memset((void *)p, 0xff, bytes);
    claims.push_back({begin, end, written});
    protect_pinned(begin, end);
}

static void release_pinned(const void *p, size_t bytes)
{
    if (!settings().deferred)
        return;
    const char *begin = (const char *)p, *end = begin + bytes;
    for (size_t i = 0; i < claims.size(); i++)
        if (claims[i].begin == begin && claims[i].end == end) {
            claims.erase(claims.begin() + (ptrdiff_t)i);
            break;
        }
    protect_pinned(begin, end);
}

static void report_claim(const char *p)
{
    if (const struct claim *c = claim_of(p, p + 1))
        report("stream",
               "the host uses pinned memory at %p, which a copy that it did not wait for "
               "has yet to %s",
               (const void *)p, c->written ? "write" : "read");
}

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

static std::string described(uintptr_t p, const std::pair<const uintptr_t, struct allocation> &a)
{
    return "byte " + std::to_string((ptrdiff_t)(p - a.first)) + " of " +
           std::to_string(a.second.bytes) + " allocated at " + source_line(a.second.caller);
}

std::string place_in_device_memory(const void *p)
{
    auto next = allocations.upper_bound((uintptr_t)p);
    if (next != allocations.begin()) {
        auto a = std::prev(next);
        if ((uintptr_t)p - a->first < a->second.bytes + PAGE)
            return described((uintptr_t)p, *a);
    }
    if (next != allocations.end() && next->first - (uintptr_t)p <= OFFSET)
        return described((uintptr_t)p, *next);
    return "where no device memory is allocated";
}

void require_device(const void *p, size_t bytes, const char *what)
{
    if (kind_of(p) != memory_kind::DEVICE)
        report("pointer", "%s: %p is the host's memory, the device's is due", what, p);
    /* The end of an array may be pointed to. */
    if (bytes > 0 && !is_allocated(p, bytes))
        report("bounds", "%s: %zu bytes, %s", what, bytes, place_in_device_memory(p).c_str());
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
    reserve();
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

/* claimed: which of them is pinned memory with a claim, or NULL. */
static void copy(void *to, const void *from, size_t bytes, const void *claimed)
{
    if (claimed)
        open_pinned(claimed, bytes);
    bool to_device = kind_of(to) == memory_kind::DEVICE;
    bool from_device = kind_of(from) == memory_kind::DEVICE;
    memmove(to_device ? host_view(to) : to, from_device ? host_view(from) : from, bytes);
    if (claimed)
        release_pinned(claimed, bytes);
    if (to_device && from_device)
        copy_marks(to, from, bytes);
    else if (to_device)
        mark_set(to, bytes);
    else if (from_device)
        require_set(from, bytes, "cudaMemcpy's source");
}

static enum cudaMemcpyKind check_copy(const char *call, void *to, const void *from, size_t bytes,
                                      enum cudaMemcpyKind kind)
{
    catch_faults();
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
        enqueue(stream, [=] { copy(to, bytes_now->data(), bytes, nullptr); });
        return cudaSuccess;
    }
    bool to_pinned = kind_of(to) == memory_kind::PINNED;
    const void *host = kind == cudaMemcpyHostToDevice ? from : to_pinned ? to : nullptr;
    if (host)
        claim_pinned(host, bytes, to_pinned);
    enqueue(stream, [=] { copy(to, from, bytes, host); });
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
    enqueue(nullptr, [=] { copy(to, from, bytes, nullptr); });
    wait_for_stream(nullptr);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    if (bytes == 0)
        return cudaSuccess;
    require_device(p, bytes, "cudaMemset's target");
    enqueue(stream, [=] {
        memset(host_view(p), value, bytes);
        mark_set(p, bytes);
    });
    return cudaSuccess;
}

cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    cudaError_t status = cudaMemsetAsync(p, value, bytes, nullptr);
    wait_for_stream(nullptr);
    return status;
}
