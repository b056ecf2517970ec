/* What the simulator's files share. */
#ifndef CUDASIM_SIMULATOR_H
#define CUDASIM_SIMULATOR_H

#include "include/cuda_runtime.h"

#include <functional>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#define CUDASIM_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDASIM_ASAN
#endif
#endif

#ifdef CUDASIM_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, bytes) ((void)(p), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(p, bytes) ((void)(p), (void)(bytes))
#endif

namespace cudasim
{

/* Whether kernels are compiled so that each of their accesses to memory is seen (access.cpp). */
#ifdef CUDASIM_ASAN
constexpr bool sees_accesses = false;
#else
constexpr bool sees_accesses = true;
#endif

/* ---- settings.cpp: the environment ---- */

enum class start_order { FORWARD, REVERSE, SHUFFLE };

/* DUQ_CUDASIM_DRIVER: what a machine has that cannot be computed on. */
enum class driver_state { GOOD, NONE, OLD, NO_GPU, OLD_GPU, LOST_GPU };

/* Calls of which the N-th fails, and kernels that a fault ends (DUQ_CUDASIM_FAIL). */
enum failing_call {
    FAIL_MALLOC,
    FAIL_MEMCPY,
    FAIL_LAUNCH,
    FAIL_KERNEL,
    FAIL_CUBLAS,
    FAIL_MEMORY, /* and all after it */
    FAILING_CALLS,
};

struct settings {
    enum start_order order;
    uint64_t order_seed;
    uint64_t fail_at[FAILING_CALLS]; /* 0: none */
    size_t memory;                   /* bytes */
    bool deferred;
    uint64_t stream_seed;
    enum driver_state driver;
};

const struct settings &settings();
/* Counts a call; whether it is the one that fails. */
bool fails(enum failing_call);

/* splitmix64 (Steele, Lea, Flood 2014) */
struct random {
    uint64_t state;
    uint64_t next();
    size_t below(size_t n);
};

/* ---- report.cpp ---- */

/* Names a fault on standard error, with the kernel, block, thread and place that it is at, and
 * aborts. The kind is one word that tests look for. */
[[noreturn]] void report(const char *kind, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same, with the line of the source that the instruction before `pc` comes from. */
[[noreturn]] void report_at(const void *pc, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "file:line" of the instruction before pc, or "?". */
std::string source_line(const void *pc);
/* As it is written, with a template's arguments. */
std::string kernel_name(const void *kernel);

/* ---- fiber.cpp: stacks to switch between ---- */

struct fiber;
/* A fiber that runs entry() when first switched to; entry() never returns. */
struct fiber *fiber_create(void (*entry)());
/* The one that the operating system started. */
struct fiber *fiber_main();
void fiber_switch(struct fiber *from, struct fiber *to);
bool on_fiber_stack(const void *);
bool on_fiber_guard(const void *);

/* ---- block.cpp: a block's threads ---- */

struct launched {
    std::unique_ptr<kernel_call> call;
    const void *kernel;
    dim3 grid, block;
    size_t shared_bytes;
};

/* The launch whose threads run now, or NULL. */
extern const struct launched *running;

void run_grid(const struct launched &);
/* "(1,0,0)", of a thread's or block's number in the launch that runs. */
std::string thread_name(unsigned thread);
std::string block_name(uint64_t block);

/* ---- shared.cpp ---- */

constexpr size_t SHARED_STATIC_LIMIT = 48 << 10, SHARED_OPTIN_LIMIT = 163 << 10; /* sm_80 */

void shared_begin_launch(size_t dynamic_bytes);
void shared_begin_block();
/* "byte 4 of shared array x of 32", for a report. */
std::string place_in_shared_memory(const void *);

/* ---- memory.cpp ---- */

enum class memory_kind { DEVICE, PINNED, PAGEABLE };

enum memory_kind kind_of(const void *);
/* Dies unless bytes at p lie in one live allocation of the device; what: "argument 2 of k". */
void require_device(const void *p, size_t bytes, const char *what);
/* Dies when p is the device's. */
void require_host(const void *p, const char *what);
constexpr size_t PAGE = 4096;
/* Which allocation each page of the device's addresses belongs to: no two share one. */
struct extent {
    uintptr_t begin, end;
};
extern uintptr_t device_begin;
extern uint32_t *owners;
extern struct extent *extents;
/* Whether bytes at p, an address of the device's, lie in one allocation. */
inline bool is_allocated(const void *p, size_t bytes)
{
    const struct extent &e = extents[owners[((uintptr_t)p - device_begin) / PAGE]];
    return (uintptr_t)p >= e.begin && (uintptr_t)p + bytes <= e.end;
}
/* "byte 4 of 32 allocated at file:line", for a report. */
std::string place_in_device_memory(const void *);
/* Where the simulator's own code reads and writes device memory. */
void *host_view(const void *device_pointer);
/* While kernels run, device memory can be reached; while the host runs, it cannot. */
void open_device_memory();
void close_device_memory();

/* Readies device memory, on the first call. */
void reserve();

/* ---- pinned.cpp ---- */

bool is_pinned(const void *);
size_t pinned_allocations();
/* A copy is queued that will read, or write, bytes at p. */
void claim_pinned(const void *p, size_t bytes, bool written);
/* Its turn has come; whatever later ones claim, it may. */
void open_pinned(const void *p, size_t bytes);
/* It is done. */
void release_pinned(const void *p, size_t bytes);
/* Reports a fault at p, if a claim is its cause. */
void report_claim(const char *p);

/* ---- fault.cpp ---- */

/* Sees faults from now on; called often, as test frameworks set handlers of their own. */
void catch_faults();

/* ---- stream.cpp ---- */

/* Runs now, or when its turn comes, unless the device has broken down by then. */
void enqueue(cudaStream_t, std::function<void()>);
void wait_for_stream(cudaStream_t);
/* Runs some of what is queued, or nothing, by lot: so much of it may be done by now. */
void let_device_go_on();
void wait_for_device();
size_t live_streams_and_events();

/* ---- runtime.cpp ---- */

/* Keeps the status for cudaGetLastError(), and returns it. */
cudaError_t set_error(cudaError_t);
/* After a fault in a kernel every call gives its error, and nothing is done any more. */
void break_down(cudaError_t);
cudaError_t device_status();
/* A device belongs to the first thread of the operating system that uses it. */
void require_owner();

} // namespace cudasim

#endif
