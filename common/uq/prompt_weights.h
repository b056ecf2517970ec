/* The weights of a Bayesian prompt ensemble: the optimum of a concave problem on the simplex.
 *
 *   maximise  sum_n log(sum_i w_i p_i(y_n|x_n)) + lambda R(w),   w >= 0, sum w = 1
 *
 * Tonolini et al. 2024 (Bayesian Prompt Ensembles), equation 4, where R is the entropy. */
#ifndef DUQ_UQ_PROMPT_WEIGHTS_H
#define DUQ_UQ_PROMPT_WEIGHTS_H

#include "common/uq/newton.h"

#include <stddef.h>

enum objective {
    /* R = -sum w log w. */
    OBJECTIVE_PAPER,
    /* What the published code (amzn/BayesPE) maximises: R = -sum w exp(w), and 1e-4 added both to
     * each probability of a true class and to their mixture inside the logarithm. Its own 1e-4 in
     * the softmax that makes the weights changes nothing at the optimum, and is left out. */
    OBJECTIVE_PUBLISHED,
};

struct weight_fit {
    double *weights; /* [n_prompts] */
    double optimum, gap;
    struct fit_step *trace; /* one per Newton step, the start first */
    size_t n_trace;
};

/* p: [n_texts * n_prompts], row-major, all > 0: each prompt's probability of each text's label.
 * Solves until the gap is at most tolerance, or as far as double precision leads (the caller reads
 * .gap). Interior path: Newton's method in log w, with the entropy both as the problem's own term
 * and as the barrier that keeps weights above 0. Deterministic; equal prompts get equal weights. */
struct weight_fit fit_prompt_weights(const double *p, size_t n_texts, size_t n_prompts,
                                     enum objective objective, double lambda, double tolerance);
void weight_fit_free(struct weight_fit *fit);

/* The objective's value at weights w, [n_prompts], that sum to 1. */
double weights_objective(const double *p, size_t n_texts, size_t n_prompts,
                         enum objective objective, double lambda, const double *w);

#endif
