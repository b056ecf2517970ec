/* What every program's command line shares: -o, -q, -v, -z, --help, --version. */
#ifndef DUQ_UTIL_OPTIONS_H
#define DUQ_UTIL_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>

struct program {
    const char *name;
    const char *usage; /* the whole --help text, a real command line in it */
};

struct common_options {
    const char *output; /* -o; NULL is standard output */
    bool compress;      /* -z, or an output that ends in .zst */
};

/* Values above the characters, for long options without a short one: use OPTION_OWN + n. */
enum { OPTION_HELP = 256, OPTION_VERSION, OPTION_OWN };

#define COMMON_SHORT "o:qvzh"
#define COMMON_LONG                                                                                \
    {"output", required_argument, NULL, 'o'}, {"quiet", no_argument, NULL, 'q'},                   \
        {"verbose", no_argument, NULL, 'v'}, {"compress", no_argument, NULL, 'z'},                 \
        {"help", no_argument, NULL, OPTION_HELP}, {"version", no_argument, NULL, OPTION_VERSION},  \
    {                                                                                              \
        NULL, 0, NULL, 0                                                                           \
    }

/* Call first in main(). With no arguments at all and a terminal on standard input, prints the usage
 * and exits 64 instead of waiting for input that will not come. */
void program_start(const struct program *p, int argc, char **argv);

/* getopt_long() over COMMON_SHORT (append your own letters) and a table that ends in COMMON_LONG;
 * handles the shared options itself and returns only the program's own, -1 at the end. */
int next_option(int argc, char **argv, const char *letters, const struct option *table,
                struct common_options *common);

/* "PROGRAM: MESSAGE", a pointer to --help, exit 64. */
_Noreturn void usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whole-string conversions of an option's value; what they cannot read is a usage error. */
long option_long(const char *name, const char *value, long min, long max);
double option_double(const char *name, const char *value, double min, double max);

/* The closing line of a filter: under -v "read R, written W, skipped S"; exit 65 when nothing was
 * read at all, for a pipeline that did nothing must not look like one that worked. */
void closing_count(unsigned long read, unsigned long written, unsigned long skipped);

#endif
