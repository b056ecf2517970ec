/* What the parts of decide share. */
#ifndef DUQ_CMD_DECIDE_DECIDE_H
#define DUQ_CMD_DECIDE_DECIDE_H

#include "common/decide/risk_control.h"
#include "common/decide/rule.h"
#include "common/util/options.h"

struct settings {
    struct common_options common;
    double risk, expected_risk, alpha; /* one is above 0: the kind of rule */
    double confidence;
    enum certainty by;
    enum testing testing;
    long start, tests; /* 0: not said */
    enum set_score score;
    bool class_conditional, or_abstain;
    const char *temperature; /* labelled predictions to fit it on; NULL: none */
    const char *apply;       /* NULL: fit */
    bool fit_options, risk_options, certainty_options, set_options; /* any of those was given */
};

/* Reads labelled predictions, writes the rule. */
void fit_rule(const struct settings *s, struct stream_reader *r, int argc, char **argv);
/* Reads predictions, writes decisions by the rule s->apply. */
void apply_rule(const struct settings *s, struct stream_reader *r, int argc, char **argv);

/* Dies for predictions of a file that lack the uncertainty. */
_Noreturn void no_uncertainty(const char *file, enum certainty by);

#endif
