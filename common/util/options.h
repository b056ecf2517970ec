/* Command lines. A program's options are rows of a table: the help, the parsing and the list that
 * tests hold against the man page all come from them. What every program shares, -o, -q, -v, -z,
 * --help and --version, are rows in options.c. */
#ifndef DUQ_UTIL_OPTIONS_H
#define DUQ_UTIL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* A program's settings are a struct that begins with these. */
struct common_options {
    const char *output; /* -o; NULL is standard output */
    bool compress;      /* -z, or an output that ends in .zst */
};

/* Whether a file to be written is compressed for its name: it ends in .zst. */
bool names_compressed(const char *path);

/* ---- rows ---- */

enum option_kind {
    OPTION_KIND_SET,    /* bool: true */
    OPTION_KIND_CLEAR,  /* bool: false */
    OPTION_KIND_TEXT,   /* const char *, of the command line */
    OPTION_KIND_WHOLE,  /* int, long or unsigned long */
    OPTION_KIND_REAL,   /* double */
    OPTION_KIND_CHOICE, /* enum */
    OPTION_KIND_OWN,    /* what take() does */
    OPTION_KIND_WORDS,  /* other words for the help, of an option that has its row elsewhere */
    OPTION_KIND_UNSAID, /* the same, to leave it out of the help and of the list */
    OPTION_KIND_HELP,
    OPTION_KIND_VERSION
};

struct option_choice {
    const char *name; /* NULL ends a list */
    int value;
};

struct option_row {
    const char *name; /* without its dashes; NULL: it has a letter alone */
    char letter;      /* 0: none */
    /* The value's name in the help. NULL: it takes no value; "[=NAME]": it may go without. */
    const char *argument;
    /* Lines end in "\n", the last one does not. NULL: it has none of its own and shares the next
     * row's line; "": the usage lines, or another row's words, have it. */
    const char *help;
    /* The rest is one of the macros below. */
    enum option_kind kind;
    size_t offset; /* in the program's settings */
    size_t size;   /* of OPTION_WHOLE's */
    size_t given;  /* of a bool that is true from then on; 0: none */
    long min, max;
    double least, most;
    /* Of OPTION_CHOICE all values there are; of OPTION_OWN those that are words, if it says so, for
     * completion. */
    const struct option_choice *choices;
    /* value is NULL where it was left out. What it cannot read is a usage_error(); option, "--name"
     * or "-n", is for that. */
    void (*take)(void *target, const char *option, const char *value);
};

/* Where in the settings a value goes: member m of struct type T, which must be of that C type. */
#define OPTION_AT(type, T, m)                                                                      \
    (offsetof(T, m) + 0 * sizeof(_Generic(&((T *)0)->m, type * : (char)0)))
#define OPTION_AT_WHOLE(T, m)                                                                      \
    (offsetof(T, m) + 0 * sizeof(_Generic(((T *)0)->m, int                                         \
                                          : (char)0, long                                          \
                                          : (char)0, unsigned long                                 \
                                          : (char)0)))

#define OPTION_SET(T, m) .kind = OPTION_KIND_SET, .offset = OPTION_AT(bool, T, m)
#define OPTION_CLEAR(T, m) .kind = OPTION_KIND_CLEAR, .offset = OPTION_AT(bool, T, m)
#define OPTION_TEXT(T, m) .kind = OPTION_KIND_TEXT, .offset = OPTION_AT(const char *, T, m)
/* From lo to hi, both included. */
#define OPTION_WHOLE(T, m, lo, hi)                                                                 \
    .kind = OPTION_KIND_WHOLE, .offset = OPTION_AT_WHOLE(T, m), .size = sizeof(((T *)0)->m),       \
    .min = (lo), .max = (hi)
#define OPTION_REAL(T, m, lo, hi)                                                                  \
    .kind = OPTION_KIND_REAL, .offset = OPTION_AT(double, T, m), .least = (lo), .most = (hi)
#define OPTION_CHOICE(E, T, m, list)                                                               \
    .kind = OPTION_KIND_CHOICE, .offset = OPTION_AT(E, T, m), .choices = (list)
/* function gets the member's address. */
#define OPTION_OWN(T, m, function)                                                                 \
    .kind = OPTION_KIND_OWN, .offset = offsetof(T, m), .take = (function)
#define OPTION_GIVEN(T, m) .given = OPTION_AT(bool, T, m)
#define OPTION_WORDS .kind = OPTION_KIND_WORDS
#define OPTION_UNSAID .kind = OPTION_KIND_UNSAID

#define OPTIONS_END                                                                                \
    {                                                                                              \
        .name = NULL, .letter = 0                                                                  \
    }

/* ---- programs ---- */

struct settings; /* each program's own */

/* A command of a program that has several, which is its first argument. */
struct command {
    const char *name;    /* NULL ends a list */
    const char *summary; /* in the help; NULL: the same as the command's before it */
    const struct option_row *rows;
    int help_column; /* in the help: rows are lines below the summary; 0: they are in its line */
    void (*run)(const struct settings *);
};

struct program {
    const char *name;
    const char *about;              /* how the help begins: usage, a real command line */
    const struct option_row *rows;  /* NULL: it has commands */
    const struct command *commands; /* NULL: it has rows */
    /* How the help is laid out: the column of options without a letter, and that of their help;
     * brief: of letter and name only one is there. */
    int name_column, help_column;
    bool brief;
};

/* Call first in main(). With no arguments at all and a terminal on standard input, prints the help
 * and exits 64 instead of waiting for input that will not come. With "--list-options" alone prints
 * a line for each option, COMMAND, LETTER, NAME, ARGUMENT and its CHOICES (A,B,C) with tabs between
 * them and "-" for none, before a command's options one of the command alone, and exits. */
void program_start(const struct program *p, int argc, char **argv);

/* The command that argv[1] names. Does --help and --version where they stand in its place; exits 64
 * where there is none. */
const struct command *command_find(const struct program *p, int argc, char **argv);

/* Reads options, of rows and the common ones, into the settings that begin with *settings, as
 * getopt_long() does: long names may be cut short and options may stand after operands, which move
 * behind them. Does --help and --version, and exits 64 at what is wrong, naming argv[0]. Returns
 * the first operand's index in argv. */
int options_parse(const struct program *p, const struct option_row *rows, int argc, char **argv,
                  struct common_options *settings);

/* The status of a program that has printed to standard output what was asked for, EX_OK; dies
 * (EX_IOERR) where it could not be written. */
int finish_printing(void);

/* "PROGRAM: MESSAGE", a pointer to --help, exit 64. */
_Noreturn void usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whole-string conversions of an option's value; what they cannot read is a usage error. */
long option_long(const char *option, const char *value, long min, long max);
double option_double(const char *option, const char *value, double min, double max);

/* The closing line of a filter: under -v "read R, written W, skipped S"; exit 65 when nothing was
 * read at all, for a pipeline that did nothing must not look like one that worked. */
void closing_count(unsigned long read, unsigned long written, unsigned long skipped);

#endif
