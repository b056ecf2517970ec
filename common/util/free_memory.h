/* How much memory this process can still take. */
#ifndef DUQ_UTIL_FREE_MEMORY_H
#define DUQ_UTIL_FREE_MEMORY_H

#include <stddef.h>

/* Bytes: what the kernel thinks can be taken without swapping, the cached pages of files included,
 * and no more than its control groups leave; all that is not in use where it does not say. root:
 * see processors_quota(). */
size_t free_memory(const char *root);

#endif
