/* The numbering of ids: in order of first appearance, through every growth of the table. */
#include "common/stream/id_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { IDS = 200000 };

/* Ids of many lengths, some of them beginnings of others. */
static const char *id_at(int i)
{
    static char id[64];
    snprintf(id, sizeof id, "%.*s%d", i % 7, "------", i * 3);
    return id;
}

static void ids_are_numbered_as_they_first_appear(void **state)
{
    (void)state;
    struct id_index *x = id_index_new();
    bool added;
    size_t number;
    for (int i = 0; i < IDS; i++) {
        assert_int_equal(id_index_add(x, id_at(i), &added), i);
        assert_true(added);
    }
    assert_int_equal(id_index_count(x), IDS);
    for (int i = IDS - 1; i >= 0; i--) {
        assert_int_equal(id_index_add(x, id_at(i), &added), i);
        assert_false(added);
        assert_true(id_index_find(x, id_at(i), &number));
        assert_int_equal(number, i);
        assert_string_equal(id_index_name(x, (size_t)i), id_at(i));
    }
    assert_int_equal(id_index_count(x), IDS);
    assert_false(id_index_find(x, "", &number));
    assert_false(id_index_find(x, "1", &number));
    assert_int_equal(id_index_add(x, "", NULL), IDS);
    assert_true(id_index_find(x, "", &number));
    id_index_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ids_are_numbered_as_they_first_appear)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
