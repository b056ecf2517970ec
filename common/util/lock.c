#include "common/util/lock.h"

#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/unfinished.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether the open file is the one at path and of no other use; whoever had it before may have
 * removed it meanwhile. */
enum standing { OURS, REMOVED, ANOTHERS };

static enum standing standing_of(int fd, const char *path)
{
    struct stat open, there;
    if (fstat(fd, &open) || !S_ISREG(open.st_mode) || open.st_size > 0)
        return ANOTHERS;
    if (stat(path, &there))
        return errno == ENOENT ? REMOVED : ANOTHERS;
    return open.st_dev == there.st_dev && open.st_ino == there.st_ino ? OURS : REMOVED;
}

static int open_lock(const char *path, bool *made)
{
    enum { FLAGS = O_RDWR | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW };
    int fd = open(path, FLAGS | O_CREAT | O_EXCL, 0666);
    *made = fd >= 0;
    return fd < 0 && errno == EEXIST ? open(path, FLAGS) : fd;
}

bool lock_take(struct lock *l, const char *path)
{
    *l = (struct lock){NULL, -1};
    for (;;) {
        bool made;
        int fd = open_lock(path, &made);
        if (fd < 0)
            return true;
        bool taken = !flock(fd, LOCK_EX | LOCK_NB), other = !taken && errno == EWOULDBLOCK;
        enum standing standing = taken ? standing_of(fd, path) : ANOTHERS;
        if (standing == OURS) {
            *l = (struct lock){xstrdup(path), fd};
            unfinished_add(l->path);
            return true;
        }
        if (made && !other && standing == ANOTHERS)
            unlink(path);
        close(fd);
        if (standing == ANOTHERS)
            return !other;
    }
}

void lock_release(struct lock *l)
{
    if (l->fd < 0)
        return;
    if (unlink(l->path) && errno != ENOENT)
        die(EX_IOERR, "%s: cannot be removed: %s", l->path, strerror(errno));
    unfinished_done(l->path);
    close(l->fd);
    free(l->path);
    *l = (struct lock){NULL, -1};
}
