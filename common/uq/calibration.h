/* The calibration of a prompt: what is done to its class logits z so that their softmax fits the
 * labels. Temperature and vector scaling (Guo et al. 2017, arXiv 1706.04599) with one scale:
 *
 *   minimise  1/N sum_n -log softmax(a z_n + b)[y_n] + strength/2 ((a - 1)^2 + |b|^2),  a >= 1e-6
 *
 * a is the scale, 1 for no change, b the class biases. In (a, b) the objective is convex, for the
 * logits enter linearly; log a would not leave it so. The penalty makes its optimum unique and
 * finite, whatever the labels, and the biases sum to zero there. */
#ifndef DUQ_UQ_CALIBRATION_H
#define DUQ_UQ_CALIBRATION_H

#include "common/uq/newton.h"
#include "common/uq/validation.h"

/* Bits: what is fitted. */
enum calibration_kind {
    CALIBRATE_NONE = 0,
    CALIBRATE_SCALE = 1,
    CALIBRATE_BIAS = 2,
    CALIBRATE_SCALE_BIAS = CALIBRATE_SCALE | CALIBRATE_BIAS
};

/* What a gap should be at most, in nats. */
#define CALIBRATION_GAP 1e-10

struct calibration_fit {
    double scale;
    double *bias;    /* [n_classes]; NULL where it is not fitted */
    double before;   /* mean negative log-likelihood of the labels, nats, uncalibrated */
    double after;    /* calibrated */
    double optimum;  /* the objective's value */
    double gap;      /* the optimum lies at most this far below */
    size_t left_out; /* texts with logits that are not finite: they say nothing about a scale */
    struct fit_step *trace; /* one per Newton step, the start first */
    size_t n_trace;
};

/* Fits one prompt of v. strength > 0. Projected Newton (Bertsekas 1982), as far as double precision
 * leads (the caller reads .gap). The gap is certified by strong convexity: |g|^2 / (2 strength)
 * with g the gradient, without its first part where the scale is at its bound and would shrink. It
 * is never below half the squared Newton decrement, which by itself bounds nothing. Deterministic.
 * Constants added to a text's logits change nothing. */
struct calibration_fit fit_calibration(const struct validation *v, size_t prompt,
                                       enum calibration_kind kind, double strength);
void calibration_fit_free(struct calibration_fit *fit);

#endif
