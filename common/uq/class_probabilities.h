/* A prompt's class probabilities from its class logits. */
#ifndef DUQ_UQ_CLASS_PROBABILITIES_H
#define DUQ_UQ_CLASS_PROBABILITIES_H

#include <stdbool.h>
#include <stddef.h>

/* What a prompt's logits z become before the softmax: scale z + bias (calibration.h fits them). */
struct calibration {
    double scale;       /* > 0 */
    const double *bias; /* [n_classes]; NULL: 0 */
};

/* Softmax of a prompt's class logits, calibrated first (NULL: as they are), smoothed as the
 * published code does it: 1e-5 added to each probability, then divided by the sum. Logits with NaN
 * or +infinity among them, or all -infinity, give the uniform distribution and false. */
bool class_probabilities(const float *logits, size_t n_classes, const struct calibration *c,
                         double *probs);

#endif
