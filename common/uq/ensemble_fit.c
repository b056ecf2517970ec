#include "common/uq/ensemble_fit.h"

#include "common/util/mem.h"

#include <stdbool.h>
#include <stdlib.h>

/* ---- calibration ---- */

/* The calibrations of all prompts as the members' probabilities take them; the caller's. */
static struct calibration *calibrate(struct ensemble_fit *f, const struct validation *v,
                                     const struct ensemble_settings *s)
{
    if (s->calibrate == CALIBRATE_NONE)
        return NULL;
    f->choice.strength = s->strength;
    if (!(s->strength > 0))
        f->choice = choose_strength(v, s->calibrate);
    f->n_members = v->n_prompts;
    f->members = xcalloc(v->n_prompts, sizeof *f->members);
    struct calibration *all = xcalloc(v->n_prompts, sizeof *all);
    for (size_t i = 0; i < v->n_prompts; i++) {
        f->members[i] = fit_calibration(v, i, s->calibrate, f->choice.strength);
        all[i] = (struct calibration){f->members[i].scale, f->members[i].bias};
    }
    return all;
}

/* ---- selection and weights ---- */

/* The prompts' columns of p, [n_texts * n_all]; the caller's. */
static double *columns(const double *p, size_t n_texts, size_t n_all, const size_t *prompts,
                       size_t n_prompts)
{
    double *out = xreallocarray(NULL, n_texts * n_prompts, sizeof *out);
    for (size_t n = 0; n < n_texts; n++)
        for (size_t i = 0; i < n_prompts; i++)
            out[n * n_prompts + i] = p[n * n_all + prompts[i]];
    return out;
}

static struct weight_fit fit_weights(const double *p, const struct validation *v,
                                     const struct ensemble_settings *s, const size_t *prompts,
                                     size_t n_prompts)
{
    double *some = columns(p, v->n_texts, v->n_prompts, prompts, n_prompts);
    struct weight_fit fit = fit_prompt_weights(some, v->n_texts, n_prompts, s->objective,
                                               s->entropy_weight, s->tolerance);
    free(some);
    return fit;
}

/* The prompt that, with the n that are in, has the highest objective. */
static struct selection_step next_prompt(const double *p, const struct validation *v,
                                         const struct ensemble_settings *s, size_t *in, size_t n,
                                         const bool *taken)
{
    struct selection_step best = {v->n_prompts, 0};
    for (size_t i = 0; i < v->n_prompts; i++) {
        if (taken[i])
            continue;
        in[n] = i;
        struct weight_fit fit = fit_weights(p, v, s, in, n + 1);
        if (best.prompt == v->n_prompts || fit.optimum > best.objective)
            best = (struct selection_step){i, fit.optimum};
        weight_fit_free(&fit);
    }
    return best;
}

static void select_prompts(struct ensemble_fit *f, const double *p, const struct validation *v,
                           const struct ensemble_settings *s)
{
    bool *taken = xcalloc(v->n_prompts, sizeof *taken);
    f->selection = xcalloc(f->n_prompts, sizeof *f->selection);
    for (size_t n = 0; n < f->n_prompts; n++) {
        f->selection[n] = next_prompt(p, v, s, f->prompts, n, taken);
        f->prompts[n] = f->selection[n].prompt;
        taken[f->prompts[n]] = true;
    }
    for (size_t i = 0, n = 0; i < v->n_prompts; i++)
        if (taken[i])
            f->prompts[n++] = i;
    free(taken);
}

struct ensemble_fit ensemble_fit(const struct validation *v, const struct ensemble_settings *s)
{
    struct ensemble_fit f = {.n_prompts = s->top ? s->top : v->n_prompts};
    struct calibration *all = calibrate(&f, v, s);
    double *p = label_probabilities(v, all);
    f.prompts = xcalloc(f.n_prompts, sizeof *f.prompts);
    for (size_t i = 0; i < f.n_prompts; i++)
        f.prompts[i] = i;
    if (s->top)
        select_prompts(&f, p, v, s);
    f.weights = fit_weights(p, v, s, f.prompts, f.n_prompts);
    if (all) {
        f.calibrations = xcalloc(f.n_prompts, sizeof *f.calibrations);
        for (size_t i = 0; i < f.n_prompts; i++)
            f.calibrations[i] = all[f.prompts[i]];
    }
    free(all);
    free(p);
    return f;
}

void ensemble_fit_free(struct ensemble_fit *f)
{
    for (size_t i = 0; i < f->n_members; i++)
        calibration_fit_free(&f->members[i]);
    free(f->members);
    free(f->calibrations);
    free(f->selection);
    free(f->prompts);
    weight_fit_free(&f->weights);
    *f = (struct ensemble_fit){0};
}
