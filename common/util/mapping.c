#include "common/util/mapping.h"

#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/unfinished.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Read by the signal handler, hence fixed in place. A model has some hundred files at most; one
 * beyond these is not named. */
enum { MOST = 1024 };
static struct {
    const char *volatile base; /* NULL: free */
    size_t size;
    char *path;
} watched[MOST];

static const char *path_at(const void *address)
{
    for (int i = 0; i < MOST; i++) {
        const char *base = watched[i].base;
        if (base && (uintptr_t)address - (uintptr_t)base < watched[i].size)
            return watched[i].path;
    }
    return NULL;
}

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* there is nobody to tell */
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    const char *path = path_at(info->si_addr);
    unfinished_remove();
    if (!path) {
        signal(number, SIG_DFL);
        raise(number); /* it comes when this handler returns */
        return;
    }
    say(program_name);
    say(": ");
    say(path);
    say(": cannot be read any more: it was cut while it was in use, or its disk fails\n");
    _exit(EX_IOERR);
}

static void catch_bus_errors(void)
{
    static bool caught;
    if (caught)
        return;
    caught = true;
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigfillset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

void mapping_watch(const void *base, size_t size, const char *path)
{
    catch_bus_errors();
    for (int i = 0; i < MOST; i++)
        if (!watched[i].base) {
            watched[i].size = size;
            watched[i].path = xstrdup(path);
            watched[i].base = base;
            return;
        }
}

void mapping_forget(const void *base)
{
    for (int i = 0; base && i < MOST; i++)
        if (watched[i].base == base) {
            watched[i].base = NULL;
            free(watched[i].path);
            return;
        }
}
