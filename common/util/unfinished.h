/* Files that are being made under another name, which must not outlive the program. */
#ifndef DUQ_UTIL_UNFINISHED_H
#define DUQ_UTIL_UNFINISHED_H

/* mkstemp(3), with mode bits as open(2) gives them. exit() and every signal that ends a program and
 * can be caught remove the file, until unfinished_done(); the signal then does what it did before.
 * The pattern stays the caller's and in its place until then. Returns -1 and errno where the file
 * cannot be made; dies (EX_SOFTWARE) where there are more at once than any program needs. */
int unfinished_create(char *pattern);
/* A file that is there already; its name stays the caller's. */
void unfinished_add(char *name);
/* The file has got its own name, or is gone. */
void unfinished_done(const char *name);

/* Signals are caught from now on, and not with the first file only: for signals_hold(). */
void unfinished_watch_signals(void);

/* Removes all of them at once; for a signal's handler. */
void unfinished_remove(void);

#endif
