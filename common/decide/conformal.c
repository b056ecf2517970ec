#include "common/decide/conformal.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* The sum of the probabilities that are at least p_c; of all of them it is 1, whatever they sum to,
 * and of some no more than 1, so that no class scores above one that is less probable. */
static double adaptive_score(const double *probs, size_t n, size_t c)
{
    double sum = 0;
    bool all = true;
    for (size_t other = 0; other < n; other++) {
        if (probs[other] >= probs[c])
            sum += probs[other];
        else
            all = false;
    }
    return all || sum > 1 ? 1 : sum;
}

void set_scores(enum set_score kind, const double *probs, size_t n, double *scores)
{
    for (size_t c = 0; c < n; c++)
        scores[c] = kind == SCORE_LAC ? 1 - probs[c] : adaptive_score(probs, n, c);
}

size_t conformal_rank(size_t n, double alpha)
{
    /* n + 1 - floor((n + 1) alpha); the quotient is rounded once, as alpha was when it was read. */
    size_t above = (size_t)((double)(n + 1) * alpha);
    while ((double)(above + 1) / (double)(n + 1) <= alpha)
        above++;
    while (above > 0 && (double)above / (double)(n + 1) > alpha)
        above--;
    return n + 1 - above;
}

size_t conformal_fewest(double alpha)
{
    size_t n = (size_t)fmax(0, ceil(1 / alpha) - 2);
    while (conformal_rank(n, alpha) > n)
        n++;
    return n;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double conformal_threshold(double *scores, size_t n, double alpha)
{
    size_t k = conformal_rank(n, alpha);
    if (k > n)
        return INFINITY;
    qsort(scores, n, sizeof *scores, ascending);
    return scores[k - 1];
}
