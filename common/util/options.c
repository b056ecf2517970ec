#include "common/util/options.h"

#include "common/util/diag.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct program *program;

void program_start(const struct program *p, int argc, char **argv)
{
    (void)argv;
    program = p;
    program_name = p->name;
    /* A caller that ignores it would turn a closed pipe into an error message. */
    signal(SIGPIPE, SIG_DFL);
    if (argc == 1 && isatty(STDIN_FILENO)) {
        fputs(p->usage, stderr);
        exit(EX_USAGE);
    }
}

int next_option(int argc, char **argv, const char *letters, const struct option *table,
                struct common_options *common)
{
    for (;;) {
        int c = getopt_long(argc, argv, letters, table, NULL);
        switch (c) {
        case 'o': {
            common->output = optarg;
            size_t n = strlen(optarg);
            if (n > 4 && !strcmp(optarg + n - 4, ".zst"))
                common->compress = true;
            break;
        }
        case 'q':
            verbosity = QUIET;
            break;
        case 'v':
            verbosity = VERBOSE;
            break;
        case 'z':
            common->compress = true;
            break;
        case 'h':
        case OPTION_HELP:
            fputs(program->usage, stdout);
            exit(fflush(stdout) ? EX_IOERR : EX_OK);
        case OPTION_VERSION:
            printf("%s (duq) %s\n", program->name, DUQ_VERSION);
            exit(fflush(stdout) ? EX_IOERR : EX_OK);
        case '?':
            fprintf(stderr, "Try '%s --help'.\n", program->name);
            exit(EX_USAGE);
        default:
            return c;
        }
    }
}

void usage_error(const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "%s: %s\nTry '%s --help'.\n", program_name, line, program_name);
    exit(EX_USAGE);
}

long option_long(const char *name, const char *value, long min, long max)
{
    char *end;
    errno = 0;
    long v = strtol(value, &end, 10);
    if (errno || end == value || *end || v < min || v > max)
        usage_error("%s: '%s' is not a whole number from %ld to %ld", name, value, min, max);
    return v;
}

double option_double(const char *name, const char *value, double min, double max)
{
    char *end;
    errno = 0;
    double v = strtod(value, &end);
    if (errno || end == value || *end || !isfinite(v) || v < min || v > max)
        usage_error("%s: '%s' is not a number from %g to %g", name, value, min, max);
    return v;
}

void closing_count(unsigned long read, unsigned long written, unsigned long skipped)
{
    inform("read %lu, written %lu, skipped %lu", read, written, skipped);
    if (read == 0)
        die(EX_DATAERR, "the input holds no records: nothing was done");
}
