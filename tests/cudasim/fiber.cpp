/* Stacks to switch between: a CUDA thread that waits keeps its own. A switch saves the registers
 * that a call preserves and no more (glibc's swapcontext makes a system call and takes fifty times
 * as long); where that is not written for the processor, swapcontext does it. */
#include "simulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef CUDASIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace cudasim
{

#ifdef CUDASIM_ASAN
constexpr size_t STACK_BYTES = 256 << 10;
#else
constexpr size_t STACK_BYTES = 64 << 10;
#endif
constexpr size_t GUARD_BYTES = 4096, STACK_STEP = STACK_BYTES + GUARD_BYTES;
constexpr size_t MAX_FIBERS = 1024; /* threads in a block */

struct fiber {
    char *stack; /* its lowest address; NULL: the operating system's */
#ifdef __x86_64__
    void *stack_pointer;
#else
    ucontext_t context;
#endif
#ifdef CUDASIM_ASAN
    void *fake_stack;
    const void *bottom;
    size_t size;
#endif
    void (*entry)();
};

static struct fiber main_fiber, pool[MAX_FIBERS], *switched_from, *switched_to;
static char *stacks;
static size_t fibers;

/* One reservation, so that one comparison tells whether an address is on a fiber's stack. */
static char *new_stack()
{
    if (!stacks) {
        void *p = mmap(nullptr, MAX_FIBERS * STACK_STEP, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) {
            perror("cudasim: stacks");
            abort();
        }
        stacks = (char *)p;
    }
    if (fibers == MAX_FIBERS)
        report("internal", "more than %zu threads wait", MAX_FIBERS);
    char *guard = stacks + fibers++ * STACK_STEP;
    mprotect(guard, GUARD_BYTES, PROT_NONE);
    return guard + GUARD_BYTES;
}

bool on_fiber_stack(const void *p)
{
    return stacks && (uintptr_t)p - (uintptr_t)stacks < MAX_FIBERS * STACK_STEP;
}

bool on_fiber_guard(const void *p)
{
    return on_fiber_stack(p) && ((uintptr_t)p - (uintptr_t)stacks) % STACK_STEP < GUARD_BYTES;
}

static void finish_switch()
{
#ifdef CUDASIM_ASAN
    __sanitizer_finish_switch_fiber(switched_to->fake_stack, &switched_from->bottom,
                                    &switched_from->size);
#endif
}

static void start()
{
    finish_switch();
    switched_to->entry();
    abort();
}

#ifdef __x86_64__

extern "C" __attribute__((visibility("hidden"))) void cudasim_switch(void **from, void *to);

asm(".text\n"
    ".hidden cudasim_switch\n"
    ".globl cudasim_switch\n"
    ".type cudasim_switch, @function\n"
    "cudasim_switch:\n"
    "    pushq %rbp\n"
    "    pushq %rbx\n"
    "    pushq %r12\n"
    "    pushq %r13\n"
    "    pushq %r14\n"
    "    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n"
    "    popq %r14\n"
    "    popq %r13\n"
    "    popq %r12\n"
    "    popq %rbx\n"
    "    popq %rbp\n"
    "    ret\n"
    ".size cudasim_switch, . - cudasim_switch\n");

static void prepare(struct fiber *f)
{
    /* Tops a multiple of the page apart would share lines of the cache: stagger them. */
    uintptr_t top = (uintptr_t)f->stack + STACK_BYTES - fibers % 16 * 128;
    void **p = (void **)(top & ~(uintptr_t)15);
    *--p = nullptr; /* so that the entry finds rsp as a call leaves it, 8 modulo 16 */
    *--p = (void *)start;
    f->stack_pointer = p - 6;
}

static void switch_stacks(struct fiber *from, struct fiber *to)
{
    cudasim_switch(&from->stack_pointer, to->stack_pointer);
}

#else

static void prepare(struct fiber *f)
{
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK_BYTES;
    f->context.uc_link = nullptr;
    makecontext(&f->context, start, 0);
}

static void switch_stacks(struct fiber *from, struct fiber *to)
{
    swapcontext(&from->context, &to->context);
}

#endif

struct fiber *fiber_create(void (*entry)())
{
    char *stack = new_stack();
    struct fiber *f = &pool[fibers - 1];
    f->stack = stack;
    f->entry = entry;
#ifdef CUDASIM_ASAN
    f->bottom = f->stack;
    f->size = STACK_BYTES;
#endif
    prepare(f);
    return f;
}

struct fiber *fiber_main()
{
    return &main_fiber;
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
    switched_from = from;
    switched_to = to;
#ifdef CUDASIM_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->size);
#endif
    switch_stacks(from, to);
    finish_switch();
}

} // namespace cudasim
