/* The training losses and their gradients: against PyTorch (tests/oracle/losses.py) and against
 * central differences. */
#include "common/math/loss.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_gradients_agree_with_pytorch),
        cmocka_unit_test(the_cpus_operation_gives_the_same_losses),
        cmocka_unit_test(gradients_agree_with_central_differences),
        cmocka_unit_test(extreme_logits_stay_finite),
        cmocka_unit_test(evidence_for_the_label_alone_is_not_misleading),
        cmocka_unit_test(a_fixed_alpha0_is_what_alpha_sums_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
