#include "common/uq/calibration.h"

#include "common/util/mem.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const double SMALLEST_SCALE = 1e-6, ENOUGH = 1e-24;

enum { MAX_STEPS = 500, MAX_HALVINGS = 100 };

/* x = (a, b) without the parts that are not fitted. */
struct problem {
    size_t n, classes, size; /* texts, classes, length of x */
    double *z;               /* [n * classes], each text's mean taken off */
    int *labels;             /* [n] */
    double strength;
    bool scale, bias; /* are they fitted? */
    double *x, *next; /* [size] */
    double *gradient; /* [size] */
    double *step;     /* [size] */
    double *system;   /* [size * size] */
    double *probs;    /* [classes], of one text */
};

static void swap(double **a, double **b)
{
    double *t = *a;
    *a = *b;
    *b = t;
}

/* ---- the objective ---- */

static double scale_of(const struct problem *q, const double *x)
{
    return q->scale ? x[0] : 1;
}

/* -log softmax(a z + b)[label]; probs receives the softmax. */
static double text_loss(const struct problem *q, size_t n, const double *x, double *probs)
{
    const double *z = q->z + n * q->classes, *b = x + q->scale;
    double a = scale_of(q, x), others = 0;
    size_t best = 0;
    for (size_t c = 0; c < q->classes; c++) {
        probs[c] = a * z[c] + (q->bias ? b[c] : 0);
        best = probs[c] > probs[best] ? c : best;
    }
    double max = probs[best], label = probs[q->labels[n]] - max;
    for (size_t c = 0; c < q->classes; c++) {
        probs[c] = exp(probs[c] - max);
        others += c == best ? 0 : probs[c];
    }
    for (size_t c = 0; c < q->classes; c++)
        probs[c] /= 1 + others;
    return log1p(others) - label;
}

static double mean_loss(const struct problem *q, const double *x)
{
    long double sum = 0;
    for (size_t n = 0; n < q->n; n++)
        sum += text_loss(q, n, x, q->probs);
    return q->n ? (double)(sum / q->n) : 0;
}

static double square(double v)
{
    return v * v;
}

static double objective(const struct problem *q, const double *x)
{
    double penalty = square(scale_of(q, x) - 1);
    for (size_t j = q->scale; j < q->size; j++)
        penalty += square(x[j]);
    return mean_loss(q, x) + q->strength / 2 * penalty;
}

/* One text's part of the gradient and, in the lower triangle of the system, of the Hessian. */
static void add_text(struct problem *q, size_t n, long double *gradient)
{
    const double *z = q->z + n * q->classes, *p = q->probs;
    size_t size = q->size, label = (size_t)q->labels[n];
    double mean = 0, variance = 0;
    for (size_t c = 0; c < q->classes; c++)
        mean += p[c] * z[c];
    for (size_t c = 0; c < q->classes; c++)
        variance += p[c] * (z[c] - mean) * (z[c] - mean);
    if (q->scale) {
        gradient[0] += mean - z[label];
        q->system[0] += variance;
    }
    for (size_t c = 0; q->bias && c < q->classes; c++) {
        size_t j = c + q->scale;
        double *row = q->system + j * size;
        gradient[j] += p[c] - (c == label);
        if (q->scale)
            row[0] += p[c] * (z[c] - mean);
        for (size_t d = 0; d <= c; d++)
            row[d + q->scale] += p[c] * ((c == d) - p[d]);
    }
}

/* The gradient of the likelihood along equal biases is zero, and so is their sum: what rounding
 * leaves there is taken off, for a small strength would make much of it. */
static void balance(double *biases, size_t n)
{
    double mean = 0;
    for (size_t c = 0; c < n; c++)
        mean += biases[c] / (double)n;
    for (size_t c = 0; c < n; c++)
        biases[c] -= mean;
}

/* The scale cannot shrink any more, and would. */
static bool at_bound(const struct problem *q, const double *x)
{
    return q->scale && x[0] <= SMALLEST_SCALE && q->gradient[0] >= 0;
}

/* Takes the scale out of gradient and Hessian: a step leaves it where it is. */
static void hold_scale(struct problem *q)
{
    q->gradient[0] = 0;
    for (size_t j = 1; j < q->size; j++)
        q->system[j * q->size] = 0;
}

/* Gradient and Hessian at x, without the scale where it is held. */
static void differentiate(struct problem *q, const double *x)
{
    size_t size = q->size;
    long double *gradient = xcalloc(size, sizeof *gradient);
    memset(q->system, 0, size * size * sizeof *q->system);
    for (size_t n = 0; n < q->n; n++) {
        text_loss(q, n, x, q->probs);
        add_text(q, n, gradient);
    }
    double count = q->n ? (double)q->n : 1;
    for (size_t j = 0; j < size * size; j++)
        q->system[j] /= count;
    for (size_t j = 0; j < size; j++) {
        double away = x[j] - (q->scale && j == 0);
        q->gradient[j] = (double)(gradient[j] / count) + q->strength * away;
        q->system[j * size + j] += q->strength;
    }
    if (q->bias)
        balance(q->gradient + q->scale, q->classes);
    if (at_bound(q, x))
        hold_scale(q);
    free(gradient);
}

/* ---- Newton's method ---- */

static double certified_gap(const struct problem *q)
{
    double sum = 0;
    for (size_t j = 0; j < q->size; j++)
        sum += square(q->gradient[j]);
    return sum / (2 * q->strength);
}

static void record(struct calibration_fit *fit, const struct problem *q)
{
    fit->optimum = objective(q, q->x);
    fit->gap = certified_gap(q);
    fit->trace = xreallocarray(fit->trace, fit->n_trace + 1, sizeof *fit->trace);
    fit->trace[fit->n_trace++] = (struct fit_step){fit->optimum, fit->gap};
}

static void newton_step(struct problem *q)
{
    for (size_t j = 0; j < q->size; j++)
        q->step[j] = -q->gradient[j];
    newton_factor(q->system, q->size, q->strength);
    newton_solve(q->system, q->size, q->step);
}

/* Follows the step, as far as the bound lets it, to where the objective falls: by a ten-thousandth
 * of what the gradient promises at least. False where it does not. *promise: that fall. */
static bool advance(struct problem *q, double value, double *promise)
{
    double noise = 8 * DBL_EPSILON * fabs(value), t = 1;
    for (int i = 0; i < MAX_HALVINGS; i++, t /= 2) {
        for (size_t j = 0; j < q->size; j++)
            q->next[j] = q->x[j] + t * q->step[j];
        if (q->scale)
            q->next[0] = fmax(q->next[0], SMALLEST_SCALE);
        *promise = 0;
        for (size_t j = 0; j < q->size; j++)
            *promise += q->gradient[j] * (q->x[j] - q->next[j]);
        if (objective(q, q->next) <= value - 1e-4 * *promise + noise) {
            swap(&q->x, &q->next);
            return true;
        }
    }
    return false;
}

/* From x to the optimum. Ends where rounding does not let the gap shrink any more. */
static void descend(struct problem *q, struct calibration_fit *fit)
{
    differentiate(q, q->x);
    record(fit, q);
    for (int i = 0; i < MAX_STEPS && fit->gap > ENOUGH; i++) {
        double promise;
        newton_step(q);
        if (!advance(q, fit->optimum, &promise))
            return;
        differentiate(q, q->x);
        if (certified_gap(q) >= fit->gap && promise <= 8 * DBL_EPSILON * (1 + fit->optimum)) {
            swap(&q->x, &q->next);
            return;
        }
        record(fit, q);
    }
}

/* ---- a prompt ---- */

/* The text's logits with their mean taken off; false where some are not finite. */
static bool centre(const float *logits, size_t classes, double *z)
{
    double mean = 0;
    for (size_t c = 0; c < classes; c++)
        mean += logits[c] / (double)classes;
    for (size_t c = 0; c < classes; c++)
        z[c] = logits[c] - mean;
    return isfinite(mean);
}

static struct problem problem_new(const struct validation *v, size_t prompt,
                                  enum calibration_kind kind, double strength)
{
    bool scale = kind & CALIBRATE_SCALE, bias = kind & CALIBRATE_BIAS;
    size_t size = scale + (bias ? v->n_classes : 0);
    struct problem q = {.classes = v->n_classes,
                        .size = size,
                        .z = xreallocarray(NULL, v->n_texts * v->n_classes, sizeof(double)),
                        .labels = xcalloc(v->n_texts, sizeof(int)),
                        .strength = strength,
                        .scale = scale,
                        .bias = bias,
                        .x = xcalloc(size, sizeof(double)),
                        .next = xcalloc(size, sizeof(double)),
                        .gradient = xcalloc(size, sizeof(double)),
                        .step = xcalloc(size, sizeof(double)),
                        .system = xreallocarray(NULL, size * size, sizeof(double)),
                        .probs = xcalloc(v->n_classes, sizeof(double))};
    for (size_t n = 0; n < v->n_texts; n++)
        if (centre(validation_logits(v, n, prompt), q.classes, q.z + q.n * q.classes))
            q.labels[q.n++] = v->labels[n];
    return q;
}

static void problem_free(struct problem *q)
{
    free(q->z);
    free(q->labels);
    free(q->x);
    free(q->next);
    free(q->gradient);
    free(q->step);
    free(q->system);
    free(q->probs);
}

/* Begins with no change, or at the smallest scale, nearly the uniform distribution, whichever is
 * better: where logits are far too large the first is far off. */
static void begin(struct problem *q, struct calibration_fit *fit)
{
    if (q->scale)
        q->x[0] = 1;
    fit->before = mean_loss(q, q->x);
    if (!q->scale)
        return;
    q->next[0] = SMALLEST_SCALE;
    if (objective(q, q->next) < objective(q, q->x))
        q->x[0] = SMALLEST_SCALE;
}

struct calibration_fit fit_calibration(const struct validation *v, size_t prompt,
                                       enum calibration_kind kind, double strength)
{
    struct calibration_fit fit = {0};
    struct problem q = problem_new(v, prompt, kind, strength);
    fit.left_out = v->n_texts - q.n;
    begin(&q, &fit);
    descend(&q, &fit);
    fit.scale = scale_of(&q, q.x);
    fit.after = mean_loss(&q, q.x);
    if (q.bias) {
        fit.bias = xcalloc(q.classes, sizeof *fit.bias);
        memcpy(fit.bias, q.x + q.scale, q.classes * sizeof *fit.bias);
        balance(fit.bias, q.classes);
    }
    problem_free(&q);
    return fit;
}

void calibration_fit_free(struct calibration_fit *fit)
{
    free(fit->bias);
    free(fit->trace);
    *fit = (struct calibration_fit){0};
}
