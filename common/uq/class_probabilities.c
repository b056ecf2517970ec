#include "common/uq/class_probabilities.h"

#include <math.h>

static const double SMOOTHING = 1e-5;

static double calibrated(double logit, const struct calibration *c, size_t class)
{
    if (!c)
        return logit;
    return c->scale * logit + (c->bias ? c->bias[class] : 0);
}

bool class_probabilities(const float *logits, size_t n, const struct calibration *calibration,
                         double *probs)
{
    double max = -INFINITY, sum = 0;
    bool numbers = true;
    for (size_t c = 0; c < n; c++) {
        probs[c] = calibrated(logits[c], calibration, c);
        numbers = numbers && !isnan(probs[c]);
        max = fmax(max, probs[c]);
    }
    numbers = numbers && isfinite(max);
    for (size_t c = 0; numbers && c < n; c++)
        sum += probs[c] = exp(probs[c] - max);
    for (size_t c = 0; c < n; c++)
        probs[c] =
            numbers ? (probs[c] / sum + SMOOTHING) / (1 + (double)n * SMOOTHING) : 1 / (double)n;
    return numbers;
}
