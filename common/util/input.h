/* Reading where input may pause: from a pipe, a FIFO or a terminal. Before a program waits for
 * input, what it holds back of its output is handed on; so whoever reads and writes by these
 * functions and outfile.h's streams without doing anything for it. */
#ifndef DUQ_UTIL_INPUT_H
#define DUQ_UTIL_INPUT_H

#include <stddef.h>
#include <sys/types.h>

/* Something to do before the calling thread waits for input. It is the thread's alone: reading in
 * one thread does not touch what another writes. */
struct wait_hook {
    void (*call)(void *data);
    void *data;
    struct wait_hook *next;
};

/* The hook stays the caller's and in its place until input_off_wait(), by the same thread. */
void input_on_wait(struct wait_hook *h);
void input_off_wait(struct wait_hook *h);

/* "-" is standard input. Dies with die_errno() where the path cannot be opened. */
int input_open(const char *path);
/* As read(2), but no signal interrupts it. Hooks are called when nothing is there to be read; at
 * most every other millisecond, so that input in drops is not passed on drop by drop. */
ssize_t input_read(int fd, void *bytes, size_t size);
/* Leaves standard input open. */
void input_close(int fd);

#endif
