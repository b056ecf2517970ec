#include "common/uq/held_out.h"

#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

/* Adds one text's prediction to a row of sums. */
static void add_prediction(struct held_out_row *row, const double *probs, size_t n_classes,
                           int label)
{
    size_t best = 0;
    for (size_t c = 1; c < n_classes; c++)
        if (probs[c] > probs[best])
            best = c;
    row->nll -= log(probs[label]);
    row->accuracy += best == (size_t)label;
}

/* Each prompt by itself, and the mixture with equal weights. */
static void add_unfitted(struct held_out_row *prompt, struct held_out_row *uniform,
                         const struct validation *left)
{
    size_t classes = left->n_classes, prompts = left->n_prompts;
    double *probs = xcalloc(classes, sizeof *probs), *mixture = xcalloc(classes, sizeof *mixture);
    for (size_t n = 0; n < left->n_texts; n++) {
        for (size_t c = 0; c < classes; c++)
            mixture[c] = 0;
        for (size_t i = 0; i < prompts; i++) {
            class_probabilities(validation_logits(left, n, i), classes, NULL, probs);
            add_prediction(prompt, probs, classes, left->labels[n]);
            for (size_t c = 0; c < classes; c++)
                mixture[c] += probs[c] / (double)prompts;
        }
        add_prediction(uniform, mixture, classes, left->labels[n]);
    }
    free(probs);
    free(mixture);
}

static void add_fitted(struct held_out_row *row, const struct validation *left,
                       const struct ensemble_fit *f)
{
    size_t classes = left->n_classes;
    double *probs = xcalloc(classes, sizeof *probs), *mixture = xcalloc(classes, sizeof *mixture);
    for (size_t n = 0; n < left->n_texts; n++) {
        for (size_t c = 0; c < classes; c++)
            mixture[c] = 0;
        for (size_t i = 0; i < f->n_prompts; i++) {
            class_probabilities(validation_logits(left, n, f->prompts[i]), classes,
                                f->calibrations ? &f->calibrations[i] : NULL, probs);
            for (size_t c = 0; c < classes; c++)
                mixture[c] += f->weights.weights[i] * probs[c];
        }
        add_prediction(row, mixture, classes, left->labels[n]);
    }
    free(probs);
    free(mixture);
}

/* The fitted rows, and the settings of each. */
static size_t fitted_rows(struct held_out *h, const struct ensemble_settings *s,
                          struct ensemble_settings *of)
{
    struct ensemble_settings plain = *s, all = *s;
    size_t n = 0;
    plain.calibrate = CALIBRATE_NONE;
    plain.top = all.top = 0;
    h->rows[h->n_rows++].ensemble = "weighted";
    of[n++] = plain;
    if (s->calibrate != CALIBRATE_NONE) {
        h->rows[h->n_rows++].ensemble = "calibrated";
        of[n++] = all;
    }
    if (s->top) {
        h->rows[h->n_rows++].ensemble = "top";
        of[n++] = *s;
    }
    return n;
}

struct held_out held_out_measure(const struct validation *v, const struct ensemble_settings *s)
{
    struct folds folds = folds_make(v);
    struct held_out h = {.folds = folds.count, .n_texts = v->n_texts, .n_rows = 2};
    h.rows[0].ensemble = "prompt";
    h.rows[1].ensemble = "uniform";
    struct ensemble_settings of[3];
    size_t fitted = fitted_rows(&h, s, of);
    for (size_t fold = 0; fold < folds.count; fold++) {
        struct validation rest = folds_part(v, &folds, fold, false);
        struct validation left = folds_part(v, &folds, fold, true);
        add_unfitted(&h.rows[0], &h.rows[1], &left);
        for (size_t i = 0; i < fitted; i++) {
            struct ensemble_fit f = ensemble_fit(&rest, &of[i]);
            add_fitted(&h.rows[2 + i], &left, &f);
            ensemble_fit_free(&f);
        }
        validation_free(&rest);
        validation_free(&left);
    }
    folds_free(&folds);
    for (size_t i = 0; i < h.n_rows; i++) {
        double predictions = (double)(v->n_texts * (i == 0 ? v->n_prompts : 1));
        h.rows[i].nll /= predictions;
        h.rows[i].accuracy /= predictions;
    }
    return h;
}

void held_out_table(const struct held_out *h, FILE *out)
{
    fprintf(out, "held out       nll  accuracy\n");
    for (size_t i = 0; i < h->n_rows; i++)
        fprintf(out, "%-10s  %6.4f    %6.4f\n", h->rows[i].ensemble, h->rows[i].nll,
                h->rows[i].accuracy);
}
