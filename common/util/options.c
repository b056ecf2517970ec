#include "common/util/options.h"

#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/options_help.h"
#include "common/util/surroundings.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the common options ---- */

bool names_compressed(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && !strcmp(path + n - 4, ".zst");
}

static void take_output(void *target, const char *option, const char *value)
{
    (void)option;
    struct common_options *common = target;
    common->output = value;
    if (names_compressed(value))
        common->compress = true;
}

static void take_quiet(void *target, const char *option, const char *value)
{
    (void)target, (void)option, (void)value;
    verbosity = QUIET;
}

static void take_verbose(void *target, const char *option, const char *value)
{
    (void)target, (void)option, (void)value;
    verbosity = VERBOSE;
}

const struct option_row common_rows[] = {
    {"output", 'o', "FILE", "write here; ends in .zst: compressed",
     OPTION_OWN(struct common_options, output, take_output)},
    {"compress", 'z', NULL, "zstd output", OPTION_SET(struct common_options, compress)},
    {"quiet", 'q', NULL, NULL, OPTION_OWN(struct common_options, output, take_quiet)},
    {"verbose", 'v', NULL, NULL, OPTION_OWN(struct common_options, output, take_verbose)},
    {"help", 'h', NULL, NULL, .kind = OPTION_KIND_HELP},
    {"version", 0, NULL, NULL, .kind = OPTION_KIND_VERSION},
    OPTIONS_END};

/* ---- getopt_long()'s view of a table ---- */

enum { FIRST_VALUE = 256 }; /* above all letters */

struct table {
    const struct option_row **rows; /* the program's own and the common ones, without mere words */
    size_t n;
    struct option *longs; /* of value FIRST_VALUE + the row's index */
    size_t n_longs;
    struct buf letters;
};

static bool value_may_miss(const struct option_row *r)
{
    return r->argument && !strncmp(r->argument, "[=", 2);
}

static void add_long(struct table *t, struct option o)
{
    t->longs = xreallocarray(t->longs, t->n_longs + 2, sizeof *t->longs);
    t->longs[t->n_longs++] = o;
    t->longs[t->n_longs] = (struct option){0};
}

static void add_rows(struct table *t, const struct option_row *rows)
{
    for (const struct option_row *r = rows; !option_row_ends(r); r++) {
        if (r->kind == OPTION_KIND_WORDS || r->kind == OPTION_KIND_UNSAID)
            continue;
        int takes = value_may_miss(r) ? optional_argument
                    : r->argument     ? required_argument
                                      : no_argument;
        t->rows = xreallocarray(t->rows, t->n + 1, sizeof(const struct option_row *));
        t->rows[t->n++] = r;
        if (r->name)
            add_long(t, (struct option){r->name, takes, NULL, FIRST_VALUE + (int)t->n - 1});
        if (r->letter)
            buf_addf(&t->letters, "%c%s", r->letter, takes == no_argument ? "" : ":");
    }
}

static const struct option_row *row_of(const struct table *t, int c)
{
    if (c >= FIRST_VALUE)
        return t->rows[c - FIRST_VALUE];
    size_t i = 0;
    while (t->rows[i]->letter != c)
        i++;
    return t->rows[i];
}

static void table_free(struct table *t)
{
    free(t->rows);
    free(t->longs);
    buf_free(&t->letters);
}

/* ---- values ---- */

static void store_whole(const struct option_row *r, void *target, long value)
{
    if (r->size == sizeof(int))
        *(int *)target = (int)value;
    else
        *(long *)target = value;
}

/* "neither A nor B", "none of A, B, C" */
static _Noreturn void no_choice(const struct option_row *r, const char *option, const char *value)
{
    struct buf names = {0};
    const struct option_choice *c = r->choices;
    bool two = c[0].name && c[1].name && !c[2].name;
    for (; c->name; c++)
        buf_addf(&names, "%s%s", c == r->choices ? "" : two ? " nor " : ", ", c->name);
    usage_error("%s: '%s' is %s %s", option, value, two ? "neither" : "none of", buf_str(&names));
}

static void store_choice(const struct option_row *r, void *target, const char *option,
                         const char *value)
{
    for (const struct option_choice *c = r->choices; c->name; c++)
        if (!strcmp(value, c->name)) {
            *(int *)target = c->value;
            return;
        }
    no_choice(r, option, value);
}

int finish_printing(void)
{
    if (fflush(stdout) || ferror(stdout))
        die(EX_IOERR, "standard output: not written: %s", strerror(errno));
    return EX_OK;
}

static void take(const struct program *p, const struct option_row *r, const char *value,
                 void *settings)
{
    char letter[] = {'-', r->letter, '\0'};
    char *name = r->name ? xasprintf("--%s", r->name) : xstrdup(letter);
    void *target = (char *)settings + r->offset;
    switch (r->kind) {
    case OPTION_KIND_SET:
    case OPTION_KIND_CLEAR:
        *(bool *)target = r->kind == OPTION_KIND_SET;
        break;
    case OPTION_KIND_TEXT:
        *(const char **)target = value;
        break;
    case OPTION_KIND_WHOLE:
        store_whole(r, target, option_long(name, value, r->min, r->max));
        break;
    case OPTION_KIND_REAL:
        *(double *)target = option_double(name, value, r->least, r->most);
        break;
    case OPTION_KIND_CHOICE:
        store_choice(r, target, name, value);
        break;
    case OPTION_KIND_OWN:
        r->take(target, name, value);
        break;
    case OPTION_KIND_HELP:
        options_help(p, stdout);
        exit(finish_printing());
    case OPTION_KIND_VERSION:
        printf("%s (duq) %s\n", p->name, DUQ_VERSION);
        exit(finish_printing());
    case OPTION_KIND_WORDS:
    case OPTION_KIND_UNSAID:
        break; /* not in the table */
    }
    if (r->given)
        *(bool *)((char *)settings + r->given) = true;
    free(name);
}

/* mode: what getopt_long() has before the letters. */
static int parse(const struct program *p, const char *mode, const struct option_row *rows, int argc,
                 char **argv, struct common_options *settings)
{
    struct table t = {0};
    buf_addf(&t.letters, "%s", mode);
    add_rows(&t, rows);
    add_rows(&t, common_rows);
    optind = 0; /* begin anew */
    for (int c; (c = getopt_long(argc, argv, buf_str(&t.letters), t.longs, NULL)) != -1;) {
        if (c == '?') {
            fprintf(stderr, "Try '%s --help'.\n", p->name);
            exit(EX_USAGE);
        }
        take(p, row_of(&t, c), optarg, settings);
    }
    table_free(&t);
    return optind;
}

int options_parse(const struct program *p, const struct option_row *rows, int argc, char **argv,
                  struct common_options *settings)
{
    return parse(p, "", rows, argc, argv, settings);
}

/* ---- programs ---- */

void program_start(const struct program *p, int argc, char **argv)
{
    program_name = p->name;
    surroundings_settle();
    if (argc == 1 && isatty(STDIN_FILENO)) {
        options_help(p, stderr);
        exit(EX_USAGE);
    }
    if (argc == 2 && !strcmp(argv[1], "--list-options")) {
        options_list(p, stdout);
        exit(finish_printing());
    }
}

const struct command *command_find(const struct program *p, int argc, char **argv)
{
    static const struct option_row none[] = {OPTIONS_END};
    struct common_options ignored = {0};
    for (const struct command *c = p->commands; argc > 1 && c->name; c++)
        if (!strcmp(argv[1], c->name))
            return c;
    if (argc > 1 && argv[1][0] != '-')
        usage_error("no command '%s'", argv[1]);
    /* --help and --version, or an option where the command is due. */
    parse(p, "+", none, argc, argv, &ignored);
    usage_error("the first argument is the command");
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

/* Whether the value consists of these characters and does not begin with a plus: the C library's
 * conversions also take blanks before a number, "+1" and "0x1p-1". */
static bool is_plain(const char *value, const char *characters)
{
    return value[strspn(value, characters)] == '\0' && *value != '+';
}

long option_long(const char *option, const char *value, long min, long max)
{
    char *end;
    errno = 0;
    long v = strtol(value, &end, 10);
    if (!is_plain(value, "-0123456789") || errno || end == value || *end || v < min || v > max)
        usage_error("%s: '%s' is not a whole number from %ld to %ld", option, value, min, max);
    return v;
}

double option_double(const char *option, const char *value, double min, double max)
{
    char *end;
    errno = 0;
    double v = strtod(value, &end);
    if (!is_plain(value, "+-.0123456789eE") || errno || end == value || *end || !isfinite(v) ||
        v < min || v > max)
        usage_error("%s: '%s' is not a number from %.10g to %.10g", option, value, min, max);
    return v;
}

void closing_count(unsigned long read, unsigned long written, unsigned long skipped)
{
    inform("read %lu, written %lu, skipped %lu", read, written, skipped);
    if (read == 0)
        die(EX_DATAERR, "the input holds no records: nothing was done");
}
