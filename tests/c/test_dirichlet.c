/* Uncertainties of a Dirichlet against mpmath's (tests/oracle/special.py), and of an ensemble. */
#include "common/math/dirichlet.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void assert_near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-12))
        fail_msg("%.17g is not %.17g", got, want);
}

static void a_dirichlets_uncertainties_agree_with_mpmath(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/uq/dirichlet.tsv", "r");
    assert_non_null(f);
    size_t n;
    int rows = 0;
    for (; fscanf(f, "%zu", &n) == 1; rows++) {
        double alpha[16], probs[16], sum = 0, total, aleatoric, epistemic;
        assert_in_range(n, 1, 16);
        for (size_t c = 0; c < n; c++)
            assert_int_equal(fscanf(f, "%lf", &alpha[c]), 1);
        assert_int_equal(fscanf(f, "%lf %lf %lf", &total, &aleatoric, &epistemic), 3);
        struct uncertainty u = dirichlet_uncertainty(alpha, n, probs);
        assert_near(u.total, total);
        assert_near(u.aleatoric, aleatoric);
        assert_near(u.epistemic, epistemic);
        for (size_t c = 0; c < n; c++)
            sum += probs[c];
        assert_near(sum, 1);
    }
    fclose(f);
    assert_true(rows >= 40);
}

/* From alphas that are next to nothing to such that ln Gamma has no digit left for the entropy. */
static void a_dirichlets_differential_entropy_agrees_with_mpmath(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/uq/dirichlet-entropy.tsv", "r");
    assert_non_null(f);
    size_t n;
    int rows = 0;
    for (; fscanf(f, "%zu", &n) == 1; rows++) {
        double alpha[16], want;
        assert_in_range(n, 1, 16);
        for (size_t c = 0; c < n; c++)
            assert_int_equal(fscanf(f, "%lf", &alpha[c]), 1);
        assert_int_equal(fscanf(f, "%lf", &want), 1);
        double got = dirichlet_entropy(alpha, n);
        if (!(fabs(got - want) <= 1e-13 * fmax(1, fabs(want))))
            fail_msg("%.17g is not %.17g (%zu classes, the first alpha %g)", got, want, n,
                     alpha[0]);
    }
    fclose(f);
    assert_true(rows >= 60);
    assert_true(dirichlet_entropy((double[]){1e308, 1e308}, 2) == -INFINITY);
}

static void an_ensembles_uncertainties_are_the_closed_forms(void **state)
{
    (void)state;
    double probs[2];
    /* Certain members that disagree: nothing but epistemic uncertainty, ln 2 of it. */
    struct uncertainty u =
        ensemble_uncertainty((double[]){1, 0, 0, 1}, (double[]){0.5, 0.5}, 2, 2, probs);
    assert_near(u.total, log(2));
    assert_near(u.aleatoric, 0);
    assert_near(u.epistemic, log(2));
    /* Members that agree: none of it. */
    u = ensemble_uncertainty((double[]){0.2, 0.8, 0.2, 0.8}, (double[]){0.3, 0.7}, 2, 2, probs);
    assert_near(probs[0], 0.2);
    assert_near(u.total, -0.2 * log(0.2) - 0.8 * log(0.8));
    assert_near(u.epistemic, 0);
    assert_true(u.epistemic >= 0);
    u = ensemble_uncertainty((double[]){0.5, 0.5, 0.9, 0.1}, (double[]){0.25, 0.75}, 2, 2, probs);
    assert_near(probs[0], 0.8);
    assert_near(u.aleatoric, 0.25 * log(2) + 0.75 * (-0.9 * log(0.9) - 0.1 * log(0.1)));
}

static void no_entropy_is_below_zero(void **state)
{
    (void)state;
    double probs[2], third = 1. / 3 + 1e-10;
    assert_true(entropy((double[]){1 + 5e-10, 0}, 2) == 0);
    struct uncertainty u = ensemble_uncertainty((double[]){1, 0, 1, 0, 1, 0},
                                                (double[]){third, third, third}, 3, 2, probs);
    assert_true(u.total == 0 && u.aleatoric == 0 && u.epistemic == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dirichlets_uncertainties_agree_with_mpmath),
        cmocka_unit_test(a_dirichlets_differential_entropy_agrees_with_mpmath),
        cmocka_unit_test(an_ensembles_uncertainties_are_the_closed_forms),
        cmocka_unit_test(no_entropy_is_below_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
