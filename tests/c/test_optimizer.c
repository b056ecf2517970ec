/* AdamW, clipping and the schedule against PyTorch and transformers (tests/oracle/optimizer.py),
 * Philox against its authors' known answers. */
#include "common/model/optimizer.h"

#include "common/util/philox.h"
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
    struct parameter p[3];
    for (int i = 0; i < 3; i++)
        p[i] = (struct parameter){.value = &value[i],
                                  .gradient = &gradient[i],
                                  .m = &m[i],
                                  .v = &v[i],
                                  .n = 1,
                                  .rate_scale = i == 2 ? 0.1 : 1};
    struct schedule schedule = {SCHEDULE_COSINE, 5, 40};
    struct adamw adamw = ADAMW_DEFAULTS;
    FILE *f = fopen("tests/data/lora/adamw.tsv", "r");
    assert_non_null(f);
    unsigned long step;
    int rows = 0;
    for (; fscanf(f, "%lu", &step) == 1; rows++) {
        double rate, norm, g[3], want[3];
        assert_int_equal(fscanf(f, "%lf %lf %lf %lf %lf %lf %lf %lf", &rate, &norm, &g[0], &want[0],
                                &g[1], &want[1], &g[2], &want[2]),
                         8);
        for (int i = 0; i < 3; i++)
            gradient[i] = (float)g[i];
        assert_near(1e-2 * schedule_factor(&schedule, step), rate, 1e-15);
        double own = gradient_norm(p, 3);
        assert_near(own, norm, 1e-6 * norm);
        clip_gradients(p, 3, own, 1);
        adamw_step(&adamw, p, 3, rate, step + 1);
        for (int i = 0; i < 3; i++)
            assert_near(value[i], want[i], 1e-6);
    }
    assert_int_equal(rows, 40);
    fclose(f);
}

/* A device's operations, on arrays of several lengths, against the same steps taken at once. */
static void the_cpus_operations_take_the_same_steps(void **state)
{
    (void)state;
    enum { N = 1009, FIRST = 17 };
    static float value[2][N], gradient[2][N], m[2][N], v[2][N];
    struct parameter p = {
        .value = value[0], .gradient = gradient[0], .m = m[0], .v = v[0], .n = N, .rate_scale = 1};
    struct adamw adamw = ADAMW_DEFAULTS;
    struct device *d = cpu_device_open(F32, 1);
    for (int i = 0; i < N; i++)
        value[0][i] = value[1][i] = sinf((float)i);
    for (unsigned long step = 1; step <= 5; step++) {
        for (int i = 0; i < N; i++)
            gradient[0][i] = gradient[1][i] = cosf((float)i * (float)step);
        double norm = gradient_norm(&p, 1), sum = 0;
        d->add_squares(d, gradient[1], FIRST, &sum);
        d->add_squares(d, gradient[1] + FIRST, N - FIRST, &sum);
        assert_true(sqrt(sum) == norm);
        clip_gradients(&p, 1, norm, 1);
        d->scale(d, (float)(1 / (norm + 1e-6)), gradient[1], N);
        adamw_step(&adamw, &p, 1, 1e-2, step);
        struct adamw_factors f = adamw_factors(&adamw, 1e-2, step);
        d->adamw(d, &f, gradient[1], value[1], m[1], v[1], N);
        assert_memory_equal(value[0], value[1], sizeof value[0]);
        assert_memory_equal(m[0], m[1], sizeof m[0]);
        assert_memory_equal(v[0], v[1], sizeof v[0]);
    }
    d->close(d);
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
        cmocka_unit_test(the_cpus_operations_take_the_same_steps),
        cmocka_unit_test(a_constant_schedule_rises_and_stays),
        cmocka_unit_test(philox_gives_the_published_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
