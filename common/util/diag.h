/* Messages on standard error, and the end of a program that cannot go on. */
#ifndef DUQ_UTIL_DIAG_H
#define DUQ_UTIL_DIAG_H

#include "common/util/everywhere.h"

#include <stdbool.h>
#include <sysexits.h>

DUQ_C_BEGIN

/* Set once by program_start(). */
extern const char *program_name;

enum verbosity { QUIET = -1, NORMAL = 0, VERBOSE = 1 };
extern enum verbosity verbosity;

/* Prints "PROGRAM: MESSAGE" and exits with a status from sysexits.h. Unfinished output files are
 * removed on the way out (outfile.h). The message names the file and record and says what to do. */
DUQ_NORETURN void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As die(), with ": strerror(errno)" appended; status is EX_IOERR, or EX_NOINPUT for a file that is
 * missing or may not be read, or EX_OSERR where memory is short. */
DUQ_NORETURN void die_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What a thread said when it died. */
struct last_words {
    int status; /* 0: it has not died */
    char text[4096];
};

/* For a thread beside the program's main one: exit() there would take the libraries away under
 * those at work. Calls body(data), in which die() and die_errno() leave what they would have said
 * in *w, and this function returns. (pthread_exit() would need memory, of which there may be none.)
 */
void die_into(struct last_words *w, void (*body)(void *data), void *data);
/* Says it and exits, in another thread. */
DUQ_NORETURN void die_with(const struct last_words *w);

/* A warning, silenced by -q. */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A remark, shown under -v only. */
void inform(const char *format, ...) __attribute__((format(printf, 1, 2)));

DUQ_C_END

#endif
