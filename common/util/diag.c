#include "common/util/diag.h"

#include "common/util/printable.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *program_name = "duq";
enum verbosity verbosity = NORMAL;

static _Thread_local struct last_words *last_words; /* see die_into() */

/* "PROGRAM: MESSAGE", cut to the room there is. A message may hold what others wrote (ids, names,
 * texts): on a terminal that shows, and does nothing. No memory is asked for: there may be none. */
static void compose(char *line, size_t size, const char *format, va_list args, const char *tail)
{
    char text[sizeof last_words->text], shown[PRINTABLE_SIZE];
    int m = vsnprintf(text, sizeof text, format, args);
    size_t len = m > 0 ? strlen(text) : 0;
    snprintf(text + len, sizeof text - len, "%s", tail);
    len = strlen(text);
    size_t n = (size_t)snprintf(line, size, "%s: ", program_name);
    for (size_t i = 0; i < len; n += strlen(shown)) {
        i += printable(text + i, len - i, shown);
        if (n + strlen(shown) >= size)
            break;
        strcpy(line + n, shown);
    }
}

/* One write per message, so that lines of a pipeline's programs do not mix. */
static void say(const char *format, va_list args)
{
    char line[sizeof last_words->text];
    compose(line, sizeof line, format, args, "");
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

static DUQ_NORETURN void end(const struct last_words *w)
{
    if (!last_words)
        die_with(w);
    *last_words = *w;
    pthread_exit(NULL);
}

void die_into(struct last_words *w)
{
    last_words = w;
}

void die_with(const struct last_words *w)
{
    fprintf(stderr, "%s\n", w->text);
    LEAKS_ARE_DUE;
    exit(w->status);
}

void die(int status, const char *format, ...)
{
    struct last_words w = {.status = status};
    va_list args;
    va_start(args, format);
    compose(w.text, sizeof w.text, format, args, "");
    va_end(args);
    end(&w);
}

void die_errno(const char *format, ...)
{
    int error = errno;
    bool no_input = error == ENOENT || error == EACCES || error == EISDIR || error == ENOTDIR;
    struct last_words w = {.status = no_input ? EX_NOINPUT : EX_IOERR};
    char tail[256];
    snprintf(tail, sizeof tail, ": %s", strerror(error));
    va_list args;
    va_start(args, format);
    compose(w.text, sizeof w.text, format, args, tail);
    va_end(args);
    end(&w);
}

void warn(const char *format, ...)
{
    if (verbosity == QUIET)
        return;
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

void inform(const char *format, ...)
{
    if (verbosity != VERBOSE)
        return;
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}
