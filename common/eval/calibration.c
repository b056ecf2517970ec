#include "common/eval/calibration.h"

#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

/* k / bins with torch.linspace's rounding, which decides on which side of an edge 0.3 falls. */
static double edge(size_t k, size_t bins)
{
    double step = 1 / (double)bins;
    return k < (bins + 1) / 2 ? step * (double)k : 1 - step * (double)(bins - k);
}

static size_t bin_of(double confidence, struct binning b)
{
    size_t k = (size_t)fmin(confidence * (double)b.bins, (double)b.bins);
    while (k < b.bins && confidence >= edge(k + 1, b.bins))
        k++;
    while (k > 0 && confidence < edge(k, b.bins))
        k--;
    return k == b.bins && !b.own_bin_for_1 ? k - 1 : k;
}

size_t bin_count(struct binning b)
{
    return b.bins + b.own_bin_for_1;
}

struct bin *calibration_bins(const struct scored *claims, size_t n, struct binning b)
{
    size_t count = bin_count(b);
    struct bin *bins = xcalloc(count, sizeof *bins);
    for (size_t k = 0; k < count; k++) {
        bins[k].low = edge(k, b.bins);
        bins[k].high = k < b.bins ? edge(k + 1, b.bins) : 1;
    }
    for (size_t i = 0; i < n; i++) {
        struct bin *x = &bins[bin_of(claims[i].score, b)];
        x->count++;
        x->confidence += claims[i].score;
        x->accuracy += claims[i].positive;
    }
    for (size_t k = 0; k < count; k++)
        if (bins[k].count) {
            bins[k].confidence /= (double)bins[k].count;
            bins[k].accuracy /= (double)bins[k].count;
        }
    return bins;
}

double binned_error(const struct scored *claims, size_t n, struct binning b)
{
    struct bin *bins = calibration_bins(claims, n, b);
    double mean = 0;
    for (size_t k = 0; k < bin_count(b); k++)
        mean += fabs(bins[k].accuracy - bins[k].confidence) * (double)bins[k].count / (double)n;
    free(bins);
    return mean;
}

double largest_error(const struct scored *claims, size_t n, struct binning b)
{
    struct bin *bins = calibration_bins(claims, n, b);
    double max = 0;
    for (size_t k = 0; k < bin_count(b); k++)
        max = fmax(max, fabs(bins[k].accuracy - bins[k].confidence));
    free(bins);
    return max;
}

/* share: [n], of positives among the claims that score as the i-th does. */
static double *shares_of_equals(const struct scored *ranked, size_t n)
{
    double *share = xreallocarray(NULL, n, sizeof *share);
    for (size_t from = 0, to; from < n; from = to) {
        size_t positives = 0;
        for (to = from; to < n && ranked[to].score == ranked[from].score; to++)
            positives += ranked[to].positive;
        for (size_t i = from; i < to; i++)
            share[i] = (double)positives / (double)(to - from);
    }
    return share;
}

double equal_mass_error(struct scored *claims, size_t n, size_t bins)
{
    rank_scores(claims, n);
    double *share = shares_of_equals(claims, n), sum = 0;
    size_t end = n; /* ranked from the highest score down, bins are counted from the lowest up */
    for (size_t k = 0; k < bins && end > 0; k++) {
        size_t begin = end - (n / bins + (k < n % bins));
        double gap = 0;
        for (size_t i = begin; i < end; i++)
            gap += share[i] - claims[i].score;
        sum += fabs(gap);
        end = begin;
    }
    free(share);
    return sum / (double)n;
}
