/* The whole fit of an ensemble to a validation set: the calibration of each prompt, then which
 * prompts are kept, then their weights. */
#ifndef DUQ_UQ_ENSEMBLE_FIT_H
#define DUQ_UQ_ENSEMBLE_FIT_H

#include "common/uq/cross_validation.h"
#include "common/uq/prompt_weights.h"

struct ensemble_settings {
    enum objective objective;
    double entropy_weight, tolerance; /* as fit_prompt_weights() has them */
    enum calibration_kind calibrate;
    double strength; /* of the calibrations' penalty; 0: choose_strength() finds it */
    size_t top;      /* how many prompts are kept, at most those of the set; 0: all */
};

struct selection_step {
    size_t prompt;    /* taken in */
    double objective; /* fitted to the prompts that are then in */
};

struct ensemble_fit {
    size_t n_prompts; /* kept */
    size_t *prompts;  /* [n_prompts], ascending */
    struct weight_fit weights;
    struct calibration *calibrations; /* [n_prompts] of those kept; NULL: none */

    struct calibration_fit *members; /* [n_members], of all prompts; NULL: none */
    size_t n_members;
    struct strength_choice choice; /* its strength is the one used */

    struct selection_step *selection; /* [n_prompts], the first one taken first; NULL: all kept */
};

/* The prompts are kept by forward selection: the one that alone has the highest objective, then
 * each time the one with which the objective, fitted anew, is highest; of equal ones the first. The
 * highest weights of an ensemble of all would be a worse choice where prompts resemble each other,
 * for these share their weight. */
struct ensemble_fit ensemble_fit(const struct validation *v, const struct ensemble_settings *s);
void ensemble_fit_free(struct ensemble_fit *f);

#endif
