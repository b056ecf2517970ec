#include "common/uq/ranking.h"

#include <math.h>
#include <stdlib.h>

static int by_score(const void *a, const void *b)
{
    double x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;
    return (x < y) - (x > y);
}

void rank_scores(struct scored *s, size_t n)
{
    qsort(s, n, sizeof *s, by_score);
}

/* Takes the next group of equal scores into the counts; returns where it ends. */
static size_t take_group(const struct scored *s, size_t n, size_t from, size_t *positives,
                         size_t *negatives)
{
    size_t i = from;
    for (; i < n && s[i].score == s[from].score; i++)
        (*(s[i].positive ? positives : negatives))++;
    return i;
}

static size_t count_positives(const struct scored *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += s[i].positive;
    return count;
}

double ranked_auroc(const struct scored *s, size_t n)
{
    size_t above = 0, below = 0; /* positives and negatives seen so far */
    double wins = 0;
    for (size_t i = 0; i < n;) {
        size_t p = 0, q = 0;
        i = take_group(s, n, i, &p, &q);
        wins += (double)q * ((double)above + 0.5 * (double)p);
        above += p;
        below += q;
    }
    return above && below ? wins / ((double)above * (double)below) : NAN;
}

double ranked_average_precision(const struct scored *s, size_t n)
{
    size_t all = count_positives(s, n), p = 0, q = 0;
    double sum = 0;
    for (size_t i = 0; i < n;) {
        size_t before = p;
        i = take_group(s, n, i, &p, &q);
        sum += (double)(p - before) * ((double)p / (double)(p + q));
    }
    return all ? sum / (double)all : NAN;
}

double ranked_fpr(const struct scored *s, size_t n, double recall)
{
    size_t all = count_positives(s, n), p = 0, q = 0;
    if (all == 0 || all == n)
        return NAN;
    for (size_t i = 0; i < n && (double)p / (double)all < recall;)
        i = take_group(s, n, i, &p, &q);
    return (double)q / (double)(n - all);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double wasserstein(double *a, size_t n_a, double *b, size_t n_b)
{
    if (n_a == 0 || n_b == 0)
        return NAN;
    qsort(a, n_a, sizeof *a, ascending);
    qsort(b, n_b, sizeof *b, ascending);
    double area = 0, at = fmin(a[0], b[0]);
    for (size_t i = 0, j = 0; i < n_a || j < n_b;) {
        double next = j == n_b || (i < n_a && a[i] <= b[j]) ? a[i] : b[j];
        area += fabs((double)i / (double)n_a - (double)j / (double)n_b) * (next - at);
        at = next;
        while (i < n_a && a[i] == at)
            i++;
        while (j < n_b && b[j] == at)
            j++;
    }
    return area;
}
