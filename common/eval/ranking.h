/* How well a score tells two kinds of texts apart: wrong from right, out of distribution from in.
 * All take ties as they are: the order of equal scores never matters. */
#ifndef DUQ_EVAL_RANKING_H
#define DUQ_EVAL_RANKING_H

#include <stdbool.h>
#include <stddef.h>

struct scored {
    double score; /* not NaN */
    bool positive;
};

/* Highest score first. The functions below want this order. */
void rank_scores(struct scored *s, size_t n);

/* The probability that a positive scores above a negative, ties counted half (Mann-Whitney).
 * NaN unless both kinds are there. */
double ranked_auroc(const struct scored *s, size_t n);
/* Average precision: the sum over distinct scores, from the highest, of the gain in recall times
 * the precision there; no interpolation. NaN without a positive. */
double ranked_average_precision(const struct scored *s, size_t n);
/* The share of negatives that score at least t, for the highest t that at least that share of the
 * positives (recall, in (0, 1]) reaches. NaN unless both kinds are there. */
double ranked_fpr(const struct scored *s, size_t n, double recall);

/* Wasserstein-1 distance of two samples: the area between their distribution functions. Sorts both.
 * NaN when one is empty. */
double wasserstein(double *a, size_t n_a, double *b, size_t n_b);

#endif
