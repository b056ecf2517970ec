/* Every access of a kernel to memory. g++ -fsanitize=thread puts a call before each; the functions
 * that it calls are here instead of in its library. They find what is outside of allocations, what
 * nobody set, and races: two accesses to a word, not both reads and not both atomic, that nothing
 * orders.
 *
 * Blocks run one after another and threads take turns, so the last write and the last reads of each
 * word are enough: an access is checked against them and replaces them. What orders accesses: the
 * barrier between them within a block, __syncwarp() by all lanes within a warp, and nothing between
 * blocks of a launch. Halves of words are told apart when one is touched alone; accesses to single
 * bytes are not checked for races.
 *
 * Under AddressSanitizer kernels do not call these, and nothing is known of what they set. */
#include "access.h"

#include <algorithm>
#include <link.h>
#include <sys/mman.h>

/* All that a hook does, in one function. */
#define INLINE inline __attribute__((always_inline))

namespace cudasim
{

struct accessor accessor;

/* ---- who touched a word ---- */

enum : uint16_t {
    THREAD = 1023,         /* number in its block */
    ATOMIC = 1 << 10,      /* they were atomic writes */
    MANY_LANES = 1 << 11,  /* other lanes of the warp did, too, unordered with it */
    MANY_WARPS = 1 << 12,  /* other warps did in this interval */
    MANY_BLOCKS = 1 << 13, /* other blocks did in this launch */
    SPLIT = 1 << 14,       /* of a word's write: the other half has its own cell */
};

/* The last access, or the last of several that are unordered. */
struct record {
    uint32_t interval; /* 0: none */
    uint32_t pc;       /* from `anchor` on */
    uint16_t bits, sync;
};

struct cell {
    struct record write, read;
};

/* Memory that is looked after: a reservation of the device's memory, or shared memory. */
struct space {
    uintptr_t begin;
    size_t bytes;
    uint8_t *set;               /* a bit a byte */
    struct cell *words, *upper; /* of each 4 bytes: all, or the lower half; the upper half */
};

static struct space device, shared;
static uint8_t *shared_allocated; /* a bit a byte */

static uint32_t interval, launch_first, block_first;
static std::vector<std::pair<uint32_t, uint64_t>>
    blocks; /* of this launch: first interval, number */

static const char anchor = 0;

void access_begin_grid()
{
    if (interval > UINT32_MAX / 2) { /* old numbers must not come again */
        for (struct space *s : {&device, &shared}) {
            madvise(s->words, s->bytes / 4 * sizeof(struct cell), MADV_DONTNEED);
            madvise(s->upper, s->bytes / 4 * sizeof(struct cell), MADV_DONTNEED);
        }
        interval = 0;
    }
    launch_first = interval + 1;
    blocks.clear();
}

void access_begin_block(uint64_t block)
{
    block_first = ++interval;
    if (sees_accesses)
        blocks.emplace_back(block_first, block);
}

void access_next_interval()
{
    interval++;
}

static INLINE bool is_unordered(const struct record &r, uint32_t first)
{
    if (r.interval < first)
        return false;
    if (r.bits & MANY_BLOCKS || r.interval < block_first)
        return true;
    if (r.interval != interval)
        return false;
    if (r.bits & MANY_WARPS || (r.bits & THREAD) / warpSize != accessor.thread / warpSize)
        return true;
    return r.sync == accessor.sync && (r.bits & MANY_LANES || (r.bits & THREAD) != accessor.thread);
}

static INLINE void note(struct record *r, uint32_t first, bool atomic, const void *pc)
{
    unsigned bits = (r->bits & SPLIT) | accessor.thread;
    if (atomic)
        bits |= ATOMIC;
    if (r->interval >= first && (r->bits & MANY_BLOCKS || r->interval < block_first))
        bits |= MANY_BLOCKS;
    if (r->interval == interval) {
        unsigned thread = r->bits & THREAD;
        if (r->bits & MANY_WARPS || thread / warpSize != accessor.thread / (unsigned)warpSize)
            bits |= MANY_WARPS;
        else if (r->sync == accessor.sync && (r->bits & MANY_LANES || thread != accessor.thread))
            bits |= MANY_LANES;
    }
    *r = {interval, (uint32_t)((uintptr_t)pc - (uintptr_t)&anchor), (uint16_t)bits, accessor.sync};
}

/* How an access conflicts with an earlier one, `culprit`. */
enum class conflict { NONE, WITH_WRITE, WITH_READ };
static struct record culprit;

static enum conflict blame(const struct record &r, enum conflict what)
{
    culprit = r;
    return what;
}

static INLINE enum conflict touch(struct cell *c, uint32_t first, enum access_kind kind,
                                  const void *pc)
{
    bool atomic = kind == access_kind::ATOMIC;
    if (__builtin_expect(is_unordered(c->write, first), 0) && !(atomic && c->write.bits & ATOMIC))
        return blame(c->write, conflict::WITH_WRITE);
    if (kind == access_kind::READ) {
        note(&c->read, first, false, pc);
        return conflict::NONE;
    }
    if (__builtin_expect(is_unordered(c->read, first), 0))
        return blame(c->read, conflict::WITH_READ);
    note(&c->write, first, atomic, pc);
    c->read.interval = 0; /* whatever conflicts with those reads, conflicts with this write */
    return conflict::NONE;
}

static INLINE enum conflict touch_word(const struct space &s, size_t word, uint32_t first,
                                       enum access_kind kind, const void *pc)
{
    struct cell *c = s.words + word;
    enum conflict found = touch(c, first, kind, pc);
    if (c->write.bits & SPLIT) {
        if (found == conflict::NONE)
            found = touch(s.upper + word, first, kind, pc);
        if (kind != access_kind::READ)
            c->write.bits &= (uint16_t)~SPLIT;
    }
    return found;
}

static INLINE enum conflict touch_half(const struct space &s, size_t offset, uint32_t first,
                                       enum access_kind kind, const void *pc)
{
    struct cell *c = s.words + offset / 4, *upper = s.upper + offset / 4;
    if (!(c->write.bits & SPLIT)) {
        *upper = *c;
        c->write.bits |= SPLIT;
    }
    return touch(offset & 2 ? upper : c, first, kind, pc);
}

/* Of what is no multiple of two bytes, the rest is left out. */
static INLINE enum conflict touch_bytes(const struct space &s, size_t offset, size_t bytes,
                                        enum access_kind kind, const void *pc)
{
    uint32_t first = &s == &device ? launch_first : block_first;
    if (bytes == 4 && offset % 4 == 0)
        return touch_word(s, offset / 4, first, kind, pc);
    enum conflict found = conflict::NONE;
    size_t end = offset + bytes;
    for (offset += offset % 2; offset + 2 <= end && found == conflict::NONE;) {
        bool whole = offset % 4 == 0 && offset + 4 <= end;
        found = whole ? touch_word(s, offset / 4, first, kind, pc)
                      : touch_half(s, offset, first, kind, pc);
        offset += whole ? 4 : 2;
    }
    return found;
}

static const char *verb(enum access_kind kind)
{
    return kind == access_kind::READ ? "reads" : "writes";
}

static std::string place_in(const struct space &s, const void *p)
{
    return &s == &device ? place_in_device_memory(p) : place_in_shared_memory(p);
}

/* Of several unordered accesses only the last is known, which may be the thread's own. */
static std::string name_of(const struct record &r)
{
    bool here = r.interval >= block_first;
    if (here && r.bits & MANY_BLOCKS)
        return "another block";
    if (here && (r.bits & THREAD) == accessor.thread)
        return "another thread of the block";
    uint64_t block = 0;
    for (const auto &b : blocks)
        if (b.first <= r.interval)
            block = b.second;
    return "thread " + thread_name(r.bits & THREAD) + " of block " + block_name(block);
}

[[noreturn]] static void report_race(const struct space &s, enum access_kind kind, const void *p,
                                     size_t bytes, enum conflict found, const void *pc)
{
    uintptr_t other_pc = (uintptr_t)&anchor + (uintptr_t)(intptr_t)(int32_t)culprit.pc;
    report_at(pc, "race", "%s %zu bytes, %s, that %s %s at %s; nothing orders them", verb(kind),
              bytes, place_in(s, p).c_str(), name_of(culprit).c_str(),
              found == conflict::WITH_WRITE ? "wrote" : "read",
              source_line((const void *)other_pc).c_str());
}

bool conflicts(enum access_kind kind, unsigned thread, const void *p, size_t bytes)
{
    if (!sees_accesses)
        return false;
    accessor = {(uint16_t)thread, 0};
    return touch_bytes(device, (uintptr_t)p - device.begin, bytes, kind, nullptr) != conflict::NONE;
}

/* ---- what was set ---- */

/* Bits first .. first + n - 1, n at most 57. */
static INLINE uint64_t bits_at(const uint8_t *bits, size_t first, size_t n)
{
    uint64_t word;
    memcpy(&word, bits + first / 8, sizeof word);
    return word >> first % 8 & (((uint64_t)1 << n) - 1);
}

/* n is at most 57. */
static INLINE bool all_set(const uint8_t *bits, size_t first, size_t n)
{
    return bits_at(bits, first, n) == ((uint64_t)1 << n) - 1;
}

/* n is at most 57. */
static INLINE void set_few(uint8_t *bits, size_t first, size_t n, bool value)
{
    uint64_t word, mask = (((uint64_t)1 << n) - 1) << first % 8;
    memcpy(&word, bits + first / 8, sizeof word);
    word = value ? word | mask : word & ~mask;
    memcpy(bits + first / 8, &word, sizeof word);
}

static void set_bits(uint8_t *bits, size_t first, size_t n, bool value)
{
    size_t head = std::min<size_t>(n, (8 - first % 8) % 8), body = (n - head) / 8;
    set_few(bits, first, head, value);
    memset(bits + (first + head) / 8, value ? 0xff : 0, body);
    set_few(bits, first + head + body * 8, n - head - body * 8, value);
}

/* The first of n bits that is 0, or n. */
static size_t first_clear(const uint8_t *bits, size_t first, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t k = std::min<size_t>(n - i, 56);
        uint64_t all = ((uint64_t)1 << k) - 1, word = bits_at(bits, first + i, k);
        if (word != all)
            return i + (size_t)__builtin_ctzll(~word);
        i += k;
    }
    return n;
}

static void *reserve(size_t bytes)
{
    void *p = mmap(nullptr, bytes + 8, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        report("internal", "no address space for what is known of memory");
    madvise(p, bytes + 8, MADV_DONTDUMP);
    return p;
}

static struct space look_after(char *p, size_t bytes)
{
    struct space s = {(uintptr_t)p, bytes, nullptr, nullptr, nullptr};
    s.set = (uint8_t *)reserve(bytes / 8);
    s.words = (struct cell *)reserve(bytes / 4 * sizeof(struct cell));
    s.upper = (struct cell *)reserve(bytes / 4 * sizeof(struct cell));
    return s;
}

void access_begin(char *p, size_t reserved)
{
    if (sees_accesses)
        device = look_after(p, reserved);
}

void mark_set(const void *p, size_t bytes)
{
    if (sees_accesses)
        set_bits(device.set, (uintptr_t)p - device.begin, bytes, true);
}

void forget_marks(const void *pages, size_t bytes)
{
    if (!sees_accesses)
        return;
    size_t offset = (uintptr_t)pages - device.begin;
    set_bits(device.set, offset, bytes, false);
    madvise(device.words + offset / 4, bytes / 4 * sizeof(struct cell), MADV_DONTNEED);
    madvise(device.upper + offset / 4, bytes / 4 * sizeof(struct cell), MADV_DONTNEED);
}

void copy_marks(void *to, const void *from, size_t bytes)
{
    if (!sees_accesses)
        return;
    size_t target = (uintptr_t)to - device.begin, source = (uintptr_t)from - device.begin;
    std::vector<uint8_t> bits((bytes + 7) / 8);
    for (size_t i = 0; i < bytes; i += 8)
        bits[i / 8] = (uint8_t)bits_at(device.set, source + i, 8);
    for (size_t i = 0; i < bytes; i++)
        set_few(device.set, target + i, 1, bits[i / 8] >> i % 8 & 1);
}

void require_set(const void *p, size_t bytes, const char *what)
{
    if (!sees_accesses)
        return;
    size_t clear = first_clear(device.set, (uintptr_t)p - device.begin, bytes);
    if (clear < bytes)
        report("uninitialised", "%s: nobody set %s", what,
               place_in_device_memory((const char *)p + clear).c_str());
}

/* ---- shared memory ---- */

void access_begin_shared(char *arena, size_t bytes)
{
    if (!sees_accesses)
        return;
    shared = look_after(arena, bytes);
    shared_allocated = (uint8_t *)reserve(bytes / 8);
}

void shared_open(size_t offset, size_t bytes)
{
    if (!sees_accesses)
        return;
    set_bits(shared_allocated, offset, bytes, true);
    set_bits(shared.set, offset, bytes, false);
}

void shared_close(size_t offset, size_t bytes)
{
    if (sees_accesses)
        set_bits(shared_allocated, offset, bytes, false);
}

/* ---- accesses ---- */

/* Constants of the program that kernels use are in its file's pages that nobody may write. */
static bool is_constant(const void *p)
{
    struct range {
        uintptr_t address;
        bool found;
    } range = {(uintptr_t)p, false};
    dl_iterate_phdr(
        [](struct dl_phdr_info *info, size_t, void *data) {
            struct range *r = static_cast<struct range *>(data);
            for (int i = 0; i < info->dlpi_phnum; i++) {
                const auto &h = info->dlpi_phdr[i];
                if (h.p_type == PT_LOAD && !(h.p_flags & PF_W) &&
                    r->address - info->dlpi_addr - h.p_vaddr < h.p_memsz)
                    r->found = true;
            }
            return (int)r->found;
        },
        &range);
    return range.found;
}

static void access_other(enum access_kind kind, const void *p, size_t bytes, const void *pc)
{
    if (kind_of(p) == memory_kind::PINNED || (kind == access_kind::READ && is_constant(p)))
        return;
    report_at(pc, "host", "%s %zu bytes of the host's memory at %p", verb(kind), bytes, p);
}

static INLINE void access_space(const struct space &s, enum access_kind kind, const void *p,
                                size_t offset, size_t bytes, size_t alignment, const void *pc)
{
    if (__builtin_expect((uintptr_t)p % alignment != 0, 0))
        report_at(pc, "align", "%s %zu bytes at %p, %s", verb(kind), bytes, p,
                  place_in(s, p).c_str());
    if (kind == access_kind::WRITE && bytes <= 16)
        set_few(s.set, offset, bytes, true);
    else if (kind == access_kind::WRITE)
        set_bits(s.set, offset, bytes, true);
    else if (size_t clear = bytes <= 16 && all_set(s.set, offset, bytes)
                                ? bytes
                                : first_clear(s.set, offset, bytes);
             clear < bytes)
        report_at(pc, "uninitialised", "%s %zu bytes, %s, that nobody set",
                  kind == access_kind::READ ? "reads" : "changes", bytes,
                  place_in(s, (const char *)p + clear).c_str());
    enum conflict found = touch_bytes(s, offset, bytes, kind, pc);
    if (__builtin_expect(found != conflict::NONE, 0))
        report_race(s, kind, p, bytes, found, pc);
}

static INLINE void see_access(enum access_kind kind, const void *p, size_t bytes, size_t alignment,
                              const void *pc)
{
    if (!sees_accesses || !running)
        return;
    size_t offset = (uintptr_t)p - device.begin;
    if (offset < device.bytes) {
        if (!is_allocated(p, bytes))
            report_at(pc, "bounds", "%s %zu bytes, %s", verb(kind), bytes,
                      place_in_device_memory(p).c_str());
        access_space(device, kind, p, offset, bytes, alignment, pc);
        return;
    }
    offset = (uintptr_t)p - shared.begin;
    if (offset < shared.bytes) {
        if (bytes <= 16 ? !all_set(shared_allocated, offset, bytes)
                        : first_clear(shared_allocated, offset, bytes) < bytes)
            report_at(pc, "bounds", "%s %zu bytes, %s", verb(kind), bytes,
                      place_in_shared_memory(p).c_str());
        access_space(shared, kind, p, offset, bytes, alignment, pc);
        return;
    }
    if (!on_fiber_stack(p))
        access_other(kind, p, bytes, pc);
}

void access_memory(enum access_kind kind, const void *p, size_t bytes, size_t alignment,
                   const void *pc)
{
    see_access(kind, p, bytes, alignment, pc);
}

} // namespace cudasim

#ifndef CUDASIM_ASAN

using namespace cudasim;

/* ---- what g++ calls ---- */

#define HOOK(suffix, bytes)                                                                        \
    extern "C" void __tsan_read##suffix(void *p)                                                   \
    {                                                                                              \
        see_access(access_kind::READ, p, bytes, bytes, __builtin_return_address(0));               \
    }                                                                                              \
    extern "C" void __tsan_write##suffix(void *p)                                                  \
    {                                                                                              \
        see_access(access_kind::WRITE, p, bytes, bytes, __builtin_return_address(0));              \
    }

HOOK(1, 1)
HOOK(2, 2)
HOOK(4, 4)
HOOK(8, 8)
HOOK(16, 16)

/* Of types that need not be aligned. */
#define HOOK_RANGE(name, kind, bytes)                                                              \
    extern "C" void name(void *p)                                                                  \
    {                                                                                              \
        access_memory(kind, p, bytes, 1, __builtin_return_address(0));                             \
    }

HOOK_RANGE(__tsan_unaligned_read2, access_kind::READ, 2)
HOOK_RANGE(__tsan_unaligned_read4, access_kind::READ, 4)
HOOK_RANGE(__tsan_unaligned_read8, access_kind::READ, 8)
HOOK_RANGE(__tsan_unaligned_read16, access_kind::READ, 16)
HOOK_RANGE(__tsan_unaligned_write2, access_kind::WRITE, 2)
HOOK_RANGE(__tsan_unaligned_write4, access_kind::WRITE, 4)
HOOK_RANGE(__tsan_unaligned_write8, access_kind::WRITE, 8)
HOOK_RANGE(__tsan_unaligned_write16, access_kind::WRITE, 16)

extern "C" void __tsan_read_range(void *p, size_t bytes)
{
    access_memory(access_kind::READ, p, bytes, 1, __builtin_return_address(0));
}

extern "C" void __tsan_write_range(void *p, size_t bytes)
{
    access_memory(access_kind::WRITE, p, bytes, 1, __builtin_return_address(0));
}

/* What -fsanitize=alignment says: the start of GCC's and Clang's common form of it. */
struct mismatch {
    const char *file;
    uint32_t line, column;
};

extern "C" void __ubsan_handle_type_mismatch_v1_abort(struct mismatch *at, uintptr_t p)
{
    report("align", "%s:%u: %p is not a multiple of its type's alignment", at->file, at->line,
           (void *)p);
}

/* Of the host's code in the same files: nothing is to be done. */
extern "C" void __tsan_init()
{
}
extern "C" void __tsan_vptr_update(void *, void *)
{
}

/* The guards of static variables. */
extern "C" uint8_t __tsan_atomic8_load(const volatile uint8_t *p, int)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

#endif
