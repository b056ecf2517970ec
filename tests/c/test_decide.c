/* Limits, sets and temperature against the answers of MAPIE, TorchCP, scikit-learn and scipy
 * (tests/oracle/decide.py), and small cases that can be seen through. */
#include "common/decide/conformal.h"
#include "common/decide/decide.h"
#include "common/decide/risk_control.h"
#include "common/decide/temperature.h"
#include "common/eval/metrics.h"
#include "common/eval/prediction_set.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *answers;
static struct prediction_set *fitting, *test, *apart; /* apart: for the temperature */

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void assert_near(double got, double want, double tolerance)
{
    if (!(got == want || fabs(got - want) <= tolerance))
        fail_msg("%.17g is not %.17g within %g", got, want, tolerance);
}

/* ---- sets ---- */

static double threshold_of(enum set_score kind, int label, double alpha)
{
    double own[4], *scores = xreallocarray(NULL, fitting->n, sizeof *scores);
    size_t n = 0;
    for (size_t i = 0; i < fitting->n; i++) {
        set_scores(kind, fitting->probs + 4 * i, 4, own);
        if (label == NO_LABEL || fitting->labels[i] == label)
            scores[n++] = own[fitting->labels[i]];
    }
    double q = conformal_threshold(scores, n, alpha);
    free(scores);
    return q;
}

/* MAPIE's APS sets are never empty; sums that are the threshold but for rounding may differ. */
static void compare_set(enum set_score kind, const double *probs, const double *q, bool mapie,
                        const json_t *want, const json_t *edge)
{
    double scores[4];
    set_scores(kind, probs, 4, scores);
    bool empty = true;
    for (size_t c = 0; c < 4; c++)
        empty = empty && scores[c] > q[c];
    for (size_t c = 0; c < 4 && !(empty && mapie && kind == SCORE_APS); c++)
        if (!json_integer_value(json_array_get(edge, c)))
            assert_int_equal(scores[c] <= q[c], json_integer_value(json_array_get(want, c)));
}

static void sets_agree_with_mapie_and_torchcp(void **state)
{
    (void)state;
    size_t i;
    const json_t *a;
    json_array_foreach(json_object_get(answers, "sets"), i, a)
    {
        bool lac = !strcmp(json_string_value(json_object_get(a, "score")), "lac");
        bool mapie = !strcmp(json_string_value(json_object_get(a, "of")), "mapie");
        bool conditional = json_is_true(json_object_get(a, "conditional"));
        enum set_score kind = lac ? SCORE_LAC : SCORE_APS;
        double q[4];
        for (int c = 0; c < 4; c++) {
            q[c] = threshold_of(kind, conditional ? c : NO_LABEL, real(a, "alpha"));
            const json_t *want = json_object_get(a, "thresholds");
            want = json_array_get(want, conditional ? (size_t)c : 0);
            assert_near(q[c], json_number_value(want), 1e-12);
        }
        assert_int_equal(json_array_size(json_object_get(a, "sets")), test->n);
        for (size_t t = 0; t < test->n; t++)
            compare_set(kind, test->probs + 4 * t, q, mapie,
                        json_array_get(json_object_get(a, "sets"), t),
                        json_array_get(json_object_get(a, "edges"), t));
    }
    assert_int_equal(i, 18);
}

static void a_sum_of_all_classes_is_one(void **state)
{
    (void)state;
    double scores[3];
    set_scores(SCORE_APS, (const double[]){0.1, 0.7, 0.2}, 3, scores);
    assert_true(scores[0] == 1 && scores[1] == 0.7);
    assert_near(scores[2], 0.9, 1e-15);
    /* Equal probabilities have equal scores. */
    set_scores(SCORE_APS, (const double[]){0.25, 0.25, 0.5}, 3, scores);
    assert_true(scores[0] == 1 && scores[1] == 1 && scores[2] == 0.5);
}

/* Probabilities may sum to a little more than 1, of all classes or of all but the last. */
static void a_sum_is_never_above_one(void **state)
{
    (void)state;
    static const double sums_above[][3] = {{0.7, 0.3001, 0.0001}, {0.6, 0.4 + 0x1p-52, 0}};
    for (size_t i = 0; i < 2; i++) {
        double scores[3];
        set_scores(SCORE_APS, sums_above[i], 3, scores);
        assert_true(scores[0] == sums_above[i][0]);
        assert_true(scores[1] == 1 && scores[2] == 1);
    }
}

static void ranks_are_exact_where_binary_fractions_are_not(void **state)
{
    (void)state;
    assert_int_equal(conformal_rank(9, 0.1), 9);
    assert_int_equal(conformal_rank(8, 0.1), 9); /* more than there are */
    assert_int_equal(conformal_rank(299, 0.1), 270);
    assert_int_equal(conformal_rank(99, 0.29), 71);
    for (int n = 1; n < 3000; n++) /* alpha = 1/n, of n - 1 texts: the highest score */
        assert_int_equal(conformal_rank((size_t)n - 1, 1.0 / n), n > 1 ? n - 1 : 0);
    assert_int_equal(conformal_fewest(0.1), 9);
    assert_int_equal(conformal_fewest(0.05), 19);
    assert_true(isinf(conformal_threshold(NULL, 0, 0.1)));
}

/* ---- limits ---- */

static enum certainty certainty_named(const char *name)
{
    for (int by = BY_TOTAL; by <= BY_MARGIN; by++)
        if (!strcmp(certainty_name((enum certainty)by), name))
            return (enum certainty)by;
    fail();
    return BY_UNSAID;
}

static struct judged *judge(enum certainty by)
{
    struct judged *texts = xcalloc(fitting->n, sizeof *texts);
    for (size_t i = 0; i < fitting->n; i++) {
        const double *probs = fitting->probs + 4 * i;
        struct prediction p = {
            .probs = probs, .n_classes = 4, .total = fitting->uncertainty[TOTAL][i]};
        texts[i] = (struct judged){prediction_uncertainty(&p, by), i,
                                   predicted_class(probs, 4) != (size_t)fitting->labels[i]};
    }
    order_by_certainty(texts, fitting->n);
    return texts;
}

static void assert_limit(const struct risk_limit *l, const json_t *want)
{
    if (json_is_null(want))
        assert_true(isinf(l->limit));
    else
        assert_near(l->limit, json_number_value(want), 1e-15);
}

static void limits_agree_with_scipy(void **state)
{
    (void)state;
    size_t i, k;
    const json_t *a, *t;
    json_array_foreach(json_object_get(answers, "limits"), i, a)
    {
        struct judged *texts = judge(certainty_named(json_string_value(json_object_get(a, "by"))));
        struct risk_target target = {real(a, "risk"), 1 - real(a, "confidence"), TESTING_SEQUENCE,
                                     (size_t)real(a, "start"), (size_t)real(a, "thresholds")};
        struct risk_limit l = control_risk(texts, fitting->n, &target);
        assert_limit(&l, json_object_get(a, "limit"));
        assert_int_equal(l.n_tests, json_array_size(json_object_get(a, "tests")));
        json_array_foreach(json_object_get(a, "tests"), k, t)
        {
            assert_int_equal(l.tests[k].answered, real(t, "answered"));
            assert_int_equal(l.tests[k].wrong, real(t, "wrong"));
            assert_near(l.tests[k].p, real(t, "p"), 1e-12 * real(t, "p"));
        }
        risk_limit_free(&l);
        free(texts);
    }
    assert_int_equal(i, 3);
    json_array_foreach(json_object_get(answers, "expected"), i, a)
    {
        struct judged *texts = judge(certainty_named(json_string_value(json_object_get(a, "by"))));
        struct risk_limit l = control_expected_risk(texts, fitting->n, real(a, "risk"));
        assert_limit(&l, json_object_get(a, "limit"));
        free(texts);
    }
    assert_int_equal(i, 9);
}

static void equal_uncertainties_stay_together(void **state)
{
    (void)state;
    enum { N = 100 };
    struct judged texts[N];
    /* 40 at 0, 40 at 1, 20 at 2; those at 2 are wrong. */
    for (size_t i = 0; i < N; i++)
        texts[i] = (struct judged){i < 40 ? 0 : i < 80 ? 1 : 2, i * 7919 % N, i >= 80};
    order_by_certainty(texts, N);
    struct risk_target t = {0.1, 0.1, TESTING_SEQUENCE, 30, 71};
    struct risk_limit l = control_risk(texts, N, &t);
    assert_true(l.found && l.limit == 2 && l.answered == 80 && l.wrong == 0);
    risk_limit_free(&l);
    /* The sequence ends inside the second group: the first alone is answered. */
    texts[45].wrong = texts[46].wrong = texts[47].wrong = texts[48].wrong = true;
    l = control_risk(texts, N, &t);
    assert_true(l.found && l.limit == 1 && l.answered == 40);
    risk_limit_free(&l);
    t.testing = TESTING_BONFERRONI;
    l = control_risk(texts, N,
                     &t); /* a limit each: 40, 80 and 100 texts, none passes at 0.1 / 71 */
    assert_true(!l.found && l.n_tests == 3 && l.answered == 0 && l.limit < 0);
    assert_int_equal(l.tests[0].answered, 40);
    assert_int_equal(l.tests[2].answered, N);
    risk_limit_free(&l);
    l = control_expected_risk(texts, N, 0.04); /* 3 errors are allowed, the 4th is at 1 */
    assert_true(l.found && l.limit == 1 && l.answered == 40);
    l = control_expected_risk(texts, N, 0.5);
    assert_true(l.found && isinf(l.limit) && l.answered == N && l.wrong == 24);
    l = control_expected_risk(texts, N, 0.009); /* 1/101 is more */
    assert_true(!l.found && l.answered == 0);
}

static void all_texts_alike(void **state)
{
    (void)state;
    struct judged texts[50];
    for (size_t i = 0; i < 50; i++)
        texts[i] = (struct judged){0.5, i, false};
    struct risk_target t = {0.1, 0.1, TESTING_SEQUENCE, 30, 20};
    struct risk_limit l = control_risk(texts, 50, &t);
    assert_true(l.found && isinf(l.limit) && l.answered == 50); /* all are answered */
    risk_limit_free(&l);
    texts[49].wrong = texts[48].wrong = true;
    l = control_risk(texts, 50, &t); /* up to 48 of them pass, and are no whole group */
    assert_true(!l.found && l.n_tests == 20);
    risk_limit_free(&l);
    l = control_risk(texts, 1, &t);
    assert_true(!l.found && l.n_tests == 1);
    risk_limit_free(&l);
}

static void sizes_that_would_do(void **state)
{
    (void)state;
    assert_int_equal(fewest_answered(0.1, 0.1), 22); /* 0.9^22 = 0.0985 */
    assert_int_equal(fewest_answered(0.5, 0.5), 1);
    assert_int_equal(fewest_for_expected(0.1), 9);
    assert_int_equal(fewest_for_expected(1.0 / 3), 2);
    assert_int_equal(first_test(300, 0.1, 0.1), 75);
    assert_int_equal(first_test(60, 0.1, 0.1), 22);
    assert_int_equal(first_test(100000, 0.1, 0.1), answered_needed(0.075, 0.1, 0.1));
    assert_int_equal(first_test(1000, 0.1, 0.1), 250);
    assert_int_equal(first_test(10, 0.1, 0.1), 10);
    assert_int_equal(answered_needed(0, 0.1, 0.1), 22);
    assert_int_equal(answered_needed(0.1, 0.1, 0.1), 0);
    assert_int_equal(answered_needed(0.5, 0.1, 0.1), 0);
    size_t n = answered_needed(0.05, 0.1, 0.1);
    assert_true(n > 60 && n < 120);
}

/* ---- temperature ---- */

static void temperatures_agree_with_scipy_and_scikit_learn(void **state)
{
    (void)state;
    const json_t *want = json_object_get(answers, "temperature");
    struct temperature_fit fit = fit_temperature(apart->probs, apart->labels, apart->n, 4);
    assert_int_equal(fit.outcome, TEMPERATURE_FOUND);
    assert_near(fit.temperature, real(want, "scipy"), 1e-6);
    assert_near(fit.temperature, real(want, "sklearn"), 1e-6);
    assert_near(fit.nll, real(want, "nll"), 1e-12);
    assert_true(fit.gap <= 1e-14 && fit.nll < fit.before && fit.steps < 20);
}

static void tempered_probabilities_sum_to_one(void **state)
{
    (void)state;
    double p[3] = {0.5, 0.3, 0.2}, same[3];
    temper(p, 3, 1, same);
    for (int c = 0; c < 3; c++)
        assert_near(same[c], p[c], 1e-15);
    temper(p, 3, 2, p);
    double root = sqrt(0.5) + sqrt(0.3) + sqrt(0.2);
    assert_near(p[0], sqrt(0.5) / root, 1e-15);
    assert_near(p[0] + p[1] + p[2], 1, 1e-15);
    double sure[2] = {1, 0};
    temper(sure, 2, 5, sure);
    assert_true(sure[0] == 1 && sure[1] == 0);
}

static void temperatures_that_do_not_exist(void **state)
{
    (void)state;
    const double right[] = {0.9, 0.1, 0.2, 0.8}, wrong[] = {0.1, 0.9, 0.8, 0.2};
    const double alike[] = {0.5, 0.5, 0.5, 0.5}, zero[] = {0.5, 0.5, 1, 0};
    const int labels[] = {0, 1};
    assert_int_equal(fit_temperature(right, labels, 2, 2).outcome, TEMPERATURE_ZERO);
    assert_int_equal(fit_temperature(wrong, labels, 2, 2).outcome, TEMPERATURE_INFINITE);
    assert_int_equal(fit_temperature(alike, labels, 2, 2).outcome, TEMPERATURE_INFINITE);
    struct temperature_fit fit = fit_temperature(zero, labels, 2, 2);
    assert_int_equal(fit.outcome, TEMPERATURE_NO_FIT);
    assert_int_equal(fit.row, 1);
    /* One text in a hundred is wrong, all as sure: p = 0.99 fits, exactly. */
    double probs[200];
    int y[100] = {0};
    for (size_t i = 0; i < 200; i++)
        probs[i] = i % 2 ? 0.3 : 0.7;
    y[7] = 1;
    fit = fit_temperature(probs, y, 100, 2);
    assert_int_equal(fit.outcome, TEMPERATURE_FOUND);
    assert_near(fit.temperature, log(7.0 / 3) / log(99), 1e-12);
}

int main(void)
{
    answers = json_read_file("tests/data/decide/decide.json");
    fitting = prediction_set_read(NULL, "tests/data/decide/fit.mp", false);
    test = prediction_set_read(NULL, "tests/data/decide/test.mp", false);
    apart = prediction_set_read(NULL, "tests/data/decide/temperature.mp", false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_agree_with_mapie_and_torchcp),
        cmocka_unit_test(a_sum_of_all_classes_is_one),
        cmocka_unit_test(a_sum_is_never_above_one),
        cmocka_unit_test(ranks_are_exact_where_binary_fractions_are_not),
        cmocka_unit_test(limits_agree_with_scipy),
        cmocka_unit_test(equal_uncertainties_stay_together),
        cmocka_unit_test(all_texts_alike),
        cmocka_unit_test(sizes_that_would_do),
        cmocka_unit_test(temperatures_agree_with_scipy_and_scikit_learn),
        cmocka_unit_test(tempered_probabilities_sum_to_one),
        cmocka_unit_test(temperatures_that_do_not_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
