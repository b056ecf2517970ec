/* Device memory: addresses of one reservation, so that a comparison tells whose a pointer is. Its
 * pages are mapped twice: where the program's pointers point, which only running kernels may reach,
 * and for the simulator's own copies and matrix products (host_view). */
#include "access.h"

#include <errno.h>
#include <fcntl.h>
#include <map>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What cudaFreeAsync has released stays with the pool, which gives it to those alone who ask for as
 * many bytes: the worst that fragments can do. */
struct cudasim_pool {
    uint64_t threshold;         /* it keeps no more */
    size_t bytes;               /* that it keeps */
    std::map<size_t, int> kept; /* bytes of an allocation, how many */
};

namespace cudasim
{

/* Closing takes time by the page: after each launch up to so many bytes, each second up to twice as
 * many, and so on. */
constexpr size_t CLOSE_STEP = 8 << 20;
/* Freed addresses are left alone, so that their use is found, until so many bytes more than twice
 * what is in use have been given out: opening and closing takes time by the address, too. */
constexpr size_t FRESH = 256 << 20;
constexpr size_t OFFSET = 256; /* in a page, where an allocation starts: CUDA aligns no further */

struct allocation {
    size_t bytes;
    bool released; /* by cudaFreeAsync, whose turn has not come */
    const void *caller;
};

static char *device, *view;
static size_t reserved, high_water, in_use;
static struct cudasim_pool pool;
static int backing;
static std::map<uintptr_t, struct allocation> allocations;
uintptr_t device_begin;
uint32_t *owners;
struct extent *extents;
static size_t n_extents;
static std::vector<uint32_t> free_extents;
static std::map<uintptr_t, size_t> holes; /* freed: address, bytes */

/* ---- the host's access to device memory ---- */

void open_device_memory()
{
    catch_faults();
    if (high_water)
        mprotect(device, high_water, PROT_READ | PROT_WRITE);
}

void close_device_memory()
{
    static uint64_t launches;
    if (high_water && ++launches % (1 + in_use / CLOSE_STEP) == 0)
        mprotect(device, high_water, PROT_NONE);
}

/* ---- what is left at the end ---- */

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
    if (live_streams_and_events() > 0)
        report("leak", "%zu streams and events were not destroyed", live_streams_and_events());
    if (pinned_allocations() > 0)
        report("leak", "%zu allocations of pinned memory were not freed", pinned_allocations());
}

/* ---- the reservation ---- */

[[noreturn]] static void no_reservation(const char *what)
{
    fprintf(stderr, "cudasim: %s: %s\n", what, strerror(errno));
    abort();
}

/* An entry for each page. */
static void *table(size_t bytes)
{
    void *p = mmap(nullptr, reserved / PAGE * bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        no_reservation("device memory");
    return p;
}

void reserve()
{
    require_owner();
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
    owners = (uint32_t *)table(sizeof *owners);
    extents = (struct extent *)table(sizeof *extents);
    n_extents = 1; /* the first, of pages without allocation, is empty */
    device_begin = (uintptr_t)device;
    access_begin(device, reserved);
    on_exit(report_leaks, nullptr);
}

/* Room for an allocation, guards on both sides, in whole pages. */
static size_t span(size_t bytes)
{
    return (OFFSET + bytes + PAGE - 1) / PAGE * PAGE + PAGE;
}

static char *new_room(size_t need)
{
    if (high_water + need > reserved)
        return nullptr;
    char *p = device + high_water;
    high_water += need;
    ASAN_POISON_MEMORY_REGION(p, need);
    return p;
}

static char *used_room(size_t need)
{
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

static char *find_room(size_t bytes)
{
    size_t need = span(bytes);
    char *p = nullptr;
    if (high_water > FRESH + 2 * in_use)
        p = used_room(need);
    if (!p)
        p = new_room(need);
    return p ? p : used_room(need);
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
        owner = (uint32_t)n_extents++;
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

static size_t free_memory()
{
    return settings().memory - in_use - pool.bytes;
}

static bool take_from_pool(size_t bytes)
{
    auto same = pool.kept.find(bytes);
    if (same == pool.kept.end() || same->second == 0)
        return false;
    same->second--;
    pool.bytes -= bytes;
    return true;
}

static void leave_to_pool(size_t bytes)
{
    if (pool.bytes + bytes > pool.threshold)
        return;
    pool.kept[bytes]++;
    pool.bytes += bytes;
}

static cudaError_t allocate(void **p, size_t bytes, bool pooled, const void *caller)
{
    reserve();
    *p = nullptr;
    if (bytes == 0 || device_status() != cudaSuccess)
        return device_status();
    if (fails(FAIL_MALLOC) || fails(FAIL_MEMORY) ||
        (!(pooled && take_from_pool(bytes)) && bytes > free_memory()))
        return set_error(cudaErrorMemoryAllocation);
    char *room = find_room(bytes);
    if (!room)
        return set_error(cudaErrorMemoryAllocation);
    *p = room + OFFSET;
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
    forget_marks((char *)p - OFFSET, span(bytes));
    ASAN_POISON_MEMORY_REGION(p, bytes);
    leave_room((char *)p - OFFSET, bytes);
}

/* ---- whose a pointer is ---- */

enum memory_kind kind_of(const void *p)
{
    if (device && (const char *)p >= device && (const char *)p < device + reserved)
        return memory_kind::DEVICE;
    return is_pinned(p) ? memory_kind::PINNED : memory_kind::PAGEABLE;
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
    return allocate(p, bytes, false, __builtin_return_address(0));
}

cudaError_t cudaMallocAsync(void **p, size_t bytes, cudaStream_t)
{
    return allocate(p, bytes, true, __builtin_return_address(0));
}

cudaError_t cudaFree(void *p)
{
    wait_for_device();
    if (p) {
        find_exactly(p, "cudaFree", __builtin_return_address(0));
        forget(p);
    }
    return device_status();
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t stream)
{
    if (p) {
        find_exactly(p, "cudaFreeAsync", __builtin_return_address(0))->second.released = true;
        enqueue(stream, [p] {
            leave_to_pool(allocations.find((uintptr_t)p)->second.bytes);
            forget(p);
        });
    }
    return device_status();
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    *total = settings().memory;
    *free = free_memory();
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *the_pool, int)
{
    *the_pool = &pool;
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, enum cudaMemPoolAttr attribute, void *value)
{
    if (attribute != cudaMemPoolAttrReleaseThreshold)
        return set_error(cudaErrorInvalidValue);
    memcpy(&pool.threshold, value, sizeof pool.threshold);
    return cudaSuccess;
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, enum cudaMemPoolAttr attribute, void *value)
{
    uint64_t v = in_use;
    if (attribute == cudaMemPoolAttrReleaseThreshold)
        v = pool.threshold;
    else if (attribute == cudaMemPoolAttrReservedMemCurrent)
        v += pool.bytes;
    memcpy(value, &v, sizeof v);
    return cudaSuccess;
}

/* To nothing, whatever else is asked for. */
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t)
{
    pool.kept.clear();
    pool.bytes = 0;
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
