#include "common/util/diag.h"

#include "common/util/printable.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *program_name = "duq";
enum verbosity verbosity = NORMAL;

/* Where a thread goes that dies within die_into(); NULL elsewhere. */
struct way_out {
    struct last_words *words;
    jmp_buf place;
};
static _Thread_local struct way_out *way_out;

/* "PROGRAM: MESSAGE", cut to the room there is. A message may hold what others wrote (ids, names,
 * texts): on a terminal that shows, and does nothing. No memory is asked for: there may be none. */
static void compose(char *line, size_t size, const char *format, va_list args, const char *tail)
{
    char text[sizeof way_out->words->text], shown[PRINTABLE_SIZE];
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
    char line[sizeof way_out->words->text];
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
    if (!way_out)
        die_with(w);
    *way_out->words = *w;
    longjmp(way_out->place, 1);
}

void die_into(struct last_words *w, void (*body)(void *data), void *data)
{
    struct way_out own = {.words = w};
    way_out = &own;
    if (!setjmp(own.place))
        body(data);
    way_out = NULL;
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
    struct last_words w = {.status = no_input ? EX_NOINPUT : error == ENOMEM ? EX_OSERR : EX_IOERR};
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
