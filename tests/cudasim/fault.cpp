/* Accesses that the pages' protection forbids: the host's to device memory, or to pinned memory
 * that a copy uses, and a stack's that overflows. */
#include "simulator.h"

#include <signal.h>

namespace cudasim
{

static struct sigaction previous;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    const char *p = (const char *)info->si_addr;
    if (on_fiber_guard(p))
        report("stack", "a thread's stack overflows");
    if (kind_of(p) == memory_kind::DEVICE) {
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

void catch_faults()
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

} // namespace cudasim
