/* Split conformal prediction: sets of classes that hold the true one with probability 1 - alpha.
 *
 * A score says how badly a class fits a text. With n labelled texts, exchangeable with the text to
 * come, the threshold q is the k-th smallest score of a true class, k = ceil((n + 1)(1 - alpha)),
 * and a text's set is the classes with scores of at most q: it holds the true class with
 * probability at least 1 - alpha over the draw of all texts, whatever the model (Vovk, Gammerman
 * and Shafer 2005; Lei et al. 2018). Class-conditional (Mondrian): a threshold for each class, from
 * the texts with that label; then 1 - alpha holds for the texts of each class. */
#ifndef DUQ_DECIDE_CONFORMAL_H
#define DUQ_DECIDE_CONFORMAL_H

#include <stddef.h>

enum set_score {
    SCORE_UNSAID,
    /* 1 - p_c (Sadinle, Lei and Wasserman 2019): the smallest sets on average; they may be empty.
     */
    SCORE_LAC,
    /* The sum of all probabilities that are at least p_c, c's own included, at most 1 and of the
     * least probable class 1 (Romano, Sesia and Candes 2020, arXiv 2006.02544, without its
     * randomisation: nothing is drawn, coverage may be higher than promised). */
    SCORE_APS,
};

/* probs: [n] of one text. scores: [n], receives each class's. */
void set_scores(enum set_score kind, const double *probs, size_t n, double *scores);

/* k above, or n + 1 where n is too small for any k: floor((n + 1) alpha) < 1. */
size_t conformal_rank(size_t n, double alpha);
/* The fewest texts with conformal_rank(n) <= n. */
size_t conformal_fewest(double alpha);

/* The threshold q; sorts the scores. Infinity where n is too small: every class is in the set. */
double conformal_threshold(double *scores, size_t n, double alpha);

#endif
