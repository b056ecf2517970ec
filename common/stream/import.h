/* Rows to examples: which columns make the id and the text, and which class a label stands for. */
#ifndef DUQ_STREAM_IMPORT_H
#define DUQ_STREAM_IMPORT_H

#include "common/stream/rows.h"

/* NULL or 0 where not given. Templates: a bare column name or number, or text with {COLUMN} in it
 * ({{ and }} are braces). */
struct import_options {
    const char *id;        /* template; else the row's number */
    const char *text;      /* template */
    const char *label;     /* column; else labels are nil */
    const char *classes;   /* "negative,positive": the classes' names, for the header */
    const char *labels;    /* "1,2": what stands for classes 0, 1 ... in the label column */
    const char *label_map; /* "spam=1,ham=0" */
    bool skip_bad;         /* pass over rows that cannot be used, instead of dying at the first */
};

struct import;

/* Dies with EX_USAGE at options that contradict each other, EX_DATAERR at a column that is not
 * there. The rows stay the caller's. */
struct import *import_new(struct rows *rows, const struct import_options *options);

/* The classes' names as a JSON array, new reference; NULL where they were not given. */
json_t *import_classes(const struct import *im);

/* The next example, living until the next call; false at the end. Dies with EX_DATAERR, the row
 * named, at a row that is ragged, not UTF-8, has a label that is no class or another row's id. */
bool import_next(struct import *im, struct example *e);

uint64_t import_skipped(const struct import *im);
void import_free(struct import *im);

#endif
