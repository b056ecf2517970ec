#include "common/uq/cross_validation.h"

#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_FOLDS = 5 };

struct folds folds_make(const struct validation *v)
{
    struct folds f = {v->n_texts < MAX_FOLDS ? v->n_texts : MAX_FOLDS,
                      xcalloc(v->n_texts, sizeof *f.of)};
    size_t turn = 0;
    for (size_t c = 0; c < v->n_classes; c++)
        for (size_t n = 0; n < v->n_texts; n++)
            if ((size_t)v->labels[n] == c)
                f.of[n] = turn++ % f.count;
    return f;
}

void folds_free(struct folds *f)
{
    free(f->of);
    *f = (struct folds){0};
}

struct validation folds_part(const struct validation *v, const struct folds *f, size_t fold,
                             bool inside)
{
    bool *chosen = xcalloc(v->n_texts, sizeof *chosen);
    for (size_t n = 0; n < v->n_texts; n++)
        chosen[n] = (f->of[n] == fold) == inside;
    struct validation part = validation_part(v, chosen, NULL, v->n_prompts);
    free(chosen);
    return part;
}

double strength_at(size_t i)
{
    return pow(10, (double)i / 2 - 4);
}

/* -log of the smoothed probabilities of labels, summed over left's texts, of one prompt. */
static double left_out_loss(const struct validation *left, size_t prompt,
                            const struct calibration_fit *fit)
{
    struct calibration c = {fit->scale, fit->bias};
    double *probs = xcalloc(left->n_classes, sizeof *probs), sum = 0;
    for (size_t n = 0; n < left->n_texts; n++) {
        class_probabilities(validation_logits(left, n, prompt), left->n_classes, &c, probs);
        sum -= log(probs[left->labels[n]]);
    }
    free(probs);
    return sum;
}

static void add_fold(struct strength_choice *choice, const struct validation *v,
                     const struct folds *f, size_t fold, enum calibration_kind kind)
{
    struct validation rest = folds_part(v, f, fold, false), left = folds_part(v, f, fold, true);
    double scores = (double)(v->n_texts * v->n_prompts);
    for (size_t s = 0; s < N_STRENGTHS; s++)
        for (size_t i = 0; i < v->n_prompts; i++) {
            struct calibration_fit fit = fit_calibration(&rest, i, kind, strength_at(s));
            choice->nll[s] += left_out_loss(&left, i, &fit) / scores;
            calibration_fit_free(&fit);
        }
    validation_free(&rest);
    validation_free(&left);
}

struct strength_choice choose_strength(const struct validation *v, enum calibration_kind kind)
{
    struct strength_choice choice = {.strength = strength_at(N_STRENGTHS - 1)};
    struct folds f = folds_make(v);
    bool enough = f.count >= 2;
    for (size_t s = 0; !enough && s < N_STRENGTHS; s++)
        choice.nll[s] = NAN;
    if (enough) {
        choice.folds = f.count;
        for (size_t fold = 0; fold < f.count; fold++)
            add_fold(&choice, v, &f, fold, kind);
        size_t best = N_STRENGTHS - 1;
        for (size_t s = N_STRENGTHS - 1; s-- > 0;)
            if (choice.nll[s] < choice.nll[best])
                best = s;
        choice.strength = strength_at(best);
    }
    folds_free(&f);
    return choice;
}
