/* Safetensors: what is written is read back. Malformed files are tests/bats/lm-score.bats's. */
#include "common/model/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void tensors_survive(void **state)
{
    (void)state;
    char path[] = "/tmp/test_safetensors.XXXXXX";
    close(mkstemp(path));
    float wide[6] = {1, 2, 3, 4, 5, 6};
    uint16_t narrow[3] = {0x3f80, 0x4000, 0xc000};
    struct tensor tensors[] = {
        {.name = "b.weight", .dtype = F32, .n_dims = 2, .shape = {2, 3}, .data = wide},
        {.name = "a", .dtype = BF16, .n_dims = 1, .shape = {3}, .data = narrow},
    };
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    safetensors_write(path, tensors, 2, metadata);
    json_decref(metadata);

    struct safetensors *s = safetensors_open_file(path);
    assert_int_equal(safetensors_count(s), 2);
    assert_string_equal(safetensors_at(s, 0)->name, "a");
    const struct tensor *b = safetensors_need(s, "b.weight", 2, 3);
    assert_int_equal(b->dtype, F32);
    assert_memory_equal(b->data, wide, sizeof wide);
    assert_int_equal((uintptr_t)b->data % 8, 0);
    const struct tensor *a = safetensors_need(s, "a", 3, 0);
    assert_true(dtype_load(a->dtype, a->data, 0) == 1 && dtype_load(a->dtype, a->data, 2) == -2);
    assert_null(safetensors_find(s, "c"));
    safetensors_close(s);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tensors_survive)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
