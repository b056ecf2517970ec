#include "common/decide/temperature.h"

#include <math.h>
#include <stdbool.h>

struct problem {
    const double *probs;
    const int *labels;
    size_t n, n_classes;
};

/* The mean NLL at beta = 1/T, and its derivatives in beta. */
struct at {
    double value, slope, curvature;
};

enum { MAX_STEPS = 200 };
static const double LARGEST_BETA = 1e6, GAP = 1e-14;

static double highest(const double *p, size_t n)
{
    double max = p[0];
    for (size_t c = 1; c < n; c++)
        max = fmax(max, p[c]);
    return max;
}

/* With z_c = ln(p_c / max p): value ln sum exp(beta z) - beta z_y, slope E z - z_y, curvature
 * Var z. Classes of probability zero have no part in it, for any beta > 0. */
static struct at differentiate(const struct problem *q, double beta)
{
    long double value = 0, slope = 0, curvature = 0;
    for (size_t i = 0; i < q->n; i++) {
        const double *p = q->probs + i * q->n_classes;
        double max = highest(p, q->n_classes), own = log(p[q->labels[i]] / max);
        double sum = 0, first = 0, second = 0;
        for (size_t c = 0; c < q->n_classes; c++) {
            if (p[c] == 0)
                continue;
            double z = log(p[c] / max), e = exp(beta * z);
            sum += e;
            first += e * z;
            second += e * z * z;
        }
        double mean = first / sum;
        value += log(fmax(1, sum)) - beta * own; /* the top class alone is 1 */
        slope += mean - own;
        curvature += fmax(0, second / sum - mean * mean);
    }
    long double n = (long double)q->n;
    return (struct at){(double)(value / n), (double)(slope / n), (double)(curvature / n)};
}

/* The bracket [*low, *high] that holds the minimum, from beta = 1 outwards. */
static enum temperature_outcome bracket(const struct problem *q, double *low, double *high)
{
    *low = *high = 1;
    while (differentiate(q, *high).slope < 0) {
        *low = *high;
        if ((*high *= 2) > LARGEST_BETA)
            return TEMPERATURE_ZERO;
    }
    while (differentiate(q, *low).slope > 0) {
        *high = *low;
        if ((*low /= 2) < 1 / LARGEST_BETA)
            return TEMPERATURE_INFINITE;
    }
    return TEMPERATURE_FOUND;
}

static struct temperature_fit minimise(const struct problem *q, double low, double high)
{
    struct temperature_fit fit = {.outcome = TEMPERATURE_FOUND};
    double beta = low + (high - low) / 2;
    for (;;) {
        struct at a = differentiate(q, beta);
        fit.temperature = 1 / beta;
        fit.nll = a.value;
        if (a.slope > 0)
            high = beta;
        else
            low = beta;
        /* Convex: the minimum lies in the bracket, and nothing there falls below the tangent. */
        fit.gap = fabs(a.slope) * (high - low);
        if (fit.gap <= GAP || fit.steps == MAX_STEPS)
            return fit;
        double next = beta - a.slope / a.curvature;
        if (!(next > low && next < high))
            next = low + (high - low) / 2;
        if (next == beta)
            return fit;
        beta = next;
        fit.steps++;
    }
}

static bool all_on_top(const struct problem *q)
{
    for (size_t i = 0; i < q->n; i++) {
        const double *p = q->probs + i * q->n_classes;
        if (p[q->labels[i]] < highest(p, q->n_classes))
            return false;
    }
    return true;
}

static bool all_alike(const struct problem *q)
{
    for (size_t i = 0; i < q->n; i++)
        for (size_t c = 0; c < q->n_classes; c++)
            if (q->probs[i * q->n_classes + c] != 0 &&
                q->probs[i * q->n_classes + c] != q->probs[i * q->n_classes + q->labels[i]])
                return false;
    return true;
}

struct temperature_fit fit_temperature(const double *probs, const int *labels, size_t n,
                                       size_t n_classes)
{
    struct problem q = {probs, labels, n, n_classes};
    for (size_t i = 0; i < n; i++)
        if (probs[i * n_classes + (size_t)labels[i]] == 0)
            return (struct temperature_fit){.outcome = TEMPERATURE_NO_FIT, .row = i};
    if (all_alike(&q)) /* any temperature gives the same probabilities */
        return (struct temperature_fit){.outcome = TEMPERATURE_INFINITE};
    if (all_on_top(&q)) /* the slope is below 0 throughout, though it may round to 0 */
        return (struct temperature_fit){.outcome = TEMPERATURE_ZERO};
    double low, high;
    enum temperature_outcome outcome = bracket(&q, &low, &high);
    if (outcome != TEMPERATURE_FOUND)
        return (struct temperature_fit){.outcome = outcome};
    struct temperature_fit fit = minimise(&q, low, high);
    fit.before = differentiate(&q, 1).value;
    return fit;
}

void temper(const double *probs, size_t n, double temperature, double *tempered)
{
    double max = highest(probs, n), sum = 0;
    for (size_t c = 0; c < n; c++)
        sum += tempered[c] = probs[c] > 0 ? exp(log(probs[c] / max) / temperature) : 0;
    for (size_t c = 0; c < n; c++)
        tempered[c] /= sum;
}
