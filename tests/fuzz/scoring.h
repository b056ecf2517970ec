/* What is asked of a model that was opened: a pass. */
#ifndef DUQ_TESTS_FUZZ_SCORING_H
#define DUQ_TESTS_FUZZ_SCORING_H

#include "common/score/score.h"

/* Scores two sequences, where that is not much work, and closes the model. */
static inline void use_model(struct model *m)
{
    const struct config *c = m->config;
    if (c->layers <= 4 && (double)c->width * c->intermediate < 1e5 && c->vocab < 10000 &&
        c->max_positions >= 3) {
        static const int32_t tokens[] = {0, 0, 0}, classes[] = {0, 0};
        const struct sequence sequences[] = {{tokens, 3}, {tokens, 2}};
        float logits[4];
        struct device *d = cpu_device_open(F32, 1);
        model_load(m, d);
        model_set_classes(m, classes, 2);
        struct scorer *s =
            scorer_open(m, NULL, (struct score_options){.batch_tokens = 64, .share = true});
        scorer_run(s, sequences, 2, logits, NULL, NULL);
        scorer_close(s);
        model_close(m);
        d->close(d);
    } else {
        model_close(m);
    }
}

#endif
