/* What a stage of the work would ask of a machine: the engine itself, run on a device that only
 * counts (count_device.h), over a model that is only a configuration. */
#ifndef DUQ_PLAN_PLAN_H
#define DUQ_PLAN_PLAN_H

#include "common/model/adapter.h"
#include "common/score/score.h"
#include "kernels/count/count_device.h"

#include <stdio.h>

enum plan_stage { PLAN_SCORE, PLAN_TRAIN };

struct plan_settings {
    enum plan_stage stage;
    enum dtype compute, stored;     /* the type of products, that of the files' weights */
    struct score_options score;     /* of PLAN_SCORE, but for the tree */
    const struct answer_tree *tree; /* where sequences are read, or NULL: at their last positions */
    struct adapter_settings adapter; /* rank 0: none, of PLAN_SCORE alone */
    int batch, accumulate;           /* of PLAN_TRAIN: examples of a pass, passes of a step */
    double epochs;                   /* of PLAN_TRAIN */
    int kept;                        /* of PLAN_TRAIN: see struct trainer_settings */
    /* Of PLAN_TRAIN: what is validated on after an epoch, or none. */
    const struct sequence *validation; /* [n_validation] */
    int n_validation;
    struct device *attends_as; /* see count_device_attend_as(); NULL: attention takes nothing */
};

struct plan {
    struct plan_settings settings;
    struct machine machine;
    double products; /* model_products() */
    char *architecture;

    /* Without validation's; prefixes: of PLAN_SCORE. */
    unsigned long records, tokens, computed, passes, prefixes;
    struct operation_count *operations;
    size_t n_operations;
    struct operation_count total;

    /* Bytes: the model, the adapter (in training with its gradients and AdamW's averages), and the
     * most that passes held beside them. */
    double weights, adapter, working;
};

/* Counts one run over the sequences (of PLAN_TRAIN, one epoch with its validation). config: a
 * config.json. class_tokens: the tree's, or one for each class. */
struct plan *plan_make(const char *config, const struct machine *m, const struct plan_settings *s,
                       const struct sequence *sequences, int n, const int32_t *class_tokens,
                       int n_classes);
void plan_free(struct plan *p);

/* Seconds for one run at least, and with every launch added. */
double plan_bound(const struct plan *p);
double plan_with_launches(const struct plan *p);

/* A table for people; all of it as JSON. */
void plan_print(const struct plan *p, FILE *out);
void plan_print_json(const struct plan *p, FILE *out);

#endif
