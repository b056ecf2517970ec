/* When to answer, so that answers are seldom wrong: a limit on the uncertainty, found on labelled
 * texts, that keeps a promise about others. Texts are answered whose uncertainty is below the limit
 * (not at it): equal uncertainties are never told apart.
 *
 * The texts, those to come included, are independent draws (u, wrong) from one distribution; the
 * model is fixed. F(t) is the share of texts with u < t, r(t) their error rate, the selective risk.
 *
 * Risk with confidence (control_risk). The limit must have r <= R with probability at least C = 1 -
 * delta over the draw of the n fitting texts. Learn then Test (Angelopoulos, Bates, Candes, Jordan
 * and Lei 2021, arXiv 2110.01052): reject hypotheses "r(t) > R" so that a true one is rejected with
 * probability at most delta, and take the loosest limit rejected. How many texts lie below a fixed
 * limit is random, so the hypotheses are numbered by that number instead: H_j is about the limit
 * t_j = u_(j+1), with the j surest texts below it (u_(n+1) is infinite). Numbers j_1 < j_2 < ...
 * are fixed before labels are seen: they depend on n, R and delta alone. With k wrong among the j,
 * p_j = P(Binomial(j, R) <= k). Ties of u are broken at random, independently of all else (by
 * .tie), for the sake of the argument alone: the limit found is then drawn back to whole groups of
 * ties.
 *
 * TESTING_SEQUENCE: fixed sequence, from j_1 on to the first p_j > delta. Valid where the risk,
 * once above R, stays there as the limit grows: r <= R up to some tau, r > R beyond (what is
 * stricter than a safe limit is safe; r itself need not grow). Only the first true hypothesis of
 * the sequence can be the first one rejected by mistake: J, the first j_i of at least m, where m
 * texts lie below tau. Given m, these are draws from below tau and have Binomial(m, R) errors,
 * for r(tau) = R. Given m and t_J, the J - m others are draws from between tau and t_J, and of
 * these more than R are wrong: F(t_J) r(t_J) > F(t_J) R is F(tau) R plus theirs. So the errors of
 * all J are stochastically at least Binomial(J, R), and P(p_J <= delta) <= delta, given m and hence
 * at all. (Where r is above R from the start on, m = 0; where it never is, nothing is to be shown.)
 *
 * TESTING_BONFERRONI: each of the K limits at delta / K; the loosest rejected counts. Here j is the
 * number of texts strictly below u_(j_i + 1), whole groups of ties: given that value and this
 * number they are independent draws from below it, with Binomial(j, r) errors. That makes every
 * p_j valid by itself, whatever the shape of r, and the union bound does the rest. (The binary
 * search of Geifman and El-Yaniv 2017, arXiv 1705.08500, spends delta / log2(n) in each step; but
 * its limits depend on the labels.)
 *
 * Expected risk (control_expected_risk). Conformal risk control (Angelopoulos, Bates, Fisch, Lei
 * and Schuster 2022, arXiv 2208.02814) of the loss 1{answered and wrong}, which grows with the
 * limit and is at most 1: the loosest limit with (errors + 1) / (n + 1) <= R. The expected loss of
 * the next text is then at most R, over the draw of the fitting texts and of that text. It counts
 * wrong answers per text, not per answer. */
#ifndef DUQ_DECIDE_RISK_CONTROL_H
#define DUQ_DECIDE_RISK_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct judged {
    double uncertainty; /* not NaN */
    uint64_t tie;       /* random, to order equal uncertainties */
    bool wrong;
};

enum testing { TESTING_SEQUENCE, TESTING_BONFERRONI };

struct risk_target {
    double risk, delta; /* both in (0, 1) */
    enum testing testing;
    size_t start; /* the first test is of so many texts, >= 1 */
    size_t tests; /* at most so many, >= 1 */
};

struct risk_test {
    size_t answered, wrong;
    double limit; /* what the uncertainty must be below; infinity: all are answered */
    double p;
};

struct risk_limit {
    bool found;             /* some text is answered */
    double limit;           /* minus infinity where none is found */
    size_t answered, wrong; /* of the fitting texts */
    double level;           /* a test passes where its p is at most this */
    struct risk_test *tests;
    size_t n_tests; /* those that were made, in their order */
};

/* The surest first. The functions below want this order. */
void order_by_certainty(struct judged *texts, size_t n);

struct risk_limit control_risk(const struct judged *texts, size_t n,
                               const struct risk_target *target);
/* No tests. found is false where (0 + 1) / (n + 1) > risk, and where the surest texts are wrong too
 * often for any limit. */
struct risk_limit control_expected_risk(const struct judged *texts, size_t n, double risk);
void risk_limit_free(struct risk_limit *l);

/* ---- how many texts it takes ---- */

/* The fewest answered texts, all right, that pass a test at level delta. */
size_t fewest_answered(double risk, double delta);
/* The answered texts that a test at level delta takes when this share of them is wrong; 0 where no
 * number will do: the share is not below the risk, or more than a thousand million are needed. */
size_t answered_needed(double wrong_share, double risk, double delta);
/* Where tests at this level begin, but for what the caller says: with the surest quarter, or with
 * so many as pass with three quarters of the risk wrong, if those are fewer; but with no less than
 * the fewest that pass, or n. */
size_t first_test(size_t n, double risk, double level);
/* The least n with 1 / (n + 1) <= risk. */
size_t fewest_for_expected(double risk);

#endif
