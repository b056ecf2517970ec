/* ln Gamma and its derivatives against mpmath's values (tests/oracle/special.py). */
#include "common/math/special.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void assert_near(double got, double want, double x, const char *what)
{
    if (!(got == want || fabs(got - want) <= 1e-12 * fmax(1, fabs(want))))
        fail_msg("%s(%.17g) is %.17g, not %.17g", what, x, got, want);
}

static void values_agree_with_mpmath(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/uq/special.tsv", "r");
    assert_non_null(f);
    double x, lg, psi, psi1;
    int rows = 0;
    for (; fscanf(f, "%lf %lf %lf %lf", &x, &lg, &psi, &psi1) == 4; rows++) {
        assert_near(log_gamma(x), lg, x, "log_gamma");
        assert_near(digamma(x), psi, x, "digamma");
        assert_near(trigamma(x), psi1, x, "trigamma");
    }
    fclose(f);
    assert_true(rows >= 100);
}

static void the_ends_of_the_range_give_limits_and_nan(void **state)
{
    (void)state;
    assert_true(isinf(log_gamma(0)) && log_gamma(0) > 0);
    assert_true(isinf(digamma(0)) && digamma(0) < 0);
    assert_true(isinf(trigamma(0)) && trigamma(0) > 0);
    assert_true(isinf(digamma(INFINITY)) && trigamma(INFINITY) == 0);
    double (*const all[])(double) = {log_gamma, digamma, trigamma};
    for (size_t i = 0; i < 3; i++)
        assert_true(isnan(all[i](-0.5)) && isnan(all[i](NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_agree_with_mpmath),
        cmocka_unit_test(the_ends_of_the_range_give_limits_and_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
