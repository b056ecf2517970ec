/* Text for a terminal: how wide it is there, and nothing in it that a terminal would obey. */
#ifndef DUQ_UTIL_TERMINAL_H
#define DUQ_UTIL_TERMINAL_H

#include "common/util/mem.h"

#include <stdbool.h>

/* Columns to write in: the terminal's on standard output, or what COLUMNS says, or 80. */
size_t terminal_columns(void);

/* Columns that UTF-8 text takes: wide characters two, combining ones none. Of what is not UTF-8,
 * each byte one. */
size_t text_columns(const char *bytes, size_t len);

/* Appends the text with control characters, those that turn the direction of writing and bytes that
 * are not UTF-8 spelt out: "\n", "\t", "\x1b", "\u202e". */
void add_printable(struct buf *out, const char *bytes, size_t len);

/* Appends as much of printable text as these columns hold, with an ellipsis for the rest, and, to
 * fill them, blanks after it or, right, before it. */
void add_cell(struct buf *out, const char *bytes, size_t len, size_t columns, bool right);

#endif
