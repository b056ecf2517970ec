/* Pinned host memory, which asynchronous copies read and write while the host goes on. Where work
 * is deferred, a queued copy claims its part until it is done: of pages that lie in it whole, the
 * host may not write those that will be read, nor touch those that will be written; what else will
 * be written holds NaN meanwhile, and what will be read must not have changed. */
#include "simulator.h"

#include <map>
#include <sys/mman.h>

namespace cudasim
{

static std::map<uintptr_t, size_t> pinned; /* address, bytes */

bool is_pinned(const void *p)
{
    auto next = pinned.upper_bound((uintptr_t)p);
    if (next == pinned.begin())
        return false;
    auto a = std::prev(next);
    return (uintptr_t)p - a->first < a->second;
}

size_t pinned_allocations()
{
    return pinned.size();
}

/* ---- claims ---- */

/* Of a queued copy. */
struct claim {
    const char *begin, *end;
    bool written;         /* by the copy; else read */
    std::string contents; /* that it is to read; empty where an earlier copy may change them */
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

void open_pinned(const void *p, size_t bytes)
{
    if (!settings().deferred)
        return;
    char *begin = first_page(p), *end = (char *)p + bytes;
    if (begin < end)
        mprotect(begin, (size_t)(end - begin) / PAGE * PAGE, PROT_READ | PROT_WRITE);
    for (const struct claim &c : claims)
        if (c.begin == p && c.end == end && !c.contents.empty() &&
            memcmp(p, c.contents.data(), bytes) != 0)
            report("stream", "pinned memory at %p changed before the queued copy from it was done",
                   p);
}

void claim_pinned(const void *p, size_t bytes, bool written)
{
    if (!settings().deferred)
        return;
    catch_faults();
    const char *begin = (const char *)p, *end = begin + bytes;
    bool alone = true;
    for (const struct claim &c : claims)
        alone &= !(c.begin < end && begin < c.end);
    if (written && alone)
        memset((void *)p, 0xff, bytes);
    claims.push_back({begin, end, written, {}});
    if (!written && alone)
        claims.back().contents.assign(begin, bytes);
    protect_pinned(begin, end);
}

void release_pinned(const void *p, size_t bytes)
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

void report_claim(const char *p)
{
    if (const struct claim *c = claim_of(p, p + 1))
        report("stream",
               "the host uses pinned memory at %p, which a copy that it did not wait for "
               "has yet to %s",
               (const void *)p, c->written ? "write" : "read");
}

} // namespace cudasim

using namespace cudasim;

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    return cudaHostAlloc(p, bytes, cudaHostAllocDefault);
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    reserve();
    *p = nullptr;
    if (fails(FAIL_MALLOC) || fails(FAIL_MEMORY))
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
