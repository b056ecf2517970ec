/* The training losses and their gradients: against PyTorch (tests/oracle/losses.py) and against
 * central differences. */
#include "common/math/loss.h"
#include "common/math/normal.h"
#include "kernels/ops.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 10, MOST_MEMBERS = 9 };

struct example_loss {
    struct loss loss;
    size_t n, n_members;
    double s, logits[MOST], target[MOST];
    double value, gradient[MOST], gradient_s; /* PyTorch's */
};

static void read_numbers(FILE *f, double *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(fscanf(f, "%lf", &to[i]), 1);
}

static bool read_example(FILE *f, struct example_loss *e)
{
    char kind[16], mode[16];
    memset(e, 0, sizeof *e);
    if (fscanf(f, "%15s %15s %lf %lf %lf %zu %zu", kind, mode, &e->loss.alpha0, &e->loss.beta,
               &e->s, &e->n, &e->n_members) != 7)
        return false;
    assert_in_range(e->n, 1, MOST);
    assert_in_range(e->n_members, 1, MOST_MEMBERS);
    double members[MOST * MOST_MEMBERS], weights[MOST_MEMBERS], mixture[MOST] = {0};
    read_numbers(f, e->logits, e->n);
    read_numbers(f, members, e->n * e->n_members);
    read_numbers(f, weights, e->n_members);
    read_numbers(f, &e->value, 1);
    read_numbers(f, e->gradient, e->n);
    read_numbers(f, &e->gradient_s, 1);
    int likely = 0;
    for (size_t c = 0; c < e->n; c++) {
        for (size_t m = 0; m < e->n_members; m++)
            mixture[c] += weights[m] * members[m * e->n + c];
        if (mixture[c] > mixture[likely])
            likely = (int)c;
    }
    if (!strcmp(kind, "softmax")) {
        e->loss.kind = LOSS_SOFTMAX;
        target_from_probs(mixture, e->n, e->target);
    } else if (!strcmp(kind, "labels")) {
        e->loss.kind = LOSS_LABELS;
        target_from_label(likely, e->n, e->target);
    } else if (!strcmp(kind, "edl")) {
        e->loss.kind = LOSS_EDL;
        e->loss.form = !strcmp(mode, "mse")   ? EDL_MSE
                       : !strcmp(mode, "log") ? EDL_LOG
                                              : EDL_DIGAMMA;
        e->loss.kl_weight = e->loss.beta;
        target_from_label(likely, e->n, e->target);
    } else {
        e->loss.kind = LOSS_DIRICHLET;
        e->loss.mode = !strcmp(mode, "fixed")     ? ALPHA0_FIXED
                       : !strcmp(mode, "learned") ? ALPHA0_LEARNED
                                                  : ALPHA0_STANDARD;
        target_from_members(members, weights, e->n_members, e->n, e->target);
    }
    return true;
}

static void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want))))
        fail_msg("%.17g is not %.17g", got, want);
}

static void losses_and_gradients_agree_with_pytorch(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/lora/losses.tsv", "r");
    assert_non_null(f);
    struct example_loss e;
    int rows = 0;
    for (; read_example(f, &e); rows++) {
        double gradient[MOST], gradient_s;
        double value = loss_value(&e.loss, e.logits, e.target, e.n, e.s, gradient, &gradient_s);
        assert_near(value, e.value, 1e-11);
        /* PyTorch's trigamma, of which the evidential gradients are made, is good to 2e-10. */
        for (size_t c = 0; c < e.n; c++)
            assert_near(gradient[c], e.gradient[c], e.loss.kind == LOSS_EDL ? 1e-9 : 1e-11);
        assert_near(gradient_s, e.gradient_s, 1e-11);
    }
    assert_int_equal(rows, 120);
    fclose(f);
}

/* A batch of two rows, the second the recorded example: logits there are single precision. */
static void the_cpus_operation_gives_the_same_losses(void **state)
{
    (void)state;
    struct device *d = cpu_device_open(F32, 1);
    FILE *f = fopen("tests/data/lora/losses.tsv", "r");
    assert_non_null(f);
    struct example_loss e;
    while (read_example(f, &e)) {
        float logits[2 * MOST];
        double targets[2 * MOST], values[4], work[4 * MOST], gradient[MOST], by_s;
        for (size_t c = 0; c < e.n; c++) {
            logits[c] = 0;
            logits[e.n + c] = (float)e.logits[c];
            e.logits[c] = (double)logits[e.n + c];
            targets[c] = targets[e.n + c] = e.target[c];
        }
        double value = loss_value(&e.loss, e.logits, e.target, e.n, e.s, gradient, &by_s);
        d->loss(d, &(struct loss_batch){.loss = e.loss,
                                        .rows = 2,
                                        .classes = (int)e.n,
                                        .total = 5,
                                        .s = e.s,
                                        .logits = logits,
                                        .targets = targets,
                                        .d_logits = logits,
                                        .values = values,
                                        .work = work});
        assert_true(values[1] == value && values[3] == by_s);
        for (size_t c = 0; c < e.n; c++)
            assert_true(logits[e.n + c] == (float)(gradient[c] / 5));
    }
    fclose(f);
    d->close(d);
}

static double value_at(const struct example_loss *e, const double *logits, double s)
{
    double gradient[MOST], gradient_s;
    return loss_value(&e->loss, logits, e->target, e->n, s, gradient, &gradient_s);
}

static bool has_extremes(const struct example_loss *e)
{
    for (size_t c = 0; c < e->n; c++)
        if (fabs(e->logits[c]) > 100)
            return true;
    return false;
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/lora/losses.tsv", "r");
    assert_non_null(f);
    struct example_loss e;
    while (read_example(f, &e)) {
        double gradient[MOST], gradient_s, logits[MOST];
        /* Large logarithms of gamma functions that cancel ask for a wider step. */
        const double h = has_extremes(&e) ? 1e-4 : 1e-5;
        loss_value(&e.loss, e.logits, e.target, e.n, e.s, gradient, &gradient_s);
        for (size_t c = 0; c < e.n; c++) {
            memcpy(logits, e.logits, sizeof logits);
            logits[c] = e.logits[c] + h;
            double up = value_at(&e, logits, e.s);
            logits[c] = e.logits[c] - h;
            double down = value_at(&e, logits, e.s);
            assert_near(gradient[c], (up - down) / (2 * h), 1e-6);
        }
        double slope =
            (value_at(&e, e.logits, e.s + h) - value_at(&e, e.logits, e.s - h)) / (2 * h);
        assert_near(gradient_s, slope, 1e-6);
    }
    fclose(f);
}

static void extreme_logits_stay_finite(void **state)
{
    (void)state;
    double logits[3] = {-800, 0, 800}, target[3] = {log(1e-8), log(0.5), log(0.5)}, gradient[3], s;
    struct loss loss = {.kind = LOSS_DIRICHLET};
    assert_true(isfinite(loss_value(&loss, logits, target, 3, 0, gradient, &s)));
    assert_true(isfinite(gradient[0]) && isfinite(gradient[1]) && isfinite(gradient[2]));
    double probs[3] = {0.25, 0.25, 0.5};
    loss.kind = LOSS_SOFTMAX;
    assert_true(isfinite(loss_value(&loss, logits, probs, 3, 0, gradient, &s)));
    assert_near(gradient[2], 0.5, 1e-12);
}

static void evidence_for_the_label_alone_is_not_misleading(void **state)
{
    (void)state;
    struct loss loss = {.kind = LOSS_EDL}, weighted = {.kind = LOSS_EDL, .kl_weight = 1};
    double right[3] = {-1e4, 1e4, -1e4}, wrong[3] = {1e4, -1e4, -1e4}, target[3], gradient[3], s;
    target_from_label(1, 3, target);
    double value = loss_value(&loss, right, target, 3, 0, gradient, &s);
    assert_near(loss_value(&weighted, right, target, 3, 0, gradient, &s), value, 1e-12);
    value = loss_value(&loss, wrong, target, 3, 0, gradient, &s);
    assert_true(loss_value(&weighted, wrong, target, 3, 0, gradient, &s) > value + 10);
}

static void a_fixed_alpha0_is_what_alpha_sums_to(void **state)
{
    (void)state;
    struct loss loss = {.kind = LOSS_DIRICHLET, .mode = ALPHA0_FIXED, .alpha0 = 10};
    double alpha[3], probs[3];
    dirichlet_alpha(&loss, (double[]){-1, 2, 5}, 3, alpha);
    assert_near(alpha[0] + alpha[1] + alpha[2], 10, 1e-14);
    softmax_probs((double[]){0, log(2), log(5)}, 3, probs);
    assert_near(probs[2], 5.0 / 8, 1e-14);
}

/* ---- the evidential loss with an information bottleneck ---- */

enum { MOST_DRAWS = 20 };

struct bottleneck {
    struct loss loss;
    size_t n;
    double logits[2 * MOST], target[(1 + MOST_DRAWS) * MOST];
    double value, gradient[2 * MOST], alpha[MOST]; /* PyTorch's, scipy's */
};

static bool read_bottleneck(FILE *f, struct bottleneck *b)
{
    int label;
    memset(b, 0, sizeof *b);
    b->loss.kind = LOSS_IB_EDL;
    if (fscanf(f, "%lf %d %zu %d", &b->loss.ib_beta, &label, &b->n, &b->loss.samples) != 4)
        return false;
    assert_in_range(b->n, 1, MOST);
    assert_in_range(b->loss.samples, 1, MOST_DRAWS);
    target_from_label(label, b->n, b->target);
    read_numbers(f, b->logits, 2 * b->n);
    read_numbers(f, b->target + b->n, (size_t)b->loss.samples * b->n);
    read_numbers(f, &b->value, 1);
    read_numbers(f, b->gradient, 2 * b->n);
    read_numbers(f, b->alpha, b->n);
    return true;
}

static void the_bottleneck_agrees_with_pytorch_and_differences(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/lora/ib-edl.tsv", "r");
    assert_non_null(f);
    struct bottleneck b;
    int rows = 0;
    for (; read_bottleneck(f, &b); rows++) {
        double gradient[2 * MOST], scratch[2 * MOST], by_s;
        assert_near(loss_value(&b.loss, b.logits, b.target, b.n, 0, gradient, &by_s), b.value,
                    1e-11);
        assert_true(by_s == 0);
        for (size_t i = 0; i < 2 * b.n; i++) {
            assert_near(gradient[i], b.gradient[i], 1e-11);
            double at = b.logits[i], h = fabs(at) > 100 ? 1e-2 : 1e-5;
            b.logits[i] = at + h;
            double up = loss_value(&b.loss, b.logits, b.target, b.n, 0, scratch, &by_s);
            b.logits[i] = at - h;
            double down = loss_value(&b.loss, b.logits, b.target, b.n, 0, scratch, &by_s);
            b.logits[i] = at;
            /* The squares of large logits leave few digits to the difference. */
            double rounding = 1e-15 * fmax(fabs(up), 1) / h;
            assert_true(fabs(gradient[i] - (up - down) / (2 * h)) <
                        1e-6 * fmax(1, fabs(gradient[i])) + 4 * rounding);
        }
        double alpha[MOST];
        ib_edl_alpha(b.logits, b.n, alpha);
        for (size_t c = 0; c < b.n; c++)
            assert_near(alpha[c], b.alpha[c], 1e-9);
    }
    assert_int_equal(rows, 40);
    fclose(f);
}

/* Two rows, the second the recorded example. */
static void the_cpus_operation_has_twice_the_logits(void **state)
{
    (void)state;
    struct device *d = cpu_device_open(F32, 1);
    FILE *f = fopen("tests/data/lora/ib-edl.tsv", "r");
    assert_non_null(f);
    struct bottleneck b;
    while (read_bottleneck(f, &b)) {
        size_t outputs = 2 * b.n, size = loss_target_size(&b.loss, b.n);
        float logits[4 * MOST];
        double targets[2 * (1 + MOST_DRAWS) * MOST], values[4], work[8 * MOST];
        double gradient[2 * MOST], by_s;
        for (size_t i = 0; i < outputs; i++) {
            logits[i] = 0;
            logits[outputs + i] = (float)b.logits[i];
            b.logits[i] = (double)logits[outputs + i];
        }
        for (size_t i = 0; i < 2 * size; i++)
            targets[i] = b.target[i % size];
        double value = loss_value(&b.loss, b.logits, b.target, b.n, 0, gradient, &by_s);
        d->loss(d, &(struct loss_batch){.loss = b.loss,
                                        .rows = 2,
                                        .classes = (int)b.n,
                                        .total = 5,
                                        .logits = logits,
                                        .targets = targets,
                                        .d_logits = logits,
                                        .values = values,
                                        .work = work});
        assert_true(values[1] == value && (b.n == 1 || values[0] != value));
        for (size_t i = 0; i < outputs; i++)
            assert_true(logits[outputs + i] == (float)(gradient[i] / 5));
    }
    fclose(f);
    d->close(d);
}

static void deviations_too_small_for_a_double_stay_finite(void **state)
{
    (void)state;
    struct loss loss = {.kind = LOSS_IB_EDL, .samples = 1, .ib_beta = 2};
    double logits[4] = {0, 0, -1e4, -1e4}, target[4] = {1, 0, 5, -5}, gradient[4], s;
    /* alpha is 1 + ln 2 for both: risk 1/4 + 1/4 + 1/2 / (a0 + 1); of the KL, -2 ln s - 1 */
    double risk = 0.5 + 0.5 / (3 + 2 * log(2));
    assert_near(loss_value(&loss, logits, target, 2, 0, gradient, &s), risk + 2 * (2e4 - 1), 1e-12);
    assert_near(gradient[2], -2, 1e-15);
    double alpha[2];
    ib_edl_alpha(logits, 2, alpha);
    assert_near(alpha[0], 1 + log(2), 1e-12);
}

static void draws_are_normal_and_of_their_row_and_pass(void **state)
{
    (void)state;
    enum { N = 20000 };
    static double x[N], y[8];
    draw_normals(x, N, 5, 1, 2);
    double sum = 0, squares = 0, cubes = 0, fourths = 0, next = 0;
    for (int i = 0; i < N; i++) {
        sum += x[i];
        squares += x[i] * x[i];
        cubes += x[i] * x[i] * x[i];
        fourths += pow(x[i], 4);
        next += i ? x[i] * x[i - 1] : 0;
    }
    /* Four standard errors of each moment. */
    assert_true(fabs(sum / N) < 4 * sqrt(1.0 / N));
    assert_true(fabs(squares / N - 1) < 4 * sqrt(2.0 / N));
    assert_true(fabs(cubes / N) < 4 * sqrt(15.0 / N));
    assert_true(fabs(fourths / N - 3) < 4 * sqrt(96.0 / N));
    assert_true(fabs(next / N) < 4 * sqrt(1.0 / N));
    draw_normals(y, 8, 5, 1, 2);
    assert_memory_equal(x, y, sizeof y);
    draw_normals(y, 8, 6, 1, 2);
    assert_memory_not_equal(x, y, sizeof y);
    draw_normals(y, 8, 5, 2, 2);
    assert_memory_not_equal(x, y, sizeof y);
    draw_normals(y, 8, 5, 1, 3);
    assert_memory_not_equal(x, y, sizeof y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_gradients_agree_with_pytorch),
        cmocka_unit_test(the_cpus_operation_gives_the_same_losses),
        cmocka_unit_test(gradients_agree_with_central_differences),
        cmocka_unit_test(extreme_logits_stay_finite),
        cmocka_unit_test(evidence_for_the_label_alone_is_not_misleading),
        cmocka_unit_test(a_fixed_alpha0_is_what_alpha_sums_to),
        cmocka_unit_test(the_bottleneck_agrees_with_pytorch_and_differences),
        cmocka_unit_test(the_cpus_operation_has_twice_the_logits),
        cmocka_unit_test(deviations_too_small_for_a_double_stay_finite),
        cmocka_unit_test(draws_are_normal_and_of_their_row_and_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
