/* common/math/circle.h against the C library. */
#include "common/math/circle.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void agree(double angle)
{
    double c, s;
    cosine_and_sine(angle, &c, &s);
    if (fabs(c - cos(angle)) > 1e-15 || fabs(s - sin(angle)) > 1e-15)
        fail_msg("at %.17g: %.17g, %.17g; libm has %.17g, %.17g", angle, c, s, cos(angle),
                 sin(angle));
}

static void angles_of_all_sizes(void **state)
{
    (void)state;
    for (double size = 0x1p-30; size <= 0x1p20; size *= 2)
        for (int i = 0; i <= 997; i++) {
            double angle = size * (0.5 + i / 1994.0);
            agree(angle);
            agree(-angle);
            agree((double)(float)angle);
        }
}

/* Where the series change their places, and a quarter turn's rest is small. */
static void beside_eighths_of_a_turn(void **state)
{
    (void)state;
    for (int n = -2000; n <= 600000; n += n < 2000 ? 1 : 997)
        for (int ulp = -2; ulp <= 2; ulp++) {
            double angle = n * 0.78539816339744831;
            for (int k = 0; k < abs(ulp); k++)
                angle = nextafter(angle, ulp < 0 ? -INFINITY : INFINITY);
            agree(angle);
        }
}

static void nothing_turned(void **state)
{
    (void)state;
    double c, s;
    cosine_and_sine(0, &c, &s);
    assert_true(c == 1 && s == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(angles_of_all_sizes),
        cmocka_unit_test(beside_eighths_of_a_turn),
        cmocka_unit_test(nothing_turned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
