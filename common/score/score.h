/* Scoring many sequences: groups that share prefixes, batches, passes. */
#ifndef DUQ_SCORE_SCORE_H
#define DUQ_SCORE_SCORE_H

#include "common/model/forward.h"

/* Records are looked through together for common prefixes a window at a time: what lm-score gives
 * scorer_run(). Whether one that holds so much is full: at 16,384 records or 16 Mi tokens. */
static inline bool score_window_full(int records, size_t tokens)
{
    return records >= 16384 || tokens >= (size_t)16 << 20;
}

struct score_options {
    int batch_tokens;               /* tokens of one pass; a longer sequence is a pass of its own */
    bool share;                     /* compute common prefixes once */
    const struct answer_tree *tree; /* where sequences are read; NULL: at their last positions */
    bool mass;                      /* of the tree's answers, too */
};

/* How a student is validated between steps of its training. */
static inline struct score_options validation_options(const struct answer_tree *tree)
{
    return (struct score_options){.batch_tokens = 2048, .share = true, .tree = tree};
}

/* Copies of keys and values (struct batch) in one pass, for each of its tokens. */
enum { COPIES_PER_TOKEN = 4 };

/* What was done, summed over calls. */
struct score_counts {
    unsigned long sequences, tokens; /* as they came */
    unsigned long computed;          /* tokens that passed through the model */
    unsigned long prefixes, passes;
    double attention_products; /* query-key pairs times head_dim, both products, over all layers */
};

struct scorer;

/* lora: what passes add to the model's products, or NULL; it must outlive the scorer. */
struct scorer *scorer_open(struct model *m, struct lora_set *lora, struct score_options options);
/* logits [n, classes], in the order of s: those of the model's classes or, of a tree that is not
 * plain, of the tree's; these are NaN where any that they are made of is not finite. progress (may
 * be NULL) hears between passes how many of this call's sequences are done; user goes to it. */
void scorer_run(struct scorer *r, const struct sequence *s, int n, float *logits,
                void (*progress)(void *user, int done), void *user);
/* [n] of the last run, with options.mass: answer_tree_mass(); NULL: they are not measured. */
const double *scorer_masses(const struct scorer *r);
/* The runs that follow measure none, and save the time. */
void scorer_stop_mass(struct scorer *r);
struct score_counts scorer_counts(const struct scorer *r);
void scorer_close(struct scorer *r);

#endif
