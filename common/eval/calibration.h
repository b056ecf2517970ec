/* How far probabilities lie from frequencies. All take claims: scores from 0 to 1, the probability
 * that was claimed of something, and whether it was so (positive). man/dir-eval.1 names the papers
 * and the programs that agree. */
#ifndef DUQ_EVAL_CALIBRATION_H
#define DUQ_EVAL_CALIBRATION_H

#include "common/eval/ranking.h"

/* Bins of equal width, closed on the left: k / bins <= p < (k + 1) / bins. Probability 1 is in the
 * last of them, or in one more bin for it alone. */
struct binning {
    size_t bins;
    bool own_bin_for_1;
};

/* Those of dir-eval, where not told otherwise. */
#define USUAL_BINNING ((struct binning){.bins = 10})

struct bin {
    double low, high;
    size_t count;                /* of claims */
    double accuracy, confidence; /* means, of positives and of scores; 0 for an empty bin */
};

/* How many bins there are: one more than asked for where 1 has its own. */
size_t bin_count(struct binning b);
/* bin_count() bins; the caller frees them. */
struct bin *calibration_bins(const struct scored *claims, size_t n, struct binning b);

/* Of the differences |accuracy - confidence|: the mean over bins weighted by their counts (Guo et
 * al. 2017, the l1 norm), and the largest (the max norm). n > 0. */
double binned_error(const struct scored *claims, size_t n, struct binning b);
double largest_error(const struct scored *claims, size_t n, struct binning b);

/* The l1 error in bins of equal numbers of claims in the order of their scores (adaptive, Nguyen
 * and O'Connor 2015): the first n % bins hold one more. Claims of equal scores count as the mean
 * over all their orders. Sorts the claims. n > 0. */
double equal_mass_error(struct scored *claims, size_t n, size_t bins);

/* Smooth ECE (Blasiok and Nakkiran 2023, arXiv 2309.12236): the l1 error after a reflected Gaussian
 * of width s on the claims, at the s that equals it, to 1/1024. n > 0. */
double smooth_error(const struct scored *claims, size_t n);

#endif
