#include "common/util/signals.h"

#include "common/util/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

/* What the signals did before. */
static struct sigaction before[_NSIG];
static void (*do_last)(void);

/* ---- waiting ---- */

static volatile sig_atomic_t holding, held;
static volatile int64_t held_since;

static bool can_wait(int number)
{
    return number == SIGHUP || number == SIGINT || number == SIGTERM;
}

static bool is_held_back(int number)
{
    enum { SAME_WISH = 1000000000 }; /* nanoseconds */
    if (!holding || !can_wait(number))
        return false;
    int64_t now = clock_nanoseconds();
    if (!held) {
        held_since = now;
        held = number;
    }
    return now - held_since < SAME_WISH;
}

void signals_hold(void)
{
    holding = true;
}

int signals_held(void)
{
    return held;
}

void signals_release(void)
{
    holding = false;
    if (held)
        signals_end_by(held);
}

void signals_end_by(int number)
{
    if (do_last)
        do_last();
    signal(number, SIG_DFL);
    raise(number);
    _exit(128 + number); /* it is blocked */
}

/* ---- catching ---- */

static void on_signal(int number)
{
    int error = errno;
    if (!is_held_back(number)) {
        do_last();
        sigaction(number, &before[number], NULL);
        raise(number); /* it comes when this handler returns */
    }
    errno = error;
}

/* Signals that do not end a program, or cannot be caught. SIGXFSZ is surroundings.c's. */
static bool is_left_alone(int number)
{
    static const int alone[] = {SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN,  SIGTTOU,
                                SIGCONT, SIGCHLD, SIGURG,  SIGWINCH, SIGXFSZ};
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++)
        if (alone[i] == number)
            return true;
    return false;
}

/* A handler that there is for SIGBUS is mapping.h's, which needs the address and does what is last
 * itself. */
static bool is_of_mapping(int number)
{
    return number == SIGBUS && before[number].sa_handler != SIG_DFL;
}

/* A stack that has overflown has no room for the handler. */
static void use_another_stack(void)
{
    static char room[1 << 16];
    stack_t own = {.ss_sp = room, .ss_size = sizeof room}, present;
    if (!sigaltstack(NULL, &present) && present.ss_flags & SS_DISABLE)
        sigaltstack(&own, NULL);
}

void signals_catch(void (*last)(void))
{
    do_last = last;
    struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigfillset(&ours.sa_mask);
    use_another_stack();
    for (int number = 1; number < _NSIG; number++)
        if (!is_left_alone(number) && !sigaction(number, NULL, &before[number]) &&
            before[number].sa_handler != SIG_IGN && !is_of_mapping(number))
            sigaction(number, &ours, NULL);
}
