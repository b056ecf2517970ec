/* AdamW, clipping and the schedule, by the CPU's operations, against PyTorch and transformers
 * (tests/oracle/optimizer.py); Philox against its authors' known answers. */
#include "common/train/optimizer.h"

#include "common/math/philox.h"
#include "kernels/ops.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.9g is not %.9g", got, want);
}

static void adamw_takes_pytorchs_steps(void **state)
{
    (void)state;
    float value[3] = {0.5f, -2.0f, 2.3025851f}, gradient[3], m[3] = {0}, v[3] = {0};
    struct schedule schedule = {SCHEDULE_COSINE, 5, 40};
    struct adamw adamw = ADAMW_DEFAULTS;
    struct device *d = cpu_device_open(F32, 1);
    FILE *f = fopen("tests/data/lora/adamw.tsv", "r");
    assert_non_null(f);
    unsigned long step;
    int rows = 0;
    for (; fscanf(f, "%lu", &step) == 1; rows++) {
        double rate, norm, g[3], want[3], squares = 0;
        assert_int_equal(fscanf(f, "%lf %lf %lf %lf %lf %lf %lf %lf", &rate, &norm, &g[0], &want[0],
                                &g[1], &want[1], &g[2], &want[2]),
                         8);
        for (int i = 0; i < 3; i++)
            gradient[i] = (float)g[i];
        assert_near(1e-2 * schedule_factor(&schedule, step), rate, 1e-15);
        d->add_squares(d, gradient, 3, &squares);
        assert_near(sqrt(squares), norm, 1e-6 * norm);
        d->scale(d, clip_factor(sqrt(squares), 1), gradient, 3);
        struct adamw_factors all = adamw_factors(&adamw, rate, step + 1);
        struct adamw_factors slow = adamw_factors(&adamw, 0.1 * rate, step + 1);
        d->adamw(d, &all, gradient, value, m, v, 2);
        d->adamw(d, &slow, gradient + 2, value + 2, m + 2, v + 2, 1);
        for (int i = 0; i < 3; i++)
            assert_near(value[i], want[i], 1e-6);
    }
    assert_int_equal(rows, 40);
    fclose(f);
    d->close(d);
}

/* Arrays of several lengths, against the published formulas in double precision. */
static void long_arrays_take_the_steps_of_the_formulas(void **state)
{
    (void)state;
    enum { N = 20011, FIRST = 17 };
    static float value[N], gradient[N], m[N], v[N];
    static double want[N], want_m[N], want_v[N];
    struct adamw adamw = ADAMW_DEFAULTS;
    struct device *d = cpu_device_open(F32, 0);
    for (int i = 0; i < N; i++)
        want[i] = value[i] = sinf((float)i);
    for (unsigned long step = 1; step <= 5; step++) {
        double squares = 0, in_parts = 0, rate = 1e-2;
        for (int i = 0; i < N; i++) {
            gradient[i] = cosf((float)i * (float)step);
            squares += (double)gradient[i] * (double)gradient[i];
        }
        d->add_squares(d, gradient, FIRST, &in_parts);
        d->add_squares(d, gradient + FIRST, N - FIRST, &in_parts);
        assert_near(in_parts, squares, 1e-12 * squares);
        double factor = 1 / (sqrt(squares) + 1e-6);
        d->scale(d, clip_factor(sqrt(squares), 1), gradient, N);
        struct adamw_factors f = adamw_factors(&adamw, rate, step);
        d->adamw(d, &f, gradient, value, m, v, N);
        for (int i = 0; i < N; i++) {
            double g = factor * (double)cosf((float)i * (float)step);
            want_m[i] = adamw.beta1 * want_m[i] + (1 - adamw.beta1) * g;
            want_v[i] = adamw.beta2 * want_v[i] + (1 - adamw.beta2) * g * g;
            double mean = want_m[i] / (1 - pow(adamw.beta1, (double)step));
            double square = want_v[i] / (1 - pow(adamw.beta2, (double)step));
            want[i] *= 1 - rate * adamw.weight_decay;
            want[i] -= rate * mean / (sqrt(square) + adamw.epsilon);
            assert_near(m[i], want_m[i], 1e-6 * factor);
            assert_near(v[i], want_v[i], 1e-6 * factor * factor);
            assert_near(value[i], want[i], 1e-6);
        }
    }
    d->close(d);
}

static void clipping_leaves_small_gradients_alone(void **state)
{
    (void)state;
    assert_near(clip_factor(0.5, 1), 1, 0);
    assert_near(clip_factor(0, 1), 1, 0);
    assert_near(clip_factor(4, 1), 1 / (4 + 1e-6), 1e-7);
}

static void a_constant_schedule_rises_and_stays(void **state)
{
    (void)state;
    struct schedule s = {SCHEDULE_CONSTANT, 4, 10};
    assert_near(schedule_factor(&s, 0), 0, 0);
    assert_near(schedule_factor(&s, 3), 0.75, 0);
    assert_near(schedule_factor(&s, 4), 1, 0);
    assert_near(schedule_factor(&s, 9), 1, 0);
}

/* Random123's kat_vectors, philox4x32 10 */
static void philox_gives_the_published_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct philox counter;
        for (int j = 0; j < 4; j++)
            counter.v[j] = known[i].counter[j];
        struct philox got = philox4x32(counter, known[i].key[0], known[i].key[1]);
        for (int j = 0; j < 4; j++)
            assert_int_equal(got.v[j], known[i].answer[j]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_takes_pytorchs_steps),
        cmocka_unit_test(long_arrays_take_the_steps_of_the_formulas),
        cmocka_unit_test(clipping_leaves_small_gradients_alone),
        cmocka_unit_test(a_constant_schedule_rises_and_stays),
        cmocka_unit_test(philox_gives_the_published_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
