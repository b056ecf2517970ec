/* The prompt weights that the published code (amzn/BayesPE) ends with: its steps, not its optimum.
 *
 * PyTorch's L-BFGS runs ten times on single-precision logits theta, w = softmax(theta), that start
 * at 1, at a rate of 1e-5 with a strong Wolfe line search. The gradient is never set to zero, so
 * that each evaluation adds to it and the search goes along directions that are those of no
 * function. It stops short of the optimum, with flatter weights. */
#ifndef DUQ_UQ_PUBLISHED_SOLVER_H
#define DUQ_UQ_PUBLISHED_SOLVER_H

#include <stdbool.h>
#include <stddef.h>

/* What L-BFGS and its line search do with each other's numbers is part of the procedure, and so is
 * their precision: single where PyTorch has tensors, double where it has Python's numbers, sums in
 * the order of its processor build. Other orders are as right, but lead elsewhere by some 0.005. */
struct published_weights {
    double *weights;    /* [n_prompts] */
    double objective;   /* of OBJECTIVE_PUBLISHED at the weights */
    double rate;        /* 1e-5, halved as often as the run ended at NaN */
    size_t evaluations; /* of the objective, in the run that counts */
};

/* p: [n_texts * n_prompts], row-major, all > 0: each prompt's probability of each text's label.
 * lambda: of -sum w exp(w). false, and nothing to free, when no rate leads to a number. */
bool published_prompt_weights(const double *p, size_t n_texts, size_t n_prompts, double lambda,
                              struct published_weights *out);
void published_weights_free(struct published_weights *w);

#endif
