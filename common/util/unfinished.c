#include "common/util/unfinished.h"

#include "common/util/diag.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Read by the signal handler, hence fixed in place. */
enum { MAX_PENDING = 16 };
static char *volatile pending[MAX_PENDING];

void unfinished_remove(void)
{
    for (int i = 0; i < MAX_PENDING; i++)
        if (pending[i])
            unlink(pending[i]);
}

/* ---- signals ---- */

/* What the signals did before. */
static struct sigaction before[_NSIG];

static void on_signal(int number)
{
    int error = errno;
    unfinished_remove();
    sigaction(number, &before[number], NULL);
    raise(number); /* it comes when this handler returns */
    errno = error;
}

/* Signals that do not end a program, or cannot be caught. SIGXFSZ is program_start()'s. */
static bool is_left_alone(int number)
{
    static const int alone[] = {SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN,  SIGTTOU,
                                SIGCONT, SIGCHLD, SIGURG,  SIGWINCH, SIGXFSZ};
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++)
        if (alone[i] == number)
            return true;
    return false;
}

/* A handler that there is for SIGBUS is mapping.h's, which needs the address and removes the files
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

static void catch_signals(void)
{
    struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigfillset(&ours.sa_mask);
    use_another_stack();
    for (int number = 1; number < _NSIG; number++)
        if (!is_left_alone(number) && !sigaction(number, NULL, &before[number]) &&
            before[number].sa_handler != SIG_IGN && !is_of_mapping(number))
            sigaction(number, &ours, NULL);
}

/* ---- files ---- */

static void watch(char *name)
{
    static bool installed;
    if (!installed) {
        installed = true;
        atexit(unfinished_remove);
        catch_signals();
    }
    for (int i = 0; i < MAX_PENDING; i++)
        if (!pending[i]) {
            pending[i] = name;
            return;
        }
    unlink(name);
    die(EX_SOFTWARE, "more than %d output files at once", MAX_PENDING);
}

int unfinished_create(char *pattern)
{
    /* No signal comes between the file and the note of it. */
    sigset_t all, present;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &present);
    int fd = mkstemp(pattern), error = errno;
    if (fd >= 0)
        watch(pattern);
    pthread_sigmask(SIG_SETMASK, &present, NULL);
    errno = error;
    if (fd < 0)
        return -1;
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd, 0666 & ~mask)) {
        error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

void unfinished_done(const char *name)
{
    for (int i = 0; i < MAX_PENDING; i++)
        if (pending[i] == name)
            pending[i] = NULL;
}
