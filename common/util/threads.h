/* The program's threads: a small pool that takes work in pieces.
 *
 * Pieces are handed out one by one, so a thread whose processor is taken away holds the others up
 * by its present piece at most. Idle threads spin for some tens of microseconds, then sleep. A
 * result may depend on the piece, never on the thread that did it or on how many there are. */
#ifndef DUQ_UTIL_THREADS_H
#define DUQ_UTIL_THREADS_H

#include "common/util/everywhere.h"

#include <stddef.h>

DUQ_C_BEGIN

/* The threads of later threads_run() calls: n, or with 0 what threads_available() says. */
void threads_set(int n);
/* How many that are, the caller among them. */
int threads_count(void);

/* What this process may use: the processors that its affinity allows, no more than its control
 * group's quota (cpu.max, rounded up), no more than DUQ_THREADS where that is set; at least 1.
 * Ends the program (EX_USAGE) where DUQ_THREADS is no number from 1 to 4096. */
int threads_available(void);
/* The same for one of so many processes of one job on this host. They share the quota; they share
 * the processors unless whoever started them has bound each to some. DUQ_THREADS is of each. */
int threads_share(int processes);

/* Calls body(context, piece) for every piece from 0 to pieces - 1, on the calling thread and the
 * pool's, in no order, and returns when all are done. Within a piece, or while another thread's
 * work is under way, the caller does all of them itself. */
void threads_run(size_t pieces, void (*body)(void *context, size_t piece), void *context);

/* Within a piece: which of the pool's threads this is, from 0 (the caller) to threads_count() - 1;
 * 0 elsewhere. Two pieces of one threads_run() under way at once have different numbers. */
int thread_number(void);

DUQ_C_END

#endif
