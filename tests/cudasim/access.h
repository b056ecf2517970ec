/* What is known of memory that kernels read and write: which bytes were set, and who touched them
 * last (access.cpp). */
#ifndef CUDASIM_ACCESS_H
#define CUDASIM_ACCESS_H

#include "simulator.h"

namespace cudasim
{

enum class access_kind { READ, WRITE, ATOMIC };

/* Of the thread that runs now. Threads of one warp with equal `sync` have not met since. */
struct accessor {
    uint16_t thread, sync;
};
extern struct accessor accessor;

/* ---- the course of a launch ---- */

/* Accesses are ordered by intervals: another begins with each launch, block and barrier. */
void access_begin_grid();
void access_begin_block(uint64_t block);
void access_next_interval();

/* ---- device memory: nobody but the simulator reads or writes these bytes meanwhile ---- */

void access_begin(char *device, size_t reserved);
void mark_set(const void *p, size_t bytes);
/* Of whole pages, which are free. */
void forget_marks(const void *pages, size_t bytes);
void copy_marks(void *to, const void *from, size_t bytes);
/* Reports a byte that nobody set. */
void require_set(const void *p, size_t bytes, const char *what);

/* ---- shared memory ---- */

void access_begin_shared(char *arena, size_t bytes);
void shared_open(size_t offset, size_t bytes);  /* an array: allocated, not set */
void shared_close(size_t offset, size_t bytes); /* nothing is there */

/* One access of the running thread. */
void access_memory(enum access_kind, const void *p, size_t bytes, size_t alignment, const void *pc);

/* Whether an access by one of the threads (fewer than 32) of a product conflicts with what others
 * of the grid begun last did. */
bool conflicts(enum access_kind, unsigned thread, const void *device_pointer, size_t bytes);

} // namespace cudasim

#endif
