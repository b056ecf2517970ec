/* Output files that appear whole or not at all: written beside their place, renamed when done. */
#ifndef DUQ_UTIL_OUTFILE_H
#define DUQ_UTIL_OUTFILE_H

#include <stdio.h>

struct outfile;

/* path NULL or "-": standard output, nothing to rename. Otherwise opens a temporary file in the
 * same folder, which does not outlive the program (unfinished.h). Symbolic links are followed: what
 * is renamed and replaced is the file that they lead to. What is not a regular file (/dev/null, a
 * FIFO) is written in place, and so are the program's descriptors (/dev/stdout, /dev/fd/3). Dies
 * with EX_CANTCREAT when it cannot be made, or is an input, too (apart.h). */
struct outfile *outfile_open(const char *path);
/* Dies with EX_IOERR where they cannot be written, and says why: a stream remembers only that. */
void outfile_write(struct outfile *f, const void *bytes, size_t len);
/* Writes text; where that is a terminal with everything spelt out that it would obey (printable.h),
 * but for line breaks and tabs. */
void outfile_write_text(struct outfile *f, const char *text, size_t len);
FILE *outfile_stream(struct outfile *f);
/* What is written to the stream goes on to whoever reads the file at outfile_flush(), and when this
 * thread waits for input (input.h), unless nobody sees the file before it is finished.
 * outfile_before_flush() names what must go to the stream before that. */
void outfile_before_flush(struct outfile *f, void (*drain)(void *data), void *data);
void outfile_flush(struct outfile *f);
/* The user's name for it, for messages. */
const char *outfile_name(const struct outfile *f);
/* By the thread that opened it. Flushes, syncs, renames and frees; dies with EX_IOERR when anything
 * was not written. */
void outfile_finish(struct outfile *f);

/* Removes what programs that were killed left unfinished beside path. */
void outfile_remove_stale(const char *path);

#endif
