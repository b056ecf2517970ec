#include "common/uq/published_solver.h"

#include "common/uq/prompt_weights.h"
#include "common/uq/torch_lbfgs.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

static const double SMALL_CONSTANT = 1e-4;
static const double FIRST_RATE = 1e-5;

enum { PASSES = 10, MAX_HALVINGS = 60 };

/* The published loss of logits theta: -sum_n log(sum_i w_i (p_ni + c) + c) + lambda sum w exp(w)
 * with w = exp(theta) / (sum exp(theta) + c), c = 1e-4, w in single precision. */
struct published_loss {
    const double *p;
    size_t n, k;
    double lambda;
    float *exponentials; /* [k] of theta */
    float *weights;      /* [k] */
    float *slopes;       /* [k] of the loss by the weights */
    float *products;     /* [k] */
    double *likelihood;  /* [k], the likelihood's part of the slopes */
};

static float exponential(float x)
{
    return (float)exp((double)x);
}

/* The likelihood, and its derivatives by the weights. */
static double add_likelihood(struct published_loss *l)
{
    double sum = 0;
    for (size_t i = 0; i < l->k; i++)
        l->likelihood[i] = 0;
    for (size_t n = 0; n < l->n; n++) {
        const double *row = l->p + n * l->k;
        double mixture = 0;
        for (size_t i = 0; i < l->k; i++)
            mixture += (row[i] + SMALL_CONSTANT) * (double)l->weights[i];
        mixture += SMALL_CONSTANT;
        sum += log(mixture);
        for (size_t i = 0; i < l->k; i++)
            l->likelihood[i] += (row[i] + SMALL_CONSTANT) / mixture;
    }
    return sum;
}

/* What the loss's derivatives by the weights become when they are those by theta, added to sums. */
static void add_gradient(struct published_loss *l, float denominator, float *sums)
{
    size_t k = l->k;
    for (size_t i = 0; i < k; i++)
        l->products[i] = -l->slopes[i] * (l->weights[i] / denominator);
    float all = torch_sum(l->products, k);
    for (size_t i = 0; i < k; i++)
        sums[i] += l->slopes[i] / denominator * l->exponentials[i] + all * l->exponentials[i];
}

static double evaluate(void *data, const float *theta, float *gradient)
{
    struct published_loss *l = data;
    for (size_t i = 0; i < l->k; i++)
        l->exponentials[i] = exponential(theta[i]);
    float denominator = torch_sum(l->exponentials, l->k) + (float)SMALL_CONSTANT;
    double entropy = 0;
    for (size_t i = 0; i < l->k; i++)
        l->weights[i] = l->exponentials[i] / denominator;
    double likelihood = add_likelihood(l);
    for (size_t i = 0; i < l->k; i++) {
        float w = l->weights[i], e = exponential(w);
        entropy -= (double)w * (double)e;
        float by_exponential = (float)(l->lambda * (double)w) * e;
        float by_weight = (float)(l->lambda * (double)e);
        l->slopes[i] = by_exponential + by_weight - (float)l->likelihood[i];
    }
    add_gradient(l, denominator, gradient);
    return -likelihood - l->lambda * entropy;
}

/* One run at a rate; whether it ended at a number. */
static bool run(struct published_loss *l, double rate, struct published_weights *out)
{
    struct torch_lbfgs *o = torch_lbfgs_new(l->k, 1, rate, evaluate, l);
    for (int pass = 0; pass < PASSES; pass++)
        torch_lbfgs_pass(o);
    const float *theta = torch_lbfgs_point(o);
    for (size_t i = 0; i < l->k; i++)
        l->exponentials[i] = exponential(theta[i]);
    float sum = torch_sum(l->exponentials, l->k);
    for (size_t i = 0; i < l->k; i++)
        out->weights[i] = (double)(l->exponentials[i] / sum);
    out->rate = rate;
    out->evaluations = torch_lbfgs_evaluations(o);
    bool number = !isnan(torch_lbfgs_last_value(o));
    torch_lbfgs_free(o);
    return number;
}

bool published_prompt_weights(const double *p, size_t n_texts, size_t n_prompts, double lambda,
                              struct published_weights *out)
{
    struct published_loss l = {.p = p,
                               .n = n_texts,
                               .k = n_prompts,
                               .lambda = lambda,
                               .exponentials = xcalloc(n_prompts, sizeof(float)),
                               .weights = xcalloc(n_prompts, sizeof(float)),
                               .slopes = xcalloc(n_prompts, sizeof(float)),
                               .products = xcalloc(n_prompts, sizeof(float)),
                               .likelihood = xcalloc(n_prompts, sizeof(double))};
    *out = (struct published_weights){.weights = xcalloc(n_prompts, sizeof(double))};
    bool number = false;
    double rate = FIRST_RATE;
    for (int i = 0; i < MAX_HALVINGS && !number; i++, rate /= 2)
        number = run(&l, rate, out);
    if (number)
        out->objective =
            weights_objective(p, n_texts, n_prompts, OBJECTIVE_PUBLISHED, lambda, out->weights);
    else
        published_weights_free(out);
    free(l.exponentials);
    free(l.weights);
    free(l.slopes);
    free(l.products);
    free(l.likelihood);
    return number;
}

void published_weights_free(struct published_weights *w)
{
    free(w->weights);
    *w = (struct published_weights){0};
}
