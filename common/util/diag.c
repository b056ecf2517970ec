#include "common/util/diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *program_name = "duq";
enum verbosity verbosity = NORMAL;

/* One write per message, so that lines of a pipeline's programs do not mix. */
static void say(const char *format, va_list args, const char *tail)
{
    char line[4096];
    int n = snprintf(line, sizeof line, "%s: ", program_name);
    int m = vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    size_t len = (size_t)n + (m > 0 ? (size_t)m : 0);
    if (len > sizeof line - 1)
        len = sizeof line - 1;
    snprintf(line + len, sizeof line - len, "%s", tail);
    fprintf(stderr, "%s\n", line);
}

#ifdef __SANITIZE_ADDRESS__
/* What a program still held when it died is no leak; LeakSanitizer asks here. */
static int dying;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return dying;
}
#define LEAKS_ARE_DUE (dying = 1)
#else
#define LEAKS_ARE_DUE ((void)0)
#endif

void die(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args, "");
    va_end(args);
    LEAKS_ARE_DUE;
    exit(status);
}

void die_errno(const char *format, ...)
{
    int error = errno;
    char tail[256];
    snprintf(tail, sizeof tail, ": %s", strerror(error));
    va_list args;
    va_start(args, format);
    say(format, args, tail);
    va_end(args);
    LEAKS_ARE_DUE;
    exit(error == ENOENT || error == EACCES || error == EISDIR || error == ENOTDIR ? EX_NOINPUT
                                                                                   : EX_IOERR);
}

void warn(const char *format, ...)
{
    if (verbosity == QUIET)
        return;
    va_list args;
    va_start(args, format);
    say(format, args, "");
    va_end(args);
}

void inform(const char *format, ...)
{
    if (verbosity != VERBOSE)
        return;
    va_list args;
    va_start(args, format);
    say(format, args, "");
    va_end(args);
}
