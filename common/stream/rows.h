/* Rows of CSV, TSV and JSON-lines files, and plain lines: where examples come from. */
#ifndef DUQ_STREAM_ROWS_H
#define DUQ_STREAM_ROWS_H

#include "common/stream/record.h"

#include <stdbool.h>
#include <stdint.h>

/* CSV: RFC 4180, by libcsv in its strict mode; a byte order mark and blank lines are passed over,
 * line ends may be LF, CRLF or CR. TSV: a line is a row and a tab ends a field, quotes are ordinary
 * characters. JSON lines: one object a line; its keys are the columns, and numbers are
 * texts as they are written. Lines: each is a row of one column; those of only blanks are passed
 * over. */
enum row_format { ROWS_CSV, ROWS_TSV, ROWS_JSONL, ROWS_LINES };

enum row_found { ROW_GOOD, ROW_BAD, ROW_END };

struct rows;

/* The files in order, each with its own header; none at all is standard input. delimiter: of CSV.
 * header: whether the first row names the columns (CSV and TSV). */
struct rows *rows_open(enum row_format format, char *const *paths, int count, char delimiter,
                       bool header);

/* Number of the column that spec means: a name from the header, or else a number counted from 1.
 * Dies with EX_DATAERR, the columns there are named, when there is none. For JSON lines any name is
 * a column. */
size_t rows_column(struct rows *r, const char *spec);

/* How many columns a table without a header has; 0 for others. */
size_t rows_unnamed_columns(const struct rows *r);

/* The next row. ROW_GOOD: fields by column number, living until the next call; data is NULL for a
 * JSON null or a key that is not there. ROW_BAD: rows_problem() has the reason. Dies when the rest
 * cannot be told into rows (EX_DATAERR) or not be read. */
enum row_found rows_next(struct rows *r, const struct span **fields);
const char *rows_problem(const struct rows *r);

/* Number of the row last returned: over all files, counted from 1, headers not counted (JSON lines
 * and lines: its line). */
uint64_t rows_number(const struct rows *r);
/* The file being read. */
const char *rows_file(const struct rows *r);
/* "FILE: row N", N counted in its file, for messages; the caller frees it. */
char *rows_place(const struct rows *r, uint64_t number);

void rows_close(struct rows *r);

#endif
