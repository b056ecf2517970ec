#include "common/util/unfinished.h"

#include "common/util/diag.h"
#include "common/util/signals.h"

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

void unfinished_watch_signals(void)
{
    static bool installed;
    if (installed)
        return;
    installed = true;
    atexit(unfinished_remove);
    signals_catch(unfinished_remove);
}

void unfinished_add(char *name)
{
    unfinished_watch_signals();
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
        unfinished_add(pattern);
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
