/* An evaluation as people and programs read it: a table, JSON, a metrics stream. */
#ifndef DUQ_EVAL_REPORT_H
#define DUQ_EVAL_REPORT_H

#include "common/eval/evaluation.h"

#include <stdio.h>

struct report {
    const struct evaluation_settings *settings;
    const struct result *results;
    size_t n_results;
    bool abstention; /* what answering only the more certain texts gives */
    enum uncertainty_kind abstain_by;
};

void report_table(const struct report *r, FILE *out);
/* New reference. */
json_t *report_json(const struct report *r);
/* Writes all records, not the end. */
void report_stream(const struct report *r, struct stream_writer *w);

#endif
