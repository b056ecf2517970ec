/* dir-eval's figures against those of the programs that tests/oracle/metrics.py asks. */
#include "common/eval/bootstrap.h"
#include "common/eval/combination.h"
#include "common/eval/evaluation.h"
#include "common/eval/ranking.h"
#include "common/eval/risk.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *answers;

static struct prediction_set *read_set(const char *name)
{
    char *path = xasprintf("tests/data/uq/metrics-%s.mp", name);
    struct prediction_set *s = prediction_set_read(NULL, path, true);
    free(path);
    return s;
}

/* The member at that offset of every metric of want is want's value. */
static void assert_members(const struct result *results, size_t n, const char *set,
                           const json_t *want, size_t member)
{
    const char *metric;
    json_t *value;
    assert_true(json_object_size(want) > 0);
    json_object_foreach((json_t *)want, metric, value)
    {
        const struct result *found = NULL;
        for (size_t i = 0; i < n; i++)
            if (!strcmp(results[i].set, set) && !strcmp(results[i].metric, metric))
                found = &results[i];
        assert_non_null(found);
        double have;
        memcpy(&have, (const char *)found + member, sizeof have);
        if (json_is_null(value)) {
            if (!isnan(have) || !*found->reason)
                fail_msg("%s: %s is %g, not without value", set, metric, have);
            continue;
        }
        double v = json_number_value(value);
        if (!(fabs(have - v) <= 1e-9 * fmax(1, fabs(v))))
            fail_msg("%s: %s is %.17g, not %.17g", set, metric, have, v);
    }
}

static void assert_results(const struct result *results, size_t n, const char *set,
                           const json_t *want)
{
    assert_members(results, n, set, want, offsetof(struct result, value));
}

static struct levels read_levels(const char *kind)
{
    const json_t *list = json_object_get(json_object_get(answers, "levels"), kind);
    struct levels l = {xcalloc(json_array_size(list), sizeof(double)), json_array_size(list)};
    assert_true(l.n > 0);
    for (size_t i = 0; i < l.n; i++)
        l.values[i] = json_number_value(json_array_get(list, i));
    return l;
}

/* by_set: what is wanted of each set by name. */
static void assert_sets(const json_t *by_set, struct binning binning)
{
    const char *name;
    json_t *want;
    struct levels coverages = read_levels("coverages"), risks = read_levels("risks");
    assert_true(json_object_size(by_set) > 0);
    json_object_foreach((json_t *)by_set, name, want)
    {
        struct prediction_set *s = read_set(name);
        struct evaluation_settings e = {.sets = &s,
                                        .n_sets = 1,
                                        .binning = binning,
                                        .at_coverages = coverages,
                                        .at_risks = risks};
        size_t n;
        struct result *r = evaluate(&e, &n);
        assert_results(r, n, s->name, want);
        results_free(r, n);
        prediction_set_free(s);
    }
    free(coverages.values);
    free(risks.values);
}

static void metrics_are_those_of_other_programs(void **state)
{
    (void)state;
    const char *bins;
    json_t *by_set;
    json_object_foreach(json_object_get(answers, "bins"), bins, by_set)
        assert_sets(by_set, (struct binning){.bins = (size_t)atoi(bins)});
}

static void a_bin_for_1_alone_gives_torchmetrics_errors(void **state)
{
    (void)state;
    assert_sets(json_object_get(answers, "own_bin"),
                (struct binning){.bins = 10, .own_bin_for_1 = true});
}

/* tests/oracle/reference_metrics.py */
static void the_references_definitions_give_its_figures(void **state)
{
    (void)state;
    json_t *reference = json_read_file("tests/data/uq/reference-metrics.json");
    const char *name;
    json_t *want;
    json_object_foreach(reference, name, want)
    {
        struct prediction_set *s = read_set(name);
        struct evaluation_settings e = {.sets = &s,
                                        .n_sets = 1,
                                        .binning = {.bins = 10, .own_bin_for_1 = true},
                                        .definitions = DEFINITIONS_REFERENCE};
        size_t n;
        struct result *r = evaluate(&e, &n);
        assert_results(r, n, s->name, want);
        for (size_t i = 0; i < n; i++)
            assert_true(strcmp(r[i].metric, "mce") && strcmp(r[i].metric, "brier"));
        results_free(r, n);
        prediction_set_free(s);
    }
    json_decref(reference);
}

static void the_average_member_is_the_mean_of_each_members_metrics(void **state)
{
    (void)state;
    struct prediction_set *s = read_set("ensemble");
    struct evaluation_settings e = {
        .sets = &s, .n_sets = 1, .binning = {.bins = 10}, .members = true};
    size_t n;
    struct result *r = evaluate(&e, &n);
    assert_results(r, n, "metrics-ensemble/prompts",
                   json_object_get(json_object_get(answers, "members"), "ensemble"));
    results_free(r, n);
    prediction_set_free(s);
}

static void detection_agrees_with_scikit_learn_and_scipy(void **state)
{
    (void)state;
    size_t i;
    json_t *pair;
    json_array_foreach(json_object_get(answers, "detection"), i, pair)
    {
        struct prediction_set *in = read_set(json_string_value(json_object_get(pair, "set")));
        struct prediction_set *out = read_set(json_string_value(json_object_get(pair, "against")));
        struct ood_set ood = {out, in};
        struct evaluation_settings e = {
            .sets = &in, .n_sets = 1, .binning = {.bins = 10}, .oods = &ood, .n_oods = 1};
        size_t n;
        struct result *r = evaluate(&e, &n);
        assert_results(r, n, in->name, json_object_get(pair, "metrics"));
        results_free(r, n);
        prediction_set_free(in);
        prediction_set_free(out);
    }
}

static void bootstrap_intervals_agree_with_scipys(void **state)
{
    (void)state;
    struct prediction_set *s = read_set("binary");
    struct evaluation_settings e = {
        .sets = &s, .n_sets = 1, .binning = {.bins = 10}, .replicates = 4000, .seed = 3};
    size_t n, n_again;
    struct result *r = evaluate(&e, &n), *again = evaluate(&e, &n_again);
    const json_t *want = json_object_get(json_object_get(answers, "bootstrap"), "binary");
    int compared = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(r[i].low == again[i].low && r[i].high == again[i].high);
        const json_t *ends = json_object_get(want, r[i].metric);
        if (!ends)
            continue;
        double low = json_number_value(json_array_get(ends, 0));
        double high = json_number_value(json_array_get(ends, 1));
        /* Ends of 4000 replicates vary by about 3 % of the interval; accuracies come in steps. */
        double tolerance = 0.1 * (high - low);
        assert_true(fabs(r[i].low - low) <= tolerance && fabs(r[i].high - high) <= tolerance);
        compared++;
    }
    assert_int_equal(compared, 2);
    results_free(r, n);
    results_free(again, n_again);
    prediction_set_free(s);
}

/* Two seeds of one set, and a third set that they are compared with. */
static struct result *evaluate_seeds(struct prediction_set *sets[3], size_t replicates, size_t *n)
{
    static const char *const files[] = {"paired-a", "paired-b", "paired-c"};
    struct levels coverages = read_levels("coverages"), risks = read_levels("risks");
    for (size_t i = 0; i < 3; i++) {
        sets[i] = read_set(files[i]);
        if (i < 2)
            sets[i]->seeds_of = xstrdup("seeds");
    }
    struct evaluation_settings e = {.sets = sets,
                                    .n_sets = 3,
                                    .binning = {.bins = 10},
                                    .at_coverages = coverages,
                                    .at_risks = risks,
                                    .baseline = "metrics-paired-c",
                                    .replicates = replicates,
                                    .seed = 5};
    struct result *r = evaluate(&e, n);
    free(coverages.values);
    free(risks.values);
    return r;
}

static void seeds_are_averaged_and_compared(void **state)
{
    (void)state;
    struct prediction_set *sets[3];
    size_t n;
    struct result *r = evaluate_seeds(sets, 0, &n);
    const json_t *want = json_object_get(answers, "seeds");
    assert_results(r, n, "seeds", json_object_get(want, "mean"));
    assert_results(r, n, "seeds", json_object_get(want, "difference"));
    assert_members(r, n, "seeds", json_object_get(want, "deviation"),
                   offsetof(struct result, deviation));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(r[i].seeds, !strcmp(r[i].set, "seeds") && !r[i].difference ? 2 : 0);
    results_free(r, n);
    for (size_t i = 0; i < 3; i++)
        prediction_set_free(sets[i]);
}

static void differences_agree_with_scipys_paired_bootstrap(void **state)
{
    (void)state;
    struct prediction_set *sets[] = {read_set("paired-b"), read_set("paired-a")};
    struct evaluation_settings e = {.sets = sets,
                                    .n_sets = 2,
                                    .binning = {.bins = 10},
                                    .baseline = "metrics-paired-a",
                                    .replicates = 4000,
                                    .seed = 3};
    size_t n;
    struct result *r = evaluate(&e, &n);
    const json_t *want = json_object_get(answers, "paired_bootstrap");
    int compared = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *ends = json_object_get(want, r[i].metric);
        if (!ends)
            continue;
        double low = json_number_value(json_array_get(ends, 0));
        double high = json_number_value(json_array_get(ends, 1));
        double p = json_number_value(json_array_get(ends, 2));
        double tolerance = 0.1 * (high - low);
        if (!(fabs(r[i].low - low) <= tolerance && fabs(r[i].high - high) <= tolerance))
            fail_msg("%s: [%g, %g], not [%g, %g]", r[i].metric, r[i].low, r[i].high, low, high);
        /* The share of 4000 that is doubled varies by 0.008 at most, 3 standard deviations 0.05. */
        if (!(fabs(r[i].p - p) <= 0.05))
            fail_msg("%s: p is %g, not %g", r[i].metric, r[i].p, p);
        compared++;
    }
    assert_int_equal(compared, 3);
    results_free(r, n);
    prediction_set_free(sets[0]);
    prediction_set_free(sets[1]);
}

static void p_values_count_replicates_on_either_side_of_0(void **state)
{
    (void)state;
    double all_above[99], split[] = {-1, NAN, 1, 2, 0, 3}, few[] = {NAN, NAN, 1}, zeros[9] = {0};
    for (size_t i = 0; i < 99; i++)
        all_above[i] = 1;
    assert_true(fabs(sign_p_value(all_above, 99) - 2. / 100) < 1e-15);
    assert_true(fabs(sign_p_value(split, 6) - 2. * 3 / 6) < 1e-15);
    assert_true(sign_p_value(zeros, 9) == 1);
    assert_true(isnan(sign_p_value(few, 3)));
}

static void scores_of_any_sign_and_size_are_ranked(void **state)
{
    (void)state;
    struct scored s[500];
    uint64_t x = 1;
    for (size_t i = 0; i < 500; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        double v = (double)(int64_t)x / (i % 3 ? 1 : 1e30);
        s[i] = (struct scored){i % 5 ? v : (double)(i % 4) - 2, i % 2};
    }
    s[7].score = 0.0;
    s[8].score = -0.0;
    s[9].score = INFINITY;
    s[10].score = -INFINITY;
    rank_scores(s, 500);
    for (size_t i = 1; i < 500; i++)
        assert_true(s[i - 1].score >= s[i].score);
    assert_true(s[0].score == INFINITY && s[499].score == -INFINITY);
    rank_scores(s, 0);
}

/* The mean over all orders of equally uncertain texts, by hand: 1 certain right one, then a tie of
 * one wrong and one right. */
static void ties_count_as_the_mean_over_their_orders(void **state)
{
    (void)state;
    struct scored s[] = {{-0.5, true}, {-0.1, false}, {-0.5, false}};
    rank_scores(s, 3);
    double wrong_first = (0 + 1. / 2 + 1. / 3) / 3, wrong_last = (0 + 0 + 1. / 3) / 3;
    assert_true(fabs(risk_area(s, 3) - (wrong_first + wrong_last) / 2) < 1e-15);
    size_t count;
    struct risk_point *curve = risk_curve(s, 3, &count);
    assert_int_equal(count, 2);
    assert_int_equal(curve[0].answered, 1);
    assert_true(curve[1].threshold == 0.5 && curve[1].answered == 3 && curve[1].wrong == 1);
    assert_ptr_equal(risk_at_coverage(curve, count, 0.3), &curve[0]);
    assert_ptr_equal(risk_at_coverage(curve, count, 0.34), &curve[1]);
    assert_true(coverage_at_risk(curve, count, 0) == 1. / 3);
    assert_true(coverage_at_risk(curve, count, 0.34) == 1);
    struct scored wrong = {-1, true};
    struct risk_point only_wrong = {1, 1, 1};
    assert_true(coverage_at_risk(&only_wrong, 1, 0.5) == 0);
    assert_true(generalised_risk_area(&wrong, 1) == 0.5);
    assert_true(isnan(generalised_risk_area(s, 0)));
    free(curve);
}

static void an_interval_is_numpys_quantiles(void **state)
{
    (void)state;
    double values[] = {5, NAN, 1, 4, 2, 3}, low, high;
    percentile_interval(values, 6, 0.5, &low, &high);
    assert_true(low == 2 && high == 4); /* np.quantile([1, 2, 3, 4, 5], [.25, .75]) */
    double few[] = {NAN, NAN, 1};
    percentile_interval(few, 3, 0.5, &low, &high);
    assert_true(isnan(low) && isnan(high));
}

int main(void)
{
    answers = json_read_file("tests/data/uq/metrics.json");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_are_those_of_other_programs),
        cmocka_unit_test(a_bin_for_1_alone_gives_torchmetrics_errors),
        cmocka_unit_test(the_references_definitions_give_its_figures),
        cmocka_unit_test(the_average_member_is_the_mean_of_each_members_metrics),
        cmocka_unit_test(detection_agrees_with_scikit_learn_and_scipy),
        cmocka_unit_test(bootstrap_intervals_agree_with_scipys),
        cmocka_unit_test(seeds_are_averaged_and_compared),
        cmocka_unit_test(differences_agree_with_scipys_paired_bootstrap),
        cmocka_unit_test(p_values_count_replicates_on_either_side_of_0),
        cmocka_unit_test(scores_of_any_sign_and_size_are_ranked),
        cmocka_unit_test(ties_count_as_the_mean_over_their_orders),
        cmocka_unit_test(an_interval_is_numpys_quantiles),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(answers);
    return failed;
}
