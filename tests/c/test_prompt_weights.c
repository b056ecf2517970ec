/* Prompt weights and the ensemble against scipy's answers (tests/oracle/bpe_fit.py), and against
 * PyTorch's steps (published_weights.py). */
#include "common/math/dirichlet.h"
#include "common/uq/ensemble.h"
#include "common/uq/prompt_weights.h"
#include "common/uq/published_solver.h"
#include "common/uq/validation.h"
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

static double real_at(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

static struct stream_reader *open_scores(const char *name)
{
    char *path = xasprintf("tests/data/uq/fit-%s.mp", name);
    struct stream_reader *r = stream_open(path, "scores");
    free(path);
    return r;
}

static void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.17g is not %.17g within %g", got, want, tolerance);
}

static void weights_agree_with_scipy(void **state)
{
    static const char *const kinds[] = {"paper", "published"};
    (void)state;
    const char *name;
    json_t *answer;
    json_object_foreach(answers, name, answer)
    {
        struct stream_reader *r = open_scores(name);
        struct validation l = validation_read(r, true);
        double *p = label_probabilities(&l, NULL);
        for (int kind = OBJECTIVE_PAPER; kind <= OBJECTIVE_PUBLISHED; kind++) {
            const json_t *want = json_object_get(answer, kinds[kind]);
            struct weight_fit fit = fit_prompt_weights(p, l.n_texts, l.n_prompts, kind, 0.1, 1e-8);
            double sum = 0;
            assert_true(fit.gap <= 1e-8);
            assert_near(fit.optimum, json_number_value(json_object_get(want, "optimum")), 2e-8);
            for (size_t i = 0; i < l.n_prompts; i++) {
                sum += fit.weights[i];
                /* The objective is flat at its top: 1e-8 there leaves about 1e-4 here. */
                assert_near(fit.weights[i], real_at(json_object_get(want, "weights"), i), 3e-4);
            }
            assert_near(sum, 1, 1e-12);
            weight_fit_free(&fit);
        }
        free(p);
        validation_free(&l);
        stream_close(r);
    }
}

static void assert_published(const double *p, size_t n, size_t k, const json_t *answer)
{
    const json_t *want = json_object_get(answer, "weights");
    struct published_weights w;
    assert_true(published_prompt_weights(p, n, k, 0.1, &w));
    assert_int_equal(w.evaluations, json_integer_value(json_object_get(answer, "evaluations")));
    assert_near(w.rate, json_number_value(json_object_get(answer, "rate")), 0);
    for (size_t i = 0; i < k; i++)
        assert_near(w.weights[i], real_at(want, i), 1e-6);
    struct weight_fit best = fit_prompt_weights(p, n, k, OBJECTIVE_PUBLISHED, 0.1, 1e-8);
    assert_true(w.objective <= best.optimum + 1e-5);
    weight_fit_free(&best);
    published_weights_free(&w);
}

static void published_steps_are_torchs(void **state)
{
    (void)state;
    json_t *published = json_read_file("tests/data/uq/published.json");
    const char *name;
    json_t *answer;
    json_object_foreach(json_object_get(published, "streams"), name, answer)
    {
        char *path = xasprintf("tests/data/uq/%s.mp", name);
        struct stream_reader *r = stream_open(path, "scores");
        struct validation v = validation_read(r, true);
        double *p = label_probabilities(&v, NULL);
        assert_published(p, v.n_texts, v.n_prompts, answer);
        free(p);
        validation_free(&v);
        stream_close(r);
        free(path);
    }
    json_decref(published);
}

/* tests/oracle/published_weights.py has the same formula. */
static void published_steps_are_torchs_with_more_prompts(void **state)
{
    (void)state;
    json_t *published = json_read_file("tests/data/uq/published.json");
    size_t at;
    json_t *answer;
    json_array_foreach(json_object_get(published, "formulas"), at, answer)
    {
        size_t texts = (size_t)json_integer_value(json_object_get(answer, "texts"));
        size_t prompts = (size_t)json_integer_value(json_object_get(answer, "prompts"));
        double *p = xreallocarray(NULL, texts * prompts, sizeof *p);
        for (size_t n = 0; n < texts; n++)
            for (size_t i = 0; i < prompts; i++)
                p[n * prompts + i] = (double)(1 + (7 * n + 13 * i + n * i * i) % 31) / 33;
        assert_published(p, texts, prompts, answer);
        free(p);
    }
    json_decref(published);
}

static void twins_share_their_weight_equally(void **state)
{
    (void)state;
    struct stream_reader *r = open_scores("twins");
    struct validation l = validation_read(r, true);
    double *p = label_probabilities(&l, NULL);
    assert_int_equal(l.not_number, 2);
    struct weight_fit fit =
        fit_prompt_weights(p, l.n_texts, l.n_prompts, OBJECTIVE_PAPER, 0.1, 1e-8);
    assert_near(fit.weights[0], fit.weights[2], 1e-12);
    weight_fit_free(&fit);
    free(p);
    validation_free(&l);
    stream_close(r);
}

static void hard_problems_are_solved_to_the_gap(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{1, 1}, {1, 50}, {200, 2}, {50, 120}, {3000, 9}};
    srand(5);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s][0], k = sizes[s][1];
        double *p = xcalloc(n * k, sizeof *p);
        for (int style = 0; style < 3; style++) {
            for (size_t i = 0; i < n * k; i++) {
                double u = rand() / (double)RAND_MAX;
                p[i] = style == 0   ? 1e-5 + 0.999 * u
                       : style == 1 ? (u < 0.7 ? 0.99999 : 1e-5)
                                    : 0.5;
            }
            for (int kind = 0; kind < 6; kind++) {
                double lambda = (double[]){0, 1e-9, 0.1}[kind / 2];
                struct weight_fit fit = fit_prompt_weights(p, n, k, kind % 2, lambda, 1e-8);
                if (!(fit.gap <= 1e-8))
                    fail_msg("%zu texts, %zu prompts, style %d, kind %d: gap %g", n, k, style, kind,
                             fit.gap);
                assert_true(fit.n_trace < 100);
                for (size_t i = 1; style == 2 && i < k; i++)
                    assert_near(fit.weights[i], fit.weights[0], 1e-12);
                weight_fit_free(&fit);
            }
        }
        free(p);
    }
}

static void predictions_agree_with_numpy(void **state)
{
    (void)state;
    const json_t *answer = json_object_get(answers, "twins");
    const json_t *list = json_object_get(json_object_get(answer, "paper"), "weights");
    const json_t *want = json_object_get(answer, "predictions");
    double values[3], probs[2];
    for (size_t i = 0; i < 3; i++)
        values[i] = real_at(list, i);
    struct prompt_weights weights = {.count = 3, .prompts = (int[]){0, 1, 2}, .values = values};
    struct stream_reader *r = open_scores("twins");
    struct ensemble *e = ensemble_open(r, &weights);
    struct ensemble_text t;
    size_t n = 0;
    for (; ensemble_next(e, &t); n++) {
        char *id = xasprintf("t%zu", n);
        assert_string_equal(t.id, id);
        free(id);
        assert_int_equal(t.n_classes, 2);
        struct uncertainty u = ensemble_uncertainty(t.members, values, 3, 2, probs);
        assert_near(u.total, real_at(json_object_get(want, "total"), n), 1e-12);
        assert_near(u.aleatoric, real_at(json_object_get(want, "aleatoric"), n), 1e-12);
        assert_near(u.epistemic, real_at(json_object_get(want, "epistemic"), n), 1e-12);
        for (size_t c = 0; c < 2; c++) {
            assert_near(probs[c], real_at(json_array_get(json_object_get(want, "probs"), n), c),
                        1e-12);
            for (size_t m = 0; m < 3; m++)
                assert_near(
                    t.members[m * 2 + c],
                    real_at(json_array_get(json_array_get(json_object_get(want, "members"), n), m),
                            c),
                    1e-12);
        }
    }
    assert_int_equal(n, 12);
    ensemble_close(e);
    stream_close(r);
}

int main(void)
{
    answers = json_read_file("tests/data/uq/fit.json");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_agree_with_scipy),
        cmocka_unit_test(published_steps_are_torchs),
        cmocka_unit_test(published_steps_are_torchs_with_more_prompts),
        cmocka_unit_test(twins_share_their_weight_equally),
        cmocka_unit_test(hard_problems_are_solved_to_the_gap),
        cmocka_unit_test(predictions_agree_with_numpy),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(answers);
    return failed;
}
