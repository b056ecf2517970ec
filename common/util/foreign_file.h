/* Files that are something else than what they are handed in as: a pointer instead of the file,
 * another program's format. */
#ifndef DUQ_UTIL_FOREIGN_FILE_H
#define DUQ_UTIL_FOREIGN_FILE_H

#include <stddef.h>

/* Dies (EX_DATAERR) where the first bytes of a file say that it is of one of these kinds, with what
 * it is and what to do. bytes: its beginning, n of them; some hundred are enough. */
void foreign_file_refuse(const char *path, const char *bytes, size_t n);

#endif
