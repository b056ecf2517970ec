#include "common/uq/prompt_weights.h"

#include "common/util/mem.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Throughout: f_tau(w) = S(w) + tau H(w) with S the smooth part (the log-likelihood, and the
 * published regulariser where that is asked for) and H the entropy. For the paper's objective the
 * last tau is lambda itself, for the published one it is too small to matter. theta = log w, so
 * that weights far below the smallest double are still distinct. */
struct problem {
    const double *p;
    size_t n, k;        /* texts, prompts */
    double published;   /* lambda of -sum w exp(w), 0 for the paper's objective */
    double entropy;     /* lambda of -sum w log w, 0 for the published objective */
    double inside_log;  /* added to every probability */
    double tau;         /* of the stage */
    double *ratio;      /* [n * k] p_ni / mixture_n at the present weights */
    double *gradient;   /* [k] of S */
    double *system;     /* [k * k] */
    double *y, *y_one;  /* [k] */
    double *step, *try; /* [k] */
};

static const double PUBLISHED_SMALL_CONSTANT = 1e-4;

enum { MAX_STEPS = 500, MAX_HALVINGS = 60 };

/* Brings theta to sum exp(theta) = 1 and returns the weights. */
static void normalise(double *theta, double *w, size_t k)
{
    double max = theta[0];
    for (size_t i = 1; i < k; i++)
        max = fmax(max, theta[i]);
    long double sum = expl(theta[0] - max);
    for (size_t i = 1; i < k; i++)
        sum += expl(theta[i] - max);
    double log_sum = max + (double)logl(sum);
    for (size_t i = 0; i < k; i++) {
        theta[i] -= log_sum;
        w[i] = exp(theta[i]);
    }
}

static long double mixture(const struct problem *q, size_t n, const double *w)
{
    const double *row = q->p + n * q->k;
    long double m = q->inside_log;
    for (size_t i = 0; i < q->k; i++)
        m += (long double)w[i] * row[i];
    return m;
}

static double entropy_of(const double *w, const double *theta, size_t k)
{
    double h = 0;
    for (size_t i = 0; i < k; i++)
        if (w[i] > 0)
            h -= w[i] * theta[i];
    return h;
}

/* S(w) */
static double smooth_part(const struct problem *q, const double *w)
{
    long double s = 0;
    for (size_t n = 0; n < q->n; n++)
        s += logl(mixture(q, n, w));
    for (size_t i = 0; i < q->k; i++)
        s -= q->published * w[i] * exp(w[i]);
    return (double)s;
}

static double stage_value(const struct problem *q, const double *w, const double *theta)
{
    return smooth_part(q, w) + q->tau * entropy_of(w, theta, q->k);
}

/* The gradient of S, and the ratios its Hessian is made of. The sums run over all texts and their
 * differences decide the gap: long double keeps 1e-8 within reach for a million texts. */
static void differentiate(struct problem *q, const double *w)
{
    long double *sum = xcalloc(q->k, sizeof *sum);
    for (size_t n = 0; n < q->n; n++) {
        long double m = mixture(q, n, w);
        for (size_t i = 0; i < q->k; i++) {
            long double ratio = (q->p[n * q->k + i] + q->inside_log) / m;
            q->ratio[n * q->k + i] = (double)ratio;
            sum[i] += ratio;
        }
    }
    for (size_t i = 0; i < q->k; i++)
        q->gradient[i] = (double)(sum[i] - q->published * (1 + w[i]) * expl(w[i]));
    free(sum);
}

/* tau KL(w || softmax(gradient / tau)): how far f_tau(w) can be below its optimum. Linearising S
 * bounds it, the entropy is then maximised exactly. */
static double entropic_gap(const struct problem *q, const double *w, const double *theta,
                           double tau)
{
    double max = -INFINITY;
    for (size_t i = 0; i < q->k; i++)
        max = fmax(max, q->gradient[i]);
    double sum = 0, gap = 0;
    for (size_t i = 0; i < q->k; i++)
        sum += exp((q->gradient[i] - max) / tau);
    for (size_t i = 0; i < q->k; i++)
        if (w[i] > 0)
            gap += w[i] * (tau * (theta[i] + log(sum)) - (q->gradient[i] - max));
    return fmax(gap, 0);
}

/* max_i g_i - g.w, the Frank-Wolfe duality gap, which needs no entropy in the objective. */
static double linear_gap(const struct problem *q, const double *w)
{
    double max = -INFINITY, gap = 0;
    for (size_t i = 0; i < q->k; i++)
        max = fmax(max, q->gradient[i]);
    for (size_t i = 0; i < q->k; i++)
        gap += w[i] * (max - q->gradient[i]);
    return gap;
}

/* tau I + D^1/2 B D^1/2 with D = diag(w) and -B the Hessian of S; lower triangle. */
static void build_system(struct problem *q, const double *w)
{
    size_t k = q->k;
    memset(q->system, 0, k * k * sizeof *q->system);
    double *scaled = q->try;
    for (size_t n = 0; n < q->n; n++) {
        for (size_t i = 0; i < k; i++)
            scaled[i] = q->ratio[n * k + i] * sqrt(w[i]);
        for (size_t i = 0; i < k; i++) {
            double s = scaled[i], *row = q->system + i * k;
            for (size_t j = 0; j <= i; j++)
                row[j] += s * scaled[j];
        }
    }
    for (size_t i = 0; i < k; i++)
        q->system[i * k + i] += q->tau + q->published * (2 + w[i]) * exp(w[i]) * w[i];
}

/* (B D^1/2 y)_i for all i into out. */
static void curve(const struct problem *q, const double *w, const double *y, double *out)
{
    size_t k = q->k;
    for (size_t i = 0; i < k; i++)
        out[i] = q->published * (2 + w[i]) * exp(w[i]) * sqrt(w[i]) * y[i];
    for (size_t n = 0; n < q->n; n++) {
        const double *ratio = q->ratio + n * k;
        double s = 0;
        for (size_t i = 0; i < k; i++)
            s += ratio[i] * sqrt(w[i]) * y[i];
        for (size_t i = 0; i < k; i++)
            out[i] += ratio[i] * s;
    }
}

/* Newton's step in theta for the conditions tau theta_i = gradient_i - nu, sum w = 1. Returns the
 * rise of f_tau that it promises at first order. */
static double newton_step(struct problem *q, const double *w, const double *theta)
{
    size_t k = q->k;
    /* Residuals are taken about their weighted mean: nu is free, and cancellation is not. */
    double mean = 0;
    for (size_t i = 0; i < k; i++)
        if (w[i] > 0)
            mean += w[i] * (q->tau * theta[i] - q->gradient[i]);
    build_system(q, w);
    newton_factor(q->system, k, q->tau);
    for (size_t i = 0; i < k; i++) {
        double residual = q->tau * theta[i] - q->gradient[i] - mean;
        q->y[i] = -sqrt(w[i]) * residual;
        q->y_one[i] = -sqrt(w[i]);
    }
    newton_solve(q->system, k, q->y);
    newton_solve(q->system, k, q->y_one);
    double a = 0, b = 0;
    for (size_t i = 0; i < k; i++) {
        a += sqrt(w[i]) * q->y[i];
        b += sqrt(w[i]) * q->y_one[i];
    }
    double nu = -a / b, rise = 0;
    for (size_t i = 0; i < k; i++)
        q->y[i] += nu * q->y_one[i];
    curve(q, w, q->y, q->try);
    for (size_t i = 0; i < k; i++) {
        double residual = q->tau * theta[i] - q->gradient[i] - mean;
        /* Two forms of one number: the first loses digits for small weights, the second for a
         * small tau. */
        q->step[i] = w[i] > 1e-4 ? q->y[i] / sqrt(w[i]) : -(residual + nu + q->try[i]) / q->tau;
        rise -= w[i] * residual * q->step[i];
    }
    return rise;
}

struct state {
    double *theta, *w;
    double *next_theta, *next_w;
};

static void swap(double **a, double **b)
{
    double *t = *a;
    *a = *b;
    *b = t;
}

/* Follows the step as far as f_tau rises with it; false when it does not rise any more. */
static bool advance(struct problem *q, struct state *s, double rise)
{
    double value = stage_value(q, s->w, s->theta);
    double noise = 8 * DBL_EPSILON * (fabs(value) + (double)q->n);
    double t = 1;
    for (int i = 0; i < MAX_HALVINGS; i++, t /= 2) {
        for (size_t j = 0; j < q->k; j++)
            s->next_theta[j] = s->theta[j] + t * q->step[j];
        normalise(s->next_theta, s->next_w, q->k);
        double next = stage_value(q, s->next_w, s->next_theta);
        if (next >= value + 1e-4 * t * rise - noise) {
            swap(&s->theta, &s->next_theta);
            swap(&s->w, &s->next_w);
            return true;
        }
    }
    return false;
}

static double objective_value(const struct problem *q, const double *w, const double *theta)
{
    return smooth_part(q, w) + q->entropy * entropy_of(w, theta, q->k);
}

static double certified_gap(const struct problem *q, const double *w, const double *theta)
{
    return q->entropy > 0 ? entropic_gap(q, w, theta, q->entropy) : linear_gap(q, w);
}

static void record(struct weight_fit *fit, const struct problem *q, const struct state *s)
{
    fit->optimum = objective_value(q, s->w, s->theta);
    fit->gap = certified_gap(q, s->w, s->theta);
    fit->trace = xreallocarray(fit->trace, fit->n_trace + 1, sizeof *fit->trace);
    fit->trace[fit->n_trace++] = (struct fit_step){fit->optimum, fit->gap};
}

/* From a tau at which the entropy rules, where the uniform start is nearly right, down to the
 * problem's own, each stage solved as far as the next one needs. */
static void follow_path(struct problem *q, struct state *s, struct weight_fit *fit,
                        double tolerance)
{
    /* With the barrier at its optimum the gap is at most tau log k. */
    double last = fmax(q->entropy, tolerance / (4 * log((double)q->k + 1)));
    q->tau = fmax(last, (double)q->n);
    differentiate(q, s->w);
    record(fit, q, s);
    while (fit->gap > tolerance && fit->n_trace < MAX_STEPS) {
        double stage_gap = entropic_gap(q, s->w, s->theta, q->tau);
        if (q->tau > last && stage_gap <= 0.01 * q->tau) {
            q->tau = fmax(last, 0.1 * q->tau);
            continue;
        }
        double rise = newton_step(q, s->w, s->theta);
        if (!advance(q, s, rise))
            return;
        differentiate(q, s->w);
        record(fit, q, s);
    }
}

static struct problem problem_of(const double *p, size_t n_texts, size_t n_prompts,
                                 enum objective objective, double lambda)
{
    bool published = objective == OBJECTIVE_PUBLISHED;
    return (struct problem){.p = p,
                            .n = n_texts,
                            .k = n_prompts,
                            .published = published ? lambda : 0,
                            .entropy = published ? 0 : lambda,
                            .inside_log = published ? 2 * PUBLISHED_SMALL_CONSTANT : 0};
}

double weights_objective(const double *p, size_t n_texts, size_t n_prompts,
                         enum objective objective, double lambda, const double *w)
{
    struct problem q = problem_of(p, n_texts, n_prompts, objective, lambda);
    double *theta = xcalloc(n_prompts, sizeof *theta);
    for (size_t i = 0; i < n_prompts; i++)
        theta[i] = log(w[i]);
    double value = objective_value(&q, w, theta);
    free(theta);
    return value;
}

struct weight_fit fit_prompt_weights(const double *p, size_t n_texts, size_t n_prompts,
                                     enum objective objective, double lambda, double tolerance)
{
    size_t k = n_prompts;
    struct problem q = problem_of(p, n_texts, n_prompts, objective, lambda);
    q.ratio = xreallocarray(NULL, n_texts * k, sizeof(double));
    q.gradient = xcalloc(k, sizeof(double));
    q.system = xreallocarray(NULL, k * k, sizeof(double));
    q.y = xcalloc(k, sizeof(double));
    q.y_one = xcalloc(k, sizeof(double));
    q.step = xcalloc(k, sizeof(double));
    q.try = xcalloc(k, sizeof(double));
    struct state s = {xcalloc(k, sizeof(double)), xcalloc(k, sizeof(double)),
                      xcalloc(k, sizeof(double)), xcalloc(k, sizeof(double))};
    normalise(s.theta, s.w, k);
    struct weight_fit fit = {0};
    follow_path(&q, &s, &fit, tolerance);
    fit.weights = s.w;
    free(s.theta);
    free(s.next_theta);
    free(s.next_w);
    free(q.ratio);
    free(q.gradient);
    free(q.system);
    free(q.y);
    free(q.y_one);
    free(q.step);
    free(q.try);
    return fit;
}

void weight_fit_free(struct weight_fit *fit)
{
    free(fit->weights);
    free(fit->trace);
    *fit = (struct weight_fit){0};
}
