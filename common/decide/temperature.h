/* Temperature scaling: one number that makes probabilities as sure as they should be.
 *
 *   p_c' = p_c^(1/T) / sum_b p_b^(1/T)
 *
 * which is softmax(z / T) for the logits z that p came from (Guo, Pleiss, Sun and Weinberger 2017,
 * arXiv 1706.04599). The order of the classes stays. */
#ifndef DUQ_DECIDE_TEMPERATURE_H
#define DUQ_DECIDE_TEMPERATURE_H

#include <stddef.h>

enum temperature_outcome {
    TEMPERATURE_FOUND,
    TEMPERATURE_ZERO,     /* every label is its text's top class: surer is better without end */
    TEMPERATURE_INFINITE, /* uniform probabilities would fit the labels no worse than any T */
    TEMPERATURE_NO_FIT,   /* a label has probability zero */
};

struct temperature_fit {
    enum temperature_outcome outcome;
    double temperature;
    double before, nll; /* mean -ln p of the labels, nats: with T = 1, and with .temperature */
    double gap;         /* nll is at most this far above its minimum */
    size_t steps;
    size_t row; /* with TEMPERATURE_NO_FIT: the text */
};

/* probs: [n * n_classes], each row class probabilities, labels: [n], all known. The mean negative
 * log likelihood is convex in 1/T: Newton's method, kept inside a bracket of the minimum; the gap
 * is the slope times the bracket's width. */
struct temperature_fit fit_temperature(const double *probs, const int *labels, size_t n,
                                       size_t n_classes);

/* probs and tempered: [n], which may be the same. */
void temper(const double *probs, size_t n, double temperature, double *tempered);

#endif
