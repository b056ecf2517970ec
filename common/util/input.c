#include "common/util/input.h"

#include "common/util/apart.h"
#include "common/util/clock.h"
#include "common/util/diag.h"
#include "common/util/options.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Between two calls of the hooks, in milliseconds: each is a small write, and a small read for the
 * next program. A line that comes alone does not wait for it. */
enum { INTERVAL = 2 };

static _Thread_local struct wait_hook *hooks;
static _Thread_local double called; /* when the hooks were, in milliseconds */

void input_on_wait(struct wait_hook *h)
{
    h->next = hooks;
    hooks = h;
}

void input_off_wait(struct wait_hook *h)
{
    for (struct wait_hook **at = &hooks; *at; at = &(*at)->next)
        if (*at == h) {
            *at = h->next;
            return;
        }
}

static void call_hooks(void)
{
    for (struct wait_hook *h = hooks; h; h = h->next)
        h->call(h->data);
    called = 1e3 * clock_seconds();
}

/* Whether read() would wait, even after so many milliseconds. */
static bool would_wait(int fd, int milliseconds)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, milliseconds) == 0;
}

static int rest_of_interval(void)
{
    double left = called + INTERVAL - 1e3 * clock_seconds();
    return left > 0 ? (int)left + 1 : 0;
}

ssize_t input_read(int fd, void *bytes, size_t size)
{
    if (hooks && would_wait(fd, 0) && would_wait(fd, rest_of_interval()))
        call_hooks();
    ssize_t n;
    do
        n = read(fd, bytes, size);
    while (n < 0 && errno == EINTR);
    return n;
}

int input_open(const char *path)
{
    if (!strcmp(path, "-")) {
        static bool opened;
        if (opened)
            usage_error("standard input can be read once: give files for the other inputs");
        opened = true;
        apart_read(STDIN_FILENO, "standard input");
        return STDIN_FILENO;
    }
    /* open() waits, too, until somebody writes to a FIFO. */
    struct stat st;
    if (hooks && !stat(path, &st) && S_ISFIFO(st.st_mode))
        call_hooks();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die_errno("%s", path);
    apart_read(fd, path);
    return fd;
}

void input_close(int fd)
{
    if (fd != STDIN_FILENO)
        close(fd);
}
