/* Calibrations, the choice of their penalty, the fit of ensembles and what it does to texts left
 * out, against scipy's and numpy's answers (tests/oracle/calibration.py). */
#include "common/uq/held_out.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *answers;

static const struct {
    const char *name;
    enum calibration_kind kind;
} kinds[] = {
    {"scale", CALIBRATE_SCALE}, {"bias", CALIBRATE_BIAS}, {"scale+bias", CALIBRATE_SCALE_BIAS}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static double real_at(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

static double number(const json_t *object, const char *key)
{
    assert_true(json_is_number(json_object_get(object, key)));
    return json_number_value(json_object_get(object, key));
}

static void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.17g is not %.17g within %g", got, want, tolerance);
}

static struct validation read_set(const char *name)
{
    char *path = xasprintf("tests/data/uq/calibrate-%s.mp", name);
    struct stream_reader *r = stream_open(path, "scores");
    struct validation v = validation_read(r, true);
    validation_sort(&v);
    stream_close(r);
    free(path);
    return v;
}

/* row: scipy's calibrations of the set's prompts with one penalty. */
static void assert_calibrations(const struct validation *v, enum calibration_kind kind,
                                const json_t *row)
{
    for (size_t i = 0; i < v->n_prompts; i++) {
        struct calibration_fit fit = fit_calibration(v, i, kind, number(row, "penalty"));
        double optimum = real_at(json_object_get(row, "optimum"), i);
        const json_t *bias = json_array_get(json_object_get(row, "bias"), i);
        double sum = 0;
        assert_near(fit.scale, real_at(json_object_get(row, "scale"), i), 1e-6);
        assert_near(fit.optimum, optimum, 1e-10 * fmax(optimum, 1e-3));
        assert_near(fit.before, real_at(json_object_get(row, "before"), i), 1e-8);
        assert_near(fit.after, real_at(json_object_get(row, "after"), i), 1e-8);
        assert_true(fit.gap <= CALIBRATION_GAP);
        assert_int_equal(json_array_size(bias), v->n_classes);
        assert_true(!fit.bias == !(kind & CALIBRATE_BIAS));
        for (size_t c = 0; fit.bias && c < v->n_classes; c++) {
            assert_near(fit.bias[c], real_at(bias, c), 1e-6);
            sum += fit.bias[c];
        }
        assert_near(sum, 0, 1e-12);
        calibration_fit_free(&fit);
    }
}

static void calibrations_agree_with_scipy(void **state)
{
    (void)state;
    const char *name;
    json_t *by_kind, *row;
    size_t n = 0, i;
    json_object_foreach(json_object_get(answers, "fits"), name, by_kind)
    {
        struct validation v = read_set(name);
        for (size_t k = 0; k < N_KINDS; k++)
            json_array_foreach(json_object_get(by_kind, kinds[k].name), i, row)
            {
                assert_calibrations(&v, kinds[k].kind, row);
                n++;
            }
        validation_free(&v);
    }
    assert_int_equal(n, 10 * N_KINDS * 3);
}

static void every_step_lowers_the_objective_and_its_gap_is_true(void **state)
{
    (void)state;
    struct validation v = read_set("classes");
    struct calibration_fit fit = fit_calibration(&v, 0, CALIBRATE_SCALE_BIAS, 0.01);
    assert_true(fit.n_trace > 2);
    /* It begins with no change or with the uniform distribution. */
    assert_near(fit.trace[0].objective, fmin(fit.before, log(4) + 0.01 / 2), 1e-6);
    for (size_t i = 0; i < fit.n_trace; i++) {
        assert_true(fit.trace[i].objective - fit.optimum <= fit.trace[i].gap + 1e-14);
        assert_true(i == 0 || fit.trace[i].objective <= fit.trace[i - 1].objective + 1e-14);
    }
    calibration_fit_free(&fit);
    validation_free(&v);
}

static void constants_added_to_logits_change_nothing(void **state)
{
    (void)state;
    struct validation a = read_set("random"), b = read_set("shifted");
    assert_true(validation_logits(&a, 0, 0)[0] != validation_logits(&b, 0, 0)[0]);
    for (size_t i = 0; i < a.n_prompts; i++) {
        struct calibration_fit x = fit_calibration(&a, i, CALIBRATE_SCALE_BIAS, 0.01);
        struct calibration_fit y = fit_calibration(&b, i, CALIBRATE_SCALE_BIAS, 0.01);
        assert_true(x.scale == y.scale);
        assert_memory_equal(x.bias, y.bias, a.n_classes * sizeof *x.bias);
        calibration_fit_free(&x);
        calibration_fit_free(&y);
    }
    validation_free(&a);
    validation_free(&b);
}

/* Of a model that is sure beyond all measure: where it errs the scale goes to its bound, and the
 * biases, too small to turn a decision, to the difference of the frequencies over the penalty;
 * where it is right nothing is changed. */
static void huge_logits_are_calibrated(void **state)
{
    (void)state;
    static const int labels[] = {0, 0, 0, 1, 1, 0, 1, 0};
    float logits[16];
    int right[8];
    for (int n = 0; n < 8; n++) {
        logits[2 * n] = n < 4 ? 1e30F : -3e37F;
        logits[2 * n + 1] = n < 4 ? -2e33F : 1e35F;
        right[n] = n >= 4;
    }
    struct validation v = {
        .n_texts = 8, .n_prompts = 1, .n_classes = 2, .logits = logits, .labels = (int *)labels};
    struct calibration_fit wrong = fit_calibration(&v, 0, CALIBRATE_SCALE_BIAS, 0.01);
    assert_near(wrong.scale, 1e-6, 0);
    assert_near(wrong.bias[0], (5 - 4) / 8.0 / 0.01, 1e-9);
    assert_near(wrong.bias[1], (3 - 4) / 8.0 / 0.01, 1e-9);
    assert_true(wrong.gap <= CALIBRATION_GAP);
    v.labels = right;
    struct calibration_fit good = fit_calibration(&v, 0, CALIBRATE_SCALE_BIAS, 0.01);
    assert_near(good.scale, 1, 1e-9);
    assert_near(good.bias[0], 0, 1e-9);
    assert_true(good.gap <= CALIBRATION_GAP);
    calibration_fit_free(&wrong);
    calibration_fit_free(&good);
}

static void folds_hold_equal_shares_of_each_class(void **state)
{
    (void)state;
    struct validation v = read_set("classes");
    struct folds f = folds_make(&v);
    assert_int_equal(f.count, 5);
    for (int c = 0; c < 4; c++) {
        size_t in[5] = {0}, least = SIZE_MAX, most = 0;
        for (size_t n = 0; n < v.n_texts; n++)
            in[f.of[n]] += v.labels[n] == c;
        for (size_t i = 0; i < 5; i++) {
            least = in[i] < least ? in[i] : least;
            most = in[i] > most ? in[i] : most;
        }
        assert_true(most - least <= 1);
    }
    for (size_t fold = 0; fold < 5; fold++) {
        struct validation left = folds_part(&v, &f, fold, true);
        struct validation rest = folds_part(&v, &f, fold, false);
        assert_int_equal(left.n_texts, 9);
        assert_int_equal(rest.n_texts, 36);
        validation_free(&left);
        validation_free(&rest);
    }
    folds_free(&f);
    validation_free(&v);
}

static void one_text_gets_the_strongest_penalty(void **state)
{
    (void)state;
    struct validation v = read_set("one-text");
    struct strength_choice choice = choose_strength(&v, CALIBRATE_SCALE_BIAS);
    assert_int_equal(choice.folds, 0);
    assert_near(choice.strength, 100, 0);
    validation_free(&v);
}

static void the_penalty_is_numpys_choice(void **state)
{
    (void)state;
    const char *name;
    json_t *want;
    json_object_foreach(json_object_get(answers, "ensembles"), name, want)
    {
        struct validation v = read_set(name);
        struct strength_choice choice = choose_strength(&v, CALIBRATE_SCALE_BIAS);
        assert_int_equal(choice.folds, 5);
        assert_near(choice.strength, number(want, "penalty"), 1e-12);
        assert_int_equal(json_array_size(json_object_get(want, "curve")), N_STRENGTHS);
        for (size_t i = 0; i < N_STRENGTHS; i++)
            assert_near(choice.nll[i], real_at(json_object_get(want, "curve"), i), 1e-9);
        validation_free(&v);
    }
}

static void assert_weights(const struct ensemble_fit *f, const json_t *want)
{
    const json_t *weights = json_object_get(want, "weights");
    assert_int_equal(f->n_prompts, json_array_size(weights));
    assert_near(f->weights.optimum, number(want, "optimum"), 2e-8);
    for (size_t i = 0; i < f->n_prompts; i++)
        assert_near(f->weights.weights[i], real_at(weights, i), 3e-4);
}

static const struct ensemble_settings calibrated = {.objective = OBJECTIVE_PAPER,
                                                    .entropy_weight = 0.1,
                                                    .tolerance = 1e-8,
                                                    .calibrate = CALIBRATE_SCALE_BIAS};

static void weights_of_calibrated_prompts_agree_with_scipy(void **state)
{
    (void)state;
    const char *name;
    json_t *want;
    json_object_foreach(json_object_get(answers, "ensembles"), name, want)
    {
        struct validation v = read_set(name);
        struct ensemble_settings s = calibrated;
        struct ensemble_fit all = ensemble_fit(&v, &s);
        assert_weights(&all, want);
        const json_t *top = json_object_get(want, "top");
        s.top = 2;
        struct ensemble_fit two = ensemble_fit(&v, &s);
        assert_weights(&two, top);
        for (size_t i = 0; i < 2; i++) {
            size_t prompt = (size_t)real_at(json_object_get(top, "prompts"), i);
            assert_int_equal(two.prompts[i], prompt);
            assert_near(two.calibrations[i].scale, all.calibrations[prompt].scale, 0);
        }
        ensemble_fit_free(&all);
        ensemble_fit_free(&two);
        validation_free(&v);
    }
}

static void held_out_figures_agree_with_numpy(void **state)
{
    (void)state;
    const char *name;
    json_t *want;
    json_object_foreach(json_object_get(answers, "ensembles"), name, want)
    {
        struct validation v = read_set(name);
        struct ensemble_settings s = calibrated;
        s.top = 2;
        struct held_out h = held_out_measure(&v, &s);
        assert_int_equal(h.n_rows, 5);
        for (size_t i = 0; i < h.n_rows; i++) {
            const json_t *row =
                json_object_get(json_object_get(want, "held_out"), h.rows[i].ensemble);
            assert_near(h.rows[i].nll, real_at(row, 0), 1e-5);
            assert_near(h.rows[i].accuracy, real_at(row, 1), 1e-12);
        }
        validation_free(&v);
    }
}

/* Prompt 0 twice: both are calibrated alike and share their weight. */
static void equal_prompts_get_equal_results(void **state)
{
    (void)state;
    struct validation v = read_set("real");
    struct validation twins = validation_part(&v, NULL, (size_t[]){1, 0, 1}, 3);
    struct ensemble_fit f = ensemble_fit(&twins, &calibrated);
    assert_true(f.calibrations[0].scale == f.calibrations[2].scale);
    assert_memory_equal(f.calibrations[0].bias, f.calibrations[2].bias, 2 * sizeof(double));
    assert_near(f.weights.weights[0], f.weights.weights[2], 1e-12);
    assert_true(f.weights.weights[0] > 0.1);
    ensemble_fit_free(&f);
    struct ensemble_settings s = calibrated;
    s.top = 1;
    f = ensemble_fit(&twins, &s);
    assert_int_equal(f.prompts[0], 0);
    ensemble_fit_free(&f);
    validation_free(&twins);
    validation_free(&v);
}

int main(void)
{
    answers = json_read_file("tests/data/uq/calibration.json");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calibrations_agree_with_scipy),
        cmocka_unit_test(every_step_lowers_the_objective_and_its_gap_is_true),
        cmocka_unit_test(constants_added_to_logits_change_nothing),
        cmocka_unit_test(huge_logits_are_calibrated),
        cmocka_unit_test(folds_hold_equal_shares_of_each_class),
        cmocka_unit_test(one_text_gets_the_strongest_penalty),
        cmocka_unit_test(the_penalty_is_numpys_choice),
        cmocka_unit_test(weights_of_calibrated_prompts_agree_with_scipy),
        cmocka_unit_test(held_out_figures_agree_with_numpy),
        cmocka_unit_test(equal_prompts_get_equal_results),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(answers);
    return failed;
}
