/* A rule that makes decisions of predictions: what it looks at, and its limits. As a stream:
 * records of schema "rule", a limit each, and in the header what it was fitted on and "fit", which
 * says what the limits are of and what they promise (man/decide.1). */
#ifndef DUQ_DECIDE_RULE_H
#define DUQ_DECIDE_RULE_H

#include "common/decide/conformal.h"
#include "common/stream/record.h"

enum rule_kind { RULE_RISK, RULE_EXPECTED_RISK, RULE_SET };

/* The uncertainty that is limited. */
enum certainty {
    BY_UNSAID,
    BY_TOTAL, /* nats, as are the next two */
    BY_ALEATORIC,
    BY_EPISTEMIC,
    BY_CONFIDENCE, /* 1 - the highest probability */
    BY_MARGIN,     /* 1 - (the highest probability - the second highest) */
};

struct rule {
    enum rule_kind kind;
    enum certainty by;    /* of the risk rules */
    enum set_score score; /* of RULE_SET */
    double temperature;   /* of the probabilities, before all else; 1: as they are */
    size_t n_limits;      /* 1, or one for each class in their order */
    struct rule_limit *limits;
};

const char *rule_kind_name(enum rule_kind kind);
const char *certainty_name(enum certainty by);
const char *set_score_name(enum set_score score);

/* Reads a rule; *fit is its header's "fit", the caller's to release. Dies with EX_DATAERR at a file
 * that is no rule or was fitted on predictions of another task, other classes, another model, head,
 * adapter or ensemble than those of the reader. */
struct rule rule_read(const char *path, const struct stream_reader *predictions, json_t **fit);
void rule_free(struct rule *r);

#endif
