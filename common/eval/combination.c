#include "common/eval/combination.h"

#include "common/util/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double mean_of(const size_t *terms, size_t n, const double *values)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[terms[i]];
    return n ? sum / (double)n : 0;
}

double combination_value(const struct combination *c, const double *values)
{
    return mean_of(c->plus, c->n_plus, values) - mean_of(c->minus, c->n_minus, values);
}

double sign_p_value(const double *values, size_t n)
{
    size_t valid = 0, below = 0, above = 0;
    for (size_t i = 0; i < n; i++) {
        valid += !isnan(values[i]);
        below += values[i] <= 0;
        above += values[i] >= 0;
    }
    if (valid == 0 || 2 * valid < n)
        return NAN;
    size_t rarer = below < above ? below : above;
    return fmin(1, 2 * (double)(rarer + 1) / (double)(valid + 1));
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

static struct result *add(struct results *r, struct combinations *c, struct combination x)
{
    c->list = xreallocarray(c->list, c->count + 1, sizeof *c->list);
    c->list[c->count++] = x;
    r->list = xreallocarray(r->list, r->count + 1, sizeof *r->list);
    const struct result *first = &r->list[x.plus[0]];
    r->list[r->count] =
        (struct result){.against = first->against,
                        .n = first->n,
                        .low = NAN,
                        .high = NAN,
                        .p = NAN,
                        .deviation = NAN,
                        .definition = first->definition ? xstrdup(first->definition) : NULL};
    return &r->list[r->count++];
}

/* The value, and where there is none why. */
static void take_value(struct results *r, struct result *x, const struct combination *c)
{
    const size_t *const terms[] = {c->plus, c->minus};
    const size_t counts[] = {c->n_plus, c->n_minus};
    double means[2] = {0};
    for (size_t side = 0; side < 2; side++)
        for (size_t i = 0; i < counts[side]; i++) {
            const struct result *term = &r->list[terms[side][i]];
            means[side] += term->value / (double)counts[side];
            if (isnan(term->value) && !*x->reason)
                snprintf(x->reason, sizeof x->reason, "%s", term->reason);
        }
    x->value = means[0] - means[1];
}

/* ---- seeds ---- */

static double deviation_of(const struct results *r, const struct combination *c)
{
    double mean = 0, squares = 0;
    for (size_t i = 0; i < c->n_plus; i++)
        mean += r->list[c->plus[i]].value / (double)c->n_plus;
    for (size_t i = 0; i < c->n_plus; i++)
        squares += (r->list[c->plus[i]].value - mean) * (r->list[c->plus[i]].value - mean);
    return sqrt(squares / (double)(c->n_plus - 1));
}

/* What a measured result is called once its seeds are put together: its set's shared name, and what
 * follows the set's own ("/prompts"). NULL where the set has one seed. */
static char *shared_name(const struct result *r, const struct statistic *t)
{
    const char *shared = t->set->seeds_of;
    return shared ? xasprintf("%s%s", shared, r->set + strlen(t->set->name)) : NULL;
}

static void add_seed_mean(struct results *r, struct combinations *c, const struct statistic *t,
                          size_t number, size_t measured)
{
    char *name = shared_name(&r->list[number], &t[number]);
    struct combination x = {0};
    bool first = true;
    for (size_t i = 0; name && i < measured && first; i++) {
        char *other = shared_name(&r->list[i], &t[i]);
        bool same = same_text(name, other) &&
                    same_text(r->list[i].metric, r->list[number].metric) &&
                    same_text(r->list[i].against, r->list[number].against);
        free(other);
        if (!same)
            continue;
        first = i >= number;
        x.plus = xreallocarray(x.plus, x.n_plus + 1, sizeof *x.plus);
        x.plus[x.n_plus++] = i;
    }
    if (!first || x.n_plus < 2) { /* one that came before has it */
        free(name);
        free(x.plus);
        return;
    }
    struct result *mean = add(r, c, x);
    mean->set = name;
    mean->metric = xstrdup(r->list[number].metric);
    mean->seeds = x.n_plus;
    take_value(r, mean, &x);
    mean->deviation = deviation_of(r, &x);
}

/* ---- differences ---- */

/* The measured results that the number-th one is made of. */
static const size_t *terms_of(const struct combinations *c, size_t measured, const size_t *number,
                              size_t *n)
{
    if (*number < measured) {
        *n = 1;
        return number;
    }
    *n = c->list[*number - measured].n_plus;
    return c->list[*number - measured].plus;
}

static size_t *copy(const size_t *terms, size_t n)
{
    size_t *all = xreallocarray(NULL, n, sizeof *all);
    memcpy(all, terms, n * sizeof *all);
    return all;
}

static void add_difference(struct results *r, struct combinations *c, size_t measured, size_t from,
                           size_t baseline)
{
    struct combination x = {0};
    const size_t *plus = terms_of(c, measured, &from, &x.n_plus);
    const size_t *minus = terms_of(c, measured, &baseline, &x.n_minus);
    x.plus = copy(plus, x.n_plus);
    x.minus = copy(minus, x.n_minus);
    struct result *d = add(r, c, x);
    d->set = xstrdup(r->list[from].set);
    d->metric = xasprintf("difference_%s", r->list[from].metric);
    d->against = r->list[baseline].set;
    d->difference = true;
    take_value(r, d, &x);
}

/* Of every set but those that a mean over seeds stands for. */
static void add_differences(struct results *r, struct combinations *c, const struct statistic *t,
                            size_t measured, const char *baseline)
{
    size_t count = r->count;
    for (size_t i = 0; i < count; i++) {
        const struct result *x = &r->list[i];
        if (x->against || !strcmp(x->set, baseline) || (i < measured && t[i].set->seeds_of))
            continue;
        for (size_t j = 0; j < count; j++)
            if (!r->list[j].against && !strcmp(r->list[j].set, baseline) &&
                !strcmp(r->list[j].metric, r->list[i].metric))
                add_difference(r, c, measured, i, j);
    }
}

struct combinations combine(struct results *results, const struct statistic *statistics,
                            const char *baseline)
{
    struct combinations c = {0};
    size_t measured = results->count;
    for (size_t i = 0; i < measured; i++)
        add_seed_mean(results, &c, statistics, i, measured);
    if (baseline)
        add_differences(results, &c, statistics, measured, baseline);
    return c;
}

void combinations_free(struct combinations *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->list[i].plus);
        free(c->list[i].minus);
    }
    free(c->list);
}
