#include "common/util/lock.h"

#include "common/util/mem.h"
#include "common/util/unfinished.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever had the file before may have removed it meanwhile. */
static bool is_at(const struct stat *st, const char *path)
{
    struct stat there;
    return !stat(path, &there) && st->st_dev == there.st_dev && st->st_ino == there.st_ino;
}

bool lock_take(struct lock *l, const char *path)
{
    *l = (struct lock){NULL, -1};
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0666);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > 0) {
            close(fd);
            return true; /* a file of somebody else's */
        }
        if (flock(fd, LOCK_EX | LOCK_NB)) {
            bool other = errno == EWOULDBLOCK;
            if (!other)
                unlink(path);
            close(fd);
            return !other;
        }
        if (is_at(&st, path)) {
            *l = (struct lock){xstrdup(path), fd};
            unfinished_add(l->path);
            return true;
        }
        close(fd);
    }
}

void lock_release(struct lock *l)
{
    if (l->fd < 0)
        return;
    unlink(l->path);
    unfinished_done(l->path);
    close(l->fd);
    free(l->path);
    *l = (struct lock){NULL, -1};
}
