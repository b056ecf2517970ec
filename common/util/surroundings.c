#include "common/util/surroundings.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Else the first file that is opened becomes standard output or error, and messages go into it.
 * What takes the place can not be used: reading or writing fails, as where nothing is open. */
static void fill_descriptors(void)
{
    static const int useless[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", useless[fd]) != fd)
            die(EX_OSERR, "descriptor %d is closed, and /dev/null cannot take its place: %s", fd,
                strerror(errno));
}

static void only_interrupt(int number)
{
    (void)number;
}

static void settle_signals(void)
{
    /* A caller that ignores it would turn a closed pipe into an error message. */
    signal(SIGPIPE, SIG_DFL);
    /* The write that goes beyond the limit fails, and says so. */
    struct sigaction told = {.sa_handler = only_interrupt};
    sigaction(SIGXFSZ, &told, NULL);
}

void surroundings_settle(void)
{
    fill_descriptors();
    settle_signals();
    /* It takes memory in many places, and not all that call it could tell that there was none. */
    json_set_alloc_funcs(xmalloc, free);
}
