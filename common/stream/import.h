/* Rows to examples: which columns make the id and the text, and which class a label stands for. */
#ifndef DUQ_STREAM_IMPORT_H
#define DUQ_STREAM_IMPORT_H

#include "common/stream/rows.h"

/* What cells of the text that are missing read as. */
enum import_missing {
    MISSING_AS_IS,
    MISSING_PANDAS /* those that pandas takes for it: nan */
};

/* NULL or 0 where not given. Templates: a bare column name or number, or text with {COLUMN} in it
 * ({{ and }} are braces). */
struct import_options {
    const char *id;    /* template; else the row's number */
    const char *text;  /* template */
    const char *label; /* column; else labels are nil */
    /* Lists, in which \\ stands before a comma, a backslash or a blank at an end of a name. */
    const char *classes;   /* "negative,positive": the classes' names, for the header */
    const char *labels;    /* "1,2": what stands for classes 0, 1 ... in the label column */
    const char *label_map; /* "spam=1,ham=0" */
    enum import_missing missing;
    bool ignore_unused; /* a table without a header may have columns that nothing asks for */
    bool skip_bad;      /* pass over rows that cannot be used, instead of dying at the first */
    /* What the user can do, in the program's words, for messages: at a row that cannot be used, at
     * a label that is no class, and at a column that nothing asks for. */
    const char *row_remedy, *label_remedy, *column_remedy;
};

enum import_part { IMPORT_ID, IMPORT_TEXT, IMPORT_CLASSES, IMPORT_LABELS, IMPORT_LABEL_MAP };

struct import_fault {
    enum import_part part;
    char *text; /* to follow the part's name: ": 'spam' is given twice" */
};

struct import;

/* NULL where something is wrong with the options, the first of it in *fault, whose text the caller
 * frees. Of labels and label_map one at most is given, and only with label. Dies with EX_DATAERR at
 * a column that is not there, and at one of a table without a header that is not used: the rest of
 * a text, after its comma. Rows and options stay the caller's, and outlive it. */
struct import *import_new(struct rows *rows, const struct import_options *options,
                          struct import_fault *fault);

/* The classes' names as a JSON array, new reference; NULL where they were not given. */
json_t *import_classes(const struct import *im);

/* The next example, living until the next call; false at the end. Dies with EX_DATAERR, the row
 * named, at a row that is ragged, not UTF-8, has a label that is no class or another row's id. */
bool import_next(struct import *im, struct example *e);

uint64_t import_skipped(const struct import *im);
/* Examples so far whose text is blank. */
uint64_t import_empty(const struct import *im);
void import_free(struct import *im);

#endif
