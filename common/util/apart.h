/* What a program reads and what it writes are different files: one that is written while it is read
 * grows for ever, or is lost. */
#ifndef DUQ_UTIL_APART_H
#define DUQ_UTIL_APART_H

#include <stdbool.h>

/* A file in use. */
struct apart;

/* The regular file that fd is open for is an input, called name in messages, to the program's end
 * or until apart_forget(). Dies (EX_CANTCREAT) where it is an output, too. NULL: no regular file.
 */
struct apart *apart_read(int fd, const char *name);
/* The same for an output, by its path, under which there may be nothing yet, or open. */
struct apart *apart_write(const char *path, const char *name);
struct apart *apart_write_open(int fd, const char *name);
void apart_forget(struct apart *use);

/* Dies (EX_CANTCREAT) where the path is that of a file in use, before work is done that would be in
 * vain. */
void apart_check(const char *path);

/* Whether both paths are one file's, or will be. */
bool apart_same(const char *a, const char *b);

#endif
