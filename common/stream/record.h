/* The record types as C structs: what each stream holds, and its reading and writing.
 *
 * read functions fill the struct and return false at the end of the stream; pointers in it live
 * until the next read. They die (EX_DATAERR, file and record named) at a missing field or one of
 * the wrong type or length. schemas/NAME.json is the outside definition of each type. */
#ifndef DUQ_STREAM_RECORD_H
#define DUQ_STREAM_RECORD_H

#include "common/stream/stream.h"

enum { NO_LABEL = -1 }; /* nil on the wire */

/* UTF-8, not NUL-terminated, may hold NUL bytes. */
struct span {
    const char *data;
    size_t len;
};

/* schema "example": one text to classify. Header: "classes" when known. */
struct example {
    const char *id; /* NUL-terminated; unique in its stream */
    struct span text;
    int label;
};

/* schema "prompt": one text under one instruction. Header: "task", "classes", "prompts" (how many),
 * where the task has them "answers" and "open" (what stands between a text and its answer);
 * "layout" where it is a model's own ("chat"). */
struct prompt {
    const char *id;
    int prompt; /* 0-based instruction number */
    struct span text;
    int label;
    const int32_t *literal; /* bin i32: where parts of text begin and end, in bytes, pair by pair,
                               in which no token is looked for; NULL: there are none */
    size_t n_literal;       /* numbers */
};

/* schema "tokens". Header adds "tokenizer" (digest), "class_tokens" (the token that each class is
 * read at) or "answer_tokens" (its answers' tokens). */
struct tokens {
    const char *id;
    int prompt;
    const int32_t *tokens; /* bin i32; BOS included */
    size_t n_tokens;
    int label;
};

/* schema "scores". Header adds "model" (digest). */
struct scores {
    const char *id;
    int prompt;
    const float *logits; /* bin f32 [n_classes] */
    size_t n_classes;
    int label;
    bool has_mass;
    double mass; /* the answers' share of the whole vocabulary's probability */
};

/* schema "weights": one per prompt. Header: "fit" (objective, optimum, the trace ...).
 */
struct prompt_weight {
    int prompt;
    double weight;
    double scale;       /* > 0, of the prompt's logits; 0 where there is none */
    const double *bias; /* bin f64 [n_classes], added to them then, or NULL */
    size_t n_classes;   /* of bias */
};

/* schema "prediction". Header: "head" ("ensemble", "softmax" or "dirichlet"); "weights" (of the
 * members, in their order) for an ensemble. */
struct prediction {
    const char *id;
    int label;
    const double *probs; /* bin f64 [n_classes] */
    size_t n_classes;
    const double *alpha;   /* bin f64 [n_classes], or NULL */
    const double *members; /* bin f64 [n_members * n_classes], row-major, or NULL */
    size_t n_members;
    /* bin f64 [n_classes], or NULL; in place of members their mean, by their weights, of
     * log(p + 1e-8) */
    const double *mean_log;
    double total, aleatoric, epistemic; /* nats; NaN where the head cannot tell (nil on the wire) */
    bool has_mass;
    double mass; /* as in scores */
};

/* schema "metrics": one figure of one set of predictions. */
struct measurement {
    const char *set, *metric;
    const char *against;    /* the out-of-distribution set, or the one subtracted, or NULL */
    double value;           /* NaN (nil on the wire) where there is none */
    const char *reason;     /* why there is none, or NULL */
    size_t n;               /* predictions it was measured on */
    double low, high;       /* 95 % interval; NaN where there is none */
    double p;               /* of a difference; NaN where there is none */
    double deviation;       /* over seeds; NaN where there is none */
    size_t seeds;           /* value is the mean over so many; 0: of one */
    const char *definition; /* bins and norm, or NULL */
};

/* schema "rule": one limit, or one for each class. Header: "fit" (what it promises, how it was
 * found).
 */
enum take { TAKE_BELOW, TAKE_AT_MOST, TAKE_ALL, TAKE_NONE };
struct rule_limit {
    int label; /* the class it is for, or NO_LABEL: for all of them */
    enum take take;
    double threshold; /* NaN (nil on the wire) with TAKE_ALL and TAKE_NONE */
    size_t n;         /* texts it was fitted on */
};

/* schema "decision". Header: "rule" (the "fit" of the rule that decided). */
struct decision {
    const char *id;
    int label;
    int answer; /* class, or NO_LABEL: the decision is to abstain */
    bool has_set;
    const int32_t *set; /* bin i32, ascending */
    size_t n_set;
    double score;
    const char *reason; /* a word of schemas/decision.json */
};

/* What records of texts have in common. */
struct identity {
    const char *id;
    int label;
};

/* Of a record of any type; NO_LABEL where it has none. id: for messages, NULL: not known. */
int label_of(struct stream_reader *r, const char *id, const msgpack_object *record);

bool identity_read(struct stream_reader *r, struct identity *i);
bool example_read(struct stream_reader *r, struct example *e);
bool prompt_read(struct stream_reader *r, struct prompt *p);
bool tokens_read(struct stream_reader *r, struct tokens *t);
bool scores_read(struct stream_reader *r, struct scores *s);
bool weight_read(struct stream_reader *r, struct prompt_weight *w);
bool prediction_read(struct stream_reader *r, struct prediction *p);
bool rule_limit_read(struct stream_reader *r, struct rule_limit *l);

/* Dies (EX_DATAERR) where these are no probabilities of n classes: from 0 to 1, of a sum within
 * 0.0001 of 1. what: the field that holds them. */
void probabilities_check(const struct stream_reader *r, const char *id, const char *what,
                         const double *p, size_t n);

void example_write(struct stream_writer *w, const struct example *e);
void prompt_write(struct stream_writer *w, const struct prompt *p);
void tokens_write(struct stream_writer *w, const struct tokens *t);
void scores_write(struct stream_writer *w, const struct scores *s);
void weight_write(struct stream_writer *w, const struct prompt_weight *x);
void prediction_write(struct stream_writer *w, const struct prediction *p);
void measurement_write(struct stream_writer *w, const struct measurement *m);
void rule_limit_write(struct stream_writer *w, const struct rule_limit *l);
void decision_write(struct stream_writer *w, const struct decision *d);

/* Class names from a header: an array of NUL-terminated borrowed names; dies when the header has
 * none. The caller frees the array, not the names. */
const char **header_classes(const json_t *header, const char *name, size_t *count);

#endif
