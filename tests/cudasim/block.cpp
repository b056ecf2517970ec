/* A block's threads, one after another on one thread of the operating system. A worker fiber runs a
 * CUDA thread to its end and takes the next that has not started; only when a thread waits does
 * another fiber go on. So kernels without barriers hardly ever switch. */
#include "access.h"

#include <algorithm>
#include <numeric>

namespace cudasim
{

enum class state { NEW, RUNS, AT_BARRIER, AT_WARP_OPERATION, EXITED };

struct thread {
    uint3 index;
    unsigned warp, lane;
    enum state state;
    struct fiber *fiber; /* while it waits */
    const char *file;    /* where it waits */
    int line;
    /* of its warp operation */
    enum warp_operation operation;
    unsigned mask;
    int argument, width;
    uint64_t value;
    /* what the barrier or the operation gave */
    uint64_t result;
};

struct warp {
    unsigned lanes, waiting, exited; /* bit i: lane i */
    uint16_t sync;                   /* times that all lanes met in __syncwarp() */
};

/* What of a barrier's predicates the threads get. */
struct votes {
    unsigned count, threads;
};

const struct launched *running;

static uint3 block_at;
static std::vector<struct thread> threads;
static std::vector<struct warp> warps;
static std::vector<unsigned> order; /* that threads start in */
static size_t started, exited, at_barrier;
static const struct thread *first_at_barrier;
static struct votes votes;
static std::vector<struct thread *> ready; /* waited, and may go on */
static size_t ready_begin;
static std::vector<struct fiber *> idle;
static struct thread *current;
static struct fiber *current_fiber;
static struct random dice;

uint3 thread_index()
{
    return current->index;
}
uint3 block_index()
{
    return block_at;
}
dim3 block_size()
{
    return running->block;
}
dim3 grid_size()
{
    return running->grid;
}

static std::string name_of(uint3 at)
{
    return "(" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) +
           ")";
}

static std::string name_of(const struct thread &t)
{
    return name_of(t.index);
}

std::string thread_name(unsigned thread)
{
    return name_of(threads[thread]);
}

static uint3 block_number(uint64_t block)
{
    uint64_t x = running->grid.x, y = running->grid.y;
    return {(unsigned)(block % x), (unsigned)(block / x % y), (unsigned)(block / (x * y))};
}

std::string block_name(uint64_t block)
{
    return name_of(block_number(block));
}

static std::string place_of(const struct thread &t)
{
    return std::string(t.file) + ":" + std::to_string(t.line);
}

/* ---- whose turn it is ---- */

static struct thread *take_ready()
{
    size_t n = ready.size() - ready_begin, pick = 0;
    if (n == 0)
        return nullptr;
    if (settings().order == start_order::REVERSE)
        pick = n - 1;
    else if (settings().order == start_order::SHUFFLE)
        pick = dice.below(n);
    struct thread *t;
    if (pick == 0) {
        t = ready[ready_begin++];
    } else {
        std::swap(ready[ready_begin + pick], ready.back());
        t = ready.back();
        ready.pop_back();
    }
    if (ready_begin == ready.size()) {
        ready.clear();
        ready_begin = 0;
    }
    return t;
}

static void worker();

static void set_current(struct thread *t)
{
    current = t;
    accessor = {(uint16_t)(t - threads.data()), warps[t->warp].sync};
}

static void switch_to(struct fiber *f)
{
    struct fiber *from = current_fiber;
    current_fiber = f;
    if (f != from)
        fiber_switch(from, f);
}

[[noreturn]] static void report_deadlock()
{
    for (struct thread &t : threads)
        if (t.state == state::AT_WARP_OPERATION) {
            current = &t;
            report("divergence",
                   "%s: waits for lanes 0x%08x of its warp, of which 0x%08x came; the others wait "
                   "elsewhere",
                   place_of(t).c_str(), t.mask, warps[t.warp].waiting);
        }
    for (struct thread &t : threads)
        if (t.state == state::AT_BARRIER) {
            current = &t;
            report("divergence", "%s: %zu of %zu threads wait at the barrier", place_of(t).c_str(),
                   at_barrier, threads.size());
        }
    report("internal", "no thread can go on");
}

/* Gives the turn to a thread that may run; comes back when the current one may. */
static void wait()
{
    struct thread *me = current;
    me->fiber = current_fiber;
    if (started < threads.size()) {
        struct fiber *f;
        if (idle.empty()) {
            f = fiber_create(worker);
        } else {
            f = idle.back();
            idle.pop_back();
        }
        switch_to(f);
    } else if (struct thread *t = take_ready()) {
        set_current(t);
        switch_to(t->fiber);
    } else {
        report_deadlock();
    }
    set_current(me);
}

static void make_ready(struct thread *t)
{
    t->state = state::RUNS;
    if (t != current)
        ready.push_back(t);
}

static void thread_exits()
{
    struct thread &t = *current;
    struct warp &w = warps[t.warp];
    t.state = state::EXITED;
    exited++;
    w.exited |= 1u << t.lane;
    if (at_barrier > 0)
        report("exit", "%s: thread %s waits at the barrier, this one ended before it",
               place_of(*first_at_barrier).c_str(), name_of(*first_at_barrier).c_str());
    if (w.waiting)
        for (const struct thread &other : threads)
            if (other.warp == t.warp && other.state == state::AT_WARP_OPERATION &&
                (other.mask >> t.lane & 1))
                report("exit", "%s: thread %s waits for this one, which ended before it",
                       place_of(other).c_str(), name_of(other).c_str());
}

/* A fiber that runs threads until the block is done; then the main one goes on. */
static void worker()
{
    for (;;) {
        while (started < threads.size()) {
            set_current(&threads[order[started++]]);
            current->state = state::RUNS;
            running->call->run_thread();
            thread_exits();
        }
        idle.push_back(current_fiber);
        if (struct thread *t = take_ready()) {
            set_current(t);
            switch_to(t->fiber);
        } else if (exited == threads.size()) {
            switch_to(fiber_main());
        } else {
            report_deadlock();
        }
    }
}

/* ---- barriers ---- */

static struct votes meet(int predicate, const char *file, int line)
{
    struct thread &t = *current;
    if (exited > 0)
        for (const struct thread &other : threads)
            if (other.state == state::EXITED)
                report("exit", "%s:%d: a barrier, but thread %s has ended", file, line,
                       name_of(other).c_str());
    if (at_barrier == 0)
        first_at_barrier = &t;
    else if (first_at_barrier->line != line ||
             (first_at_barrier->file != file && strcmp(first_at_barrier->file, file) != 0))
        report("divergence", "%s:%d: a barrier, but thread %s waits at that of %s", file, line,
               name_of(*first_at_barrier).c_str(), place_of(*first_at_barrier).c_str());
    t.state = state::AT_BARRIER;
    t.file = file;
    t.line = line;
    at_barrier++;
    votes.count += predicate != 0;
    votes.threads++;
    if (at_barrier < threads.size()) {
        wait();
    } else {
        for (struct thread &other : threads) {
            other.result = votes.count;
            make_ready(&other);
        }
        at_barrier = 0;
        votes = {};
        access_next_interval();
    }
    return {(unsigned)t.result, (unsigned)threads.size()};
}

/* ---- warps ---- */

/* The lane that a shuffle reads (CUDA C++ Programming Guide, "Warp shuffle functions"). */
static unsigned source_lane(const struct thread &t)
{
    int lane = (int)t.lane, first = lane & ~(t.width - 1), source;
    switch (t.operation) {
    case SHUFFLE:
        return (unsigned)(first | (t.argument & (t.width - 1)));
    case SHUFFLE_UP:
        source = lane - t.argument;
        return (unsigned)(source < first ? lane : source);
    case SHUFFLE_DOWN:
        source = lane + t.argument;
        return (unsigned)(source >= first + t.width ? lane : source);
    default:
        source = lane ^ t.argument;
        return (unsigned)(source >= first + t.width ? lane : source);
    }
}

static uint64_t reduce(enum warp_operation operation, uint64_t a, uint64_t b)
{
    unsigned x = (unsigned)a, y = (unsigned)b;
    switch (operation) {
    case REDUCE_ADD:
        return x + y;
    case REDUCE_MIN:
        return std::min(x, y);
    case REDUCE_MAX:
        return std::max(x, y);
    case REDUCE_MIN_SIGNED:
        return (unsigned)std::min((int)x, (int)y);
    default:
        return (unsigned)std::max((int)x, (int)y);
    }
}

static struct thread &lane_of(const struct thread &t, unsigned lane)
{
    return threads[t.warp * warpSize + lane];
}

/* All lanes of the mask are here: what each of them gets. */
static void complete(struct thread &last)
{
    unsigned mask = last.mask, ballot = 0;
    bool first = true;
    uint64_t reduced = 0;
    for (unsigned lane = 0; lane < (unsigned)warpSize; lane++) {
        if (!(mask >> lane & 1))
            continue;
        struct thread &t = lane_of(last, lane);
        if (t.mask != mask || t.operation != last.operation || t.width != last.width ||
            t.line != last.line || (t.file != last.file && strcmp(t.file, last.file) != 0))
            report("divergence",
                   "%s: a warp operation with mask 0x%08x, but thread %s waits at that of %s with "
                   "mask 0x%08x",
                   place_of(last).c_str(), mask, name_of(t).c_str(), place_of(t).c_str(), t.mask);
        ballot |= (unsigned)(t.value != 0) << lane;
        reduced = first ? t.value : reduce(last.operation, reduced, t.value);
        first = false;
    }
    for (unsigned lane = 0; lane < (unsigned)warpSize; lane++) {
        if (!(mask >> lane & 1))
            continue;
        struct thread &t = lane_of(last, lane);
        switch (t.operation) {
        case SYNCWARP:
        case BALLOT:
            t.result = ballot;
            break;
        case SHUFFLE:
        case SHUFFLE_UP:
        case SHUFFLE_DOWN:
        case SHUFFLE_XOR: {
            unsigned source = source_lane(t);
            if (!(mask >> source & 1)) {
                current = &t;
                report("shuffle", "%s: reads lane %u, which mask 0x%08x does not name",
                       place_of(t).c_str(), source, mask);
            }
            t.result = lane_of(t, source).value;
            break;
        }
        default:
            t.result = reduced;
        }
    }
    struct warp &w = warps[last.warp];
    w.waiting &= ~mask;
    if (last.operation == SYNCWARP && mask == w.lanes)
        accessor.sync = ++w.sync;
    for (unsigned lane = 0; lane < (unsigned)warpSize; lane++)
        if (mask >> lane & 1)
            make_ready(&lane_of(last, lane));
}

uint64_t warp_meet(enum warp_operation operation, unsigned mask, uint64_t value, int argument,
                   int width, const char *file, int line)
{
    struct thread &t = *current;
    struct warp &w = warps[t.warp];
    if (!(mask >> t.lane & 1))
        report("shuffle", "%s:%d: mask 0x%08x does not name lane %u, which calls", file, line, mask,
               t.lane);
    if (mask & ~w.lanes)
        report("shuffle", "%s:%d: mask 0x%08x names lanes that the block does not have", file, line,
               mask);
    if (mask & w.exited)
        report("exit", "%s:%d: mask 0x%08x names lanes that have ended: 0x%08x", file, line, mask,
               mask & w.exited);
    if (width < 1 || width > warpSize || (width & (width - 1)))
        report("shuffle", "%s:%d: width %d is not a power of two up to 32", file, line, width);
    t.operation = operation;
    t.mask = mask;
    t.value = value;
    t.argument = argument;
    t.width = width;
    t.file = file;
    t.line = line;
    t.state = state::AT_WARP_OPERATION;
    w.waiting |= 1u << t.lane;
    if ((w.waiting & mask) == mask)
        complete(t);
    else
        wait();
    return t.result;
}

/* ---- blocks ---- */

static void arrange(dim3 block)
{
    size_t n = (size_t)block.x * block.y * block.z, i = 0;
    threads.assign(n, {});
    warps.assign((n + warpSize - 1) / warpSize, {});
    for (unsigned z = 0; z < block.z; z++)
        for (unsigned y = 0; y < block.y; y++)
            for (unsigned x = 0; x < block.x; x++, i++) {
                threads[i].index = {x, y, z};
                threads[i].warp = (unsigned)(i / warpSize);
                threads[i].lane = (unsigned)(i % warpSize);
                warps[i / warpSize].lanes |= 1u << i % warpSize;
            }
    order.resize(n);
    std::iota(order.begin(), order.end(), 0u);
    if (settings().order == start_order::REVERSE)
        std::reverse(order.begin(), order.end());
}

template <typename T> static void shuffle_order(std::vector<T> &v)
{
    for (size_t i = v.size(); i > 1; i--)
        std::swap(v[i - 1], v[dice.below(i)]);
}

static void run_block(uint64_t block)
{
    block_at = block_number(block);
    for (struct thread &t : threads)
        t.state = state::NEW;
    for (struct warp &w : warps)
        w.waiting = w.exited = 0;
    started = exited = at_barrier = 0;
    votes = {};
    if (settings().order == start_order::SHUFFLE)
        shuffle_order(order);
    access_begin_block(block);
    shared_begin_block();
    if (idle.empty())
        idle.push_back(fiber_create(worker));
    struct fiber *f = idle.back();
    idle.pop_back();
    current_fiber = fiber_main();
    switch_to(f);
}

void run_grid(const struct launched &l)
{
    running = &l;
    dice.state = settings().order_seed;
    arrange(l.block);
    shared_begin_launch(l.shared_bytes);
    open_device_memory();
    access_begin_grid();
    uint64_t n = (uint64_t)l.grid.x * l.grid.y * l.grid.z;
    std::vector<uint64_t> blocks;
    if (settings().order == start_order::SHUFFLE) {
        blocks.resize(n);
        std::iota(blocks.begin(), blocks.end(), (uint64_t)0);
        shuffle_order(blocks);
    }
    for (uint64_t i = 0; i < n; i++) {
        run_block(settings().order == start_order::FORWARD   ? i
                  : settings().order == start_order::REVERSE ? n - 1 - i
                                                             : blocks[i]);
    }
    close_device_memory();
    running = nullptr;
}

} // namespace cudasim

using namespace cudasim;

void __syncthreads(const char *file, int line)
{
    meet(0, file, line);
}

int __syncthreads_count(int predicate, const char *file, int line)
{
    return (int)meet(predicate, file, line).count;
}

int __syncthreads_or(int predicate, const char *file, int line)
{
    return meet(predicate, file, line).count != 0;
}

int __syncthreads_and(int predicate, const char *file, int line)
{
    struct votes v = meet(predicate, file, line);
    return v.count == v.threads;
}

void __syncwarp(unsigned mask, const char *file, int line)
{
    warp_meet(SYNCWARP, mask, 0, 0, warpSize, file, line);
}

unsigned __ballot_sync(unsigned mask, int predicate, const char *file, int line)
{
    return (unsigned)warp_meet(BALLOT, mask, predicate != 0, 0, warpSize, file, line);
}

int __any_sync(unsigned mask, int predicate, const char *file, int line)
{
    return __ballot_sync(mask, predicate, file, line) != 0;
}

int __all_sync(unsigned mask, int predicate, const char *file, int line)
{
    return __ballot_sync(mask, predicate, file, line) == mask;
}

#define REDUCE(name, type, operation)                                                              \
    type name(unsigned mask, type value, const char *file, int line)                               \
    {                                                                                              \
        return (type)warp_meet(operation, mask, (unsigned)value, 0, warpSize, file, line);         \
    }

REDUCE(__reduce_add_sync, unsigned, REDUCE_ADD)
REDUCE(__reduce_min_sync, unsigned, REDUCE_MIN)
REDUCE(__reduce_max_sync, unsigned, REDUCE_MAX)
REDUCE(__reduce_add_sync, int, REDUCE_ADD)
REDUCE(__reduce_min_sync, int, REDUCE_MIN_SIGNED)
REDUCE(__reduce_max_sync, int, REDUCE_MAX_SIGNED)
