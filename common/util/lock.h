/* A file that says that a program is at work, and keeps others of its kind from the same work. */
#ifndef DUQ_UTIL_LOCK_H
#define DUQ_UTIL_LOCK_H

#include <stdbool.h>

struct lock {
    char *path;
    int fd; /* -1: none is held */
};

/* Makes the file at path and locks it (flock(2)), so that it is of no account once the program has
 * ended, however that was. False where another program has it. Where no file can be made or looked
 * at, or the file system has no locks, nobody is kept out. exit() and signals remove the file. */
bool lock_take(struct lock *l, const char *path);
/* Removes the file; dies (EX_IOERR) where that cannot be. */
void lock_release(struct lock *l);

#endif
