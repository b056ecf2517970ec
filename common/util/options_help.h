/* What is printed of option tables; for options.c. */
#ifndef DUQ_UTIL_OPTIONS_HELP_H
#define DUQ_UTIL_OPTIONS_HELP_H

#include "common/util/options.h"

#include <stdio.h>

extern const struct option_row common_rows[];

static inline bool option_row_ends(const struct option_row *r)
{
    return !r->name && !r->letter;
}

/* The row with this name, NULL where there is none. */
const struct option_row *option_row_find(const struct option_row *rows, const char *name);

void options_help(const struct program *p, FILE *to);
/* As program_start() says. */
void options_list(const struct program *p, FILE *to);

#endif
