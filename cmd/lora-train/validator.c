#include "cmd/lora-train/validator.h"

#include "common/eval/metrics.h"
#include "common/math/normal.h"
#include "common/score/head.h"
#include "common/score/score.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The number of a pass for LOSS_IB_EDL's draws that no pass of training has: those of a text are
 * the same in each validation, that the student alone makes a difference. */
enum { VALIDATION_PASS = 0x7fffffff };

struct state {
    struct model *model;
    struct ranks *ranks;
    struct loss loss;
    struct head head;
    bool taught;
    uint64_t seed;
    size_t classes, outputs, target_size;
    double *logits; /* [n, outputs] */
    double *probs;  /* [n, classes] */
    size_t *rows;   /* [n_labelled] */
    size_t n_labelled;
    /* Of one example: [outputs] but for the target. */
    double *target, *gradient, *alpha;
    float *read;
};

/* This rank's part of the set, then all parts in every rank. */
static void score(struct state *st, const struct training_set *set, struct lora_set *lora)
{
    size_t n = (size_t)set->n, size = (size_t)st->ranks->size, rank = (size_t)st->ranks->rank;
    size_t first = n * rank / size, own = n * (rank + 1) / size - first;
    float *logits = xreallocarray(NULL, own * st->outputs + 1, sizeof *logits);
    struct scorer *scorer = scorer_open(st->model, lora, validation_options(set->tree));
    scorer_run(scorer, set->sequences + first, (int)own, logits, NULL, NULL);
    scorer_close(scorer);
    memset(st->logits, 0, n * st->outputs * sizeof *st->logits);
    for (size_t i = 0; i < own * st->outputs; i++)
        st->logits[first * st->outputs + i] = (double)logits[i];
    free(logits);
    st->ranks->collect(st->ranks, st->logits, n * st->outputs);
}

/* Fills in the example's probabilities, where its logits are finite; returns its loss. */
static double measure_example(struct state *st, const struct training_set *set, size_t i, double s)
{
    const double *logits = st->logits + i * st->outputs;
    double *probs = st->probs + i * st->classes, gradient_s;
    for (size_t c = 0; c < st->outputs; c++) {
        if (!isfinite(logits[c]))
            return NAN;
        st->read[c] = (float)logits[c];
    }
    struct prediction p;
    head_predict(&st->head, st->read, st->classes, probs, st->alpha, &p);
    if (!st->taught)
        return -log(probs[set->labels[i]]);
    memcpy(st->target, set->targets + i * st->classes, st->classes * sizeof *st->target);
    draw_normals(st->target + st->classes, st->target_size - st->classes, st->seed, VALIDATION_PASS,
                 (uint32_t)i);
    return loss_value(&st->loss, logits, st->target, st->classes, s, st->gradient, &gradient_s);
}

static struct validation measure(struct validator *v, struct lora_set *lora, double s)
{
    struct state *st = v->state;
    const struct training_set *set = v->set;
    struct validation result = {.bad_example = -1};
    double total = 0;
    score(st, set, lora);
    for (int i = 0; i < set->n; i++) {
        double loss = measure_example(st, set, (size_t)i, s);
        if (!isfinite(loss) && result.bad_example < 0)
            result.bad_example = i;
        double weight = set->weights ? set->weights[i] : 1;
        result.loss += weight * loss;
        total += weight;
    }
    result.loss /= total;
    bool bad = result.bad_example >= 0;
    struct sample sample = {.probs = st->probs,
                            .n_classes = st->classes,
                            .stride = st->classes,
                            .labels = set->labels,
                            .rows = st->rows,
                            .n = bad ? 0 : st->n_labelled};
    result.nll = metric_value(METRIC_NLL, &sample, USUAL_BINNING, NULL);
    result.accuracy = metric_value(METRIC_ACCURACY, &sample, USUAL_BINNING, NULL);
    result.ece = metric_value(METRIC_ECE, &sample, USUAL_BINNING, NULL);
    if (bad)
        result.loss = NAN;
    /* One rank's figures for all: processors that are not alike may round another way. */
    st->ranks->broadcast(st->ranks, &result, sizeof result);
    return result;
}

struct validator *validator_open(struct model *m, const struct training_set *set, bool taught,
                                 const struct trainer_settings *s, struct ranks *r)
{
    struct validator *v = xcalloc(1, sizeof *v);
    struct state *st = xcalloc(1, sizeof *st);
    const struct answer_tree *tree = set->tree;
    size_t n = (size_t)set->n, classes = (size_t)set->n_classes;
    size_t outputs = tree->plain ? (size_t)set->n_outputs : classes;
    *st = (struct state){.model = m,
                         .ranks = r,
                         .loss = s->loss,
                         .taught = taught,
                         .seed = s->seed,
                         .classes = classes,
                         .outputs = outputs,
                         .target_size = loss_target_size(&s->loss, classes)};
    st->loss.kl_weight = 1; /* as in the end: the epochs' losses are to be compared */
    bool dirichlet = !strcmp(loss_facts[s->loss.kind].head, head_name(HEAD_DIRICHLET));
    st->head = (struct head){dirichlet ? HEAD_DIRICHLET : HEAD_SOFTMAX, s->loss};
    st->logits = xcalloc(n * outputs, sizeof *st->logits);
    st->probs = xcalloc(n * classes, sizeof *st->probs);
    st->rows = xcalloc(n, sizeof *st->rows);
    for (size_t i = 0; i < n; i++)
        if (set->labels[i] != NO_LABEL)
            st->rows[st->n_labelled++] = i;
    st->target = xcalloc(st->target_size, sizeof *st->target);
    st->gradient = xcalloc(outputs, sizeof *st->gradient);
    st->alpha = xcalloc(outputs, sizeof *st->alpha);
    st->read = xcalloc(outputs, sizeof *st->read);
    *v = (struct validator){set, st, measure};
    return v;
}

void validator_close(struct validator *v)
{
    if (!v)
        return;
    struct state *st = v->state;
    free(st->logits);
    free(st->probs);
    free(st->rows);
    free(st->target);
    free(st->gradient);
    free(st->alpha);
    free(st->read);
    free(st);
    free(v);
}
