/* Promises over 1,000 draws of fitting texts, whose true risks are known in closed form. In 1,000
 * draws a promise that is broken with probability delta may be broken 1000 delta + 3 standard
 * deviations of that number of times; a limit taken where the fitting texts themselves keep the
 * risk breaks it far more often. */
#include "common/decide/conformal.h"
#include "common/decide/risk_control.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { DRAWS = 1000, TEXTS = 300 };
static const double RISK = 0.1, DELTA = 0.1;

static double most_broken(double delta)
{
    return DRAWS * delta + 3 * sqrt(DRAWS * delta * (1 - delta));
}

/* splitmix64 (Steele, Lea and Flood 2014) */
static uint64_t bits(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static double uniform(uint64_t *seed)
{
    return (double)(bits(seed) >> 11) * 0x1p-53;
}

/* Uncertainties are uniform on (0, 1), or on levels 1/levels, 2/levels ... 1. */
struct world {
    const char *name;
    double (*error)(double u); /* P(wrong | u) */
    double levels;             /* 0: no ties */
};

static double growing(double u)
{
    return 0.3 * u; /* the risk below t is 0.15 t: 0.1 at t = 2/3 */
}

static double always_too_high(double u)
{
    return 0.12 + 0 * u;
}

/* The risk rises above 0.1, falls back below it and rises again. */
static double wave(double u)
{
    return u < 0.2 ? 0.06 : u < 0.35 ? 0.25 : u < 0.6 ? 0.02 : 0.3;
}

static const struct world worlds[] = {{"growing", growing, 0},
                                      {"ties", growing, 12},
                                      {"always too high", always_too_high, 0},
                                      {"too high, ties", always_too_high, 5},
                                      {"wave", wave, 0},
                                      {"wave, ties", wave, 20}};
enum { N_WORLDS = sizeof worlds / sizeof *worlds, SINGLE_CROSSING = 4 };

static void draw(const struct world *w, uint64_t *seed, struct judged *texts)
{
    for (size_t i = 0; i < TEXTS; i++) {
        double u = uniform(seed);
        if (w->levels > 0)
            u = ceil(u * w->levels) / w->levels;
        texts[i] = (struct judged){u, bits(seed), uniform(seed) < w->error(u)};
    }
    order_by_certainty(texts, TEXTS);
}

/* The share of all texts that is answered below the limit, and the share answered wrongly. */
static void true_shares(const struct world *w, double limit, double *answered, double *wrong)
{
    double steps = w->levels > 0 ? w->levels : 20000;
    *answered = *wrong = 0;
    for (double i = 1; i <= steps; i++) {
        double u = w->levels > 0 ? i / steps : (i - 0.5) / steps;
        if (!(u < limit))
            break;
        *answered += 1 / steps;
        *wrong += w->error(u) / steps;
    }
}

static bool broken(const struct world *w, double limit)
{
    double answered, wrong;
    true_shares(w, limit, &answered, &wrong);
    return answered > 0 && wrong / answered > RISK + 1e-6; /* 1e-6: of the 20,000 steps */
}

/* What one would do without statistics: the loosest limit with a risk of at most RISK here. */
static double naive_limit(const struct judged *texts)
{
    double limit = -INFINITY;
    size_t wrong = 0;
    for (size_t i = 0; i < TEXTS; i++) {
        wrong += texts[i].wrong;
        double next = i + 1 < TEXTS ? texts[i + 1].uncertainty : INFINITY;
        if (next != texts[i].uncertainty && (double)wrong <= RISK * (double)(i + 1))
            limit = next;
    }
    return limit;
}

struct outcome {
    int broken, naive_broken;
    double answered; /* mean share of the fitting texts */
};

static struct outcome try_all(const struct world *w, enum testing testing)
{
    struct judged texts[TEXTS];
    struct outcome o = {0};
    uint64_t seed = 1;
    size_t tests = testing == TESTING_SEQUENCE ? 100 : 10;
    double level = testing == TESTING_SEQUENCE ? DELTA : DELTA / (double)tests;
    struct risk_target t = {RISK, DELTA, testing, first_test(TEXTS, RISK, level), tests};
    for (int i = 0; i < DRAWS; i++) {
        draw(w, &seed, texts);
        struct risk_limit l = control_risk(texts, TEXTS, &t);
        o.broken += broken(w, l.limit);
        o.naive_broken += broken(w, naive_limit(texts));
        o.answered += (double)l.answered / TEXTS / DRAWS;
        risk_limit_free(&l);
    }
    print_message("# %s, %s: broken in %d of %d draws (at most %.0f), without statistics in %d; "
                  "answers %.3f\n",
                  w->name, testing == TESTING_SEQUENCE ? "sequence" : "bonferroni", o.broken, DRAWS,
                  most_broken(DELTA), o.naive_broken, o.answered);
    return o;
}

static void a_sequence_keeps_the_risk(void **state)
{
    (void)state;
    for (size_t i = 0; i < SINGLE_CROSSING; i++) {
        struct outcome o = try_all(&worlds[i], TESTING_SEQUENCE);
        assert_true(o.broken <= most_broken(DELTA));
        assert_true(o.naive_broken > most_broken(DELTA));
        assert_true(worlds[i].error != growing || o.answered > 0.15);
    }
}

static void bonferroni_keeps_the_risk_of_any_shape(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_WORLDS; i++) {
        struct outcome o = try_all(&worlds[i], TESTING_BONFERRONI);
        assert_true(o.broken <= most_broken(DELTA));
        assert_true(o.naive_broken > most_broken(DELTA));
        assert_true(worlds[i].error != growing || o.answered > 0.05);
    }
}

static void expected_risk_is_kept_and_used_up(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        const struct world *w = &worlds[k];
        struct judged texts[TEXTS];
        uint64_t seed = 2;
        double sum = 0, squares = 0;
        for (int i = 0; i < DRAWS; i++) {
            draw(w, &seed, texts);
            struct risk_limit l = control_expected_risk(texts, TEXTS, 0.05);
            double answered, wrong;
            true_shares(w, l.limit, &answered, &wrong);
            sum += wrong / DRAWS;
            squares += wrong * wrong / DRAWS;
        }
        double noise = 3 * sqrt((squares - sum * sum) / DRAWS);
        print_message("# %s: expected risk %.4f, promised 0.05, noise %.4f\n", w->name, sum, noise);
        assert_true(sum <= 0.05 + noise);
        if (k == 0) /* without ties it is at most 2 / (n + 1) below */
            assert_true(sum >= 0.05 - 2.0 / (TEXTS + 1) - noise);
    }
}

/* Scores uniform on (0, 1): a threshold q covers the share q. */
static void sets_cover(void **state)
{
    (void)state;
    enum { N = 97 };
    for (double alpha = 0.05; alpha < 0.3; alpha += 0.05) {
        uint64_t seed = 3;
        double sum = 0, scores[N], k = (double)conformal_rank(N, alpha);
        for (int i = 0; i < DRAWS; i++) {
            for (size_t j = 0; j < N; j++)
                scores[j] = uniform(&seed);
            sum += conformal_threshold(scores, N, alpha) / DRAWS;
        }
        /* q is Beta(k, n + 1 - k). */
        double mean = k / (N + 1), noise = 3 * sqrt(mean * (1 - mean) / (N + 2) / DRAWS);
        assert_true(mean >= 1 - alpha && mean < 1 - alpha + 1.0 / (N + 1));
        assert_true(fabs(sum - mean) <= noise);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequence_keeps_the_risk),
        cmocka_unit_test(bonferroni_keeps_the_risk_of_any_shape),
        cmocka_unit_test(expected_risk_is_kept_and_used_up),
        cmocka_unit_test(sets_cover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
