/* Conversions of stored types, against the compiler's own and against each other. */
#include "common/util/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void every_half_survives_the_way_through_f32(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = f32_from_f16((uint16_t)h);
        if (isnan(f))
            assert_true(isnan(f32_from_f16(f16_from_f32(f))));
        else
            assert_int_equal(f16_from_f32(f), h);
    }
}

/* Between two neighbours: below the middle down, above it up, at it to the even one. */
static void halves_round_to_the_nearest(void **state)
{
    (void)state;
    for (uint16_t h = 0; h < 0x7bff; h++) {
        float low = f32_from_f16(h), high = f32_from_f16((uint16_t)(h + 1));
        float middle = (low + high) / 2; /* exact */
        assert_int_equal(f16_from_f32(middle), h % 2 ? h + 1 : h);
        assert_int_equal(f16_from_f32(nextafterf(middle, 0)), h);
        assert_int_equal(f16_from_f32(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(f16_from_f32(-middle), (h % 2 ? h + 1 : h) | 0x8000);
    }
    assert_int_equal(f16_from_f32(65519.0f), 0x7bff);
    assert_int_equal(f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(f16_from_f32(-INFINITY), 0xfc00);
}

static void stored_elements_are_read_back(void **state)
{
    (void)state;
    unsigned char bytes[16]; /* from an odd address */
    for (enum dtype t = F32; t <= F16; t++) {
        dtype_store(t, bytes + 1, 0, 1.5f);
        dtype_store(t, bytes + 1, 1, -0.15625f);
        assert_true(dtype_load(t, bytes + 1, 0) == 1.5f);
        assert_true(dtype_load(t, bytes + 1, 1) == -0.15625f);
    }
    dtype_store(BF16, bytes, 0, 1.00390625f); /* half way: to even */
    assert_true(dtype_load(BF16, bytes, 0) == 1.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_survives_the_way_through_f32),
        cmocka_unit_test(halves_round_to_the_nearest),
        cmocka_unit_test(stored_elements_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
