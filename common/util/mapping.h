/* Files that are mapped: their bytes may go while they are in use, where somebody cuts the file or
 * its disk fails. Who reads such a byte gets SIGBUS. */
#ifndef DUQ_UTIL_MAPPING_H
#define DUQ_UTIL_MAPPING_H

#include <stddef.h>

/* From now on SIGBUS ends the program without what is unfinished of its output (unfinished.h): at
 * these addresses with a message that names the file and with EX_IOERR, elsewhere as it did. For
 * the program's main thread to call. */
void mapping_watch(const void *base, size_t size, const char *path);
/* Before they are unmapped. Addresses that are not watched are passed over. */
void mapping_forget(const void *base);

#endif
