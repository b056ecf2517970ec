/* The binomial tail against mpmath's values (tests/oracle/binomial.py). */
#include "common/math/binomial.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void tails_agree_with_mpmath(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/decide/binomial.tsv", "r");
    assert_non_null(f);
    size_t k, n;
    double p, want, worst = 0;
    int rows = 0;
    for (; fscanf(f, "%zu %zu %lf %lf", &k, &n, &p, &want) == 4; rows++) {
        double away = fabs(binomial_at_most(k, n, p) / want - 1);
        if (!(away <= 1e-12))
            fail_msg("P(X <= %zu), n %zu, p %g is %.17g, not %.17g", k, n, p,
                     binomial_at_most(k, n, p), want);
        worst = fmax(worst, away);
    }
    fclose(f);
    assert_int_equal(rows, 446);
    print_message("# within %.1e (relative)\n", worst);
}

static void ends_and_nonsense(void **state)
{
    (void)state;
    assert_true(binomial_at_most(0, 0, 0.5) == 1 && binomial_at_most(7, 5, 0.5) == 1);
    assert_true(binomial_at_most(0, 5, 0) == 1 && binomial_at_most(4, 5, 1) == 0);
    assert_true(binomial_at_most(0, 1000000, 0.5) == 0); /* 2^-1000000 */
    assert_true(isnan(binomial_at_most(0, 5, -0.1)) && isnan(binomial_at_most(0, 5, NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tails_agree_with_mpmath),
        cmocka_unit_test(ends_and_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
