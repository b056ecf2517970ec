/* Well-formed UTF-8: cases by hand, and every short byte sequence against utf8proc. */
#include "common/util/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <utf8proc.h>

#include <cmocka.h>

static void the_first_bad_byte_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t at;
    } cases[] = {
        {"", 0},
        {"plain", 5},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9},
        {"latin-1 \xe9t\xe9", 8},
        {"longer than eight bytes \x80", 24},
        {"\xc0\xaf overlong", 0},
        {"a\xed\xa0\x80 surrogate", 1},
        {"\xf4\x90\x80\x80 past the last", 0},
        {"cut \xe2\x82", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_invalid_at(cases[i].bytes, strlen(cases[i].bytes)), cases[i].at);
}

/* One character and no more, by utf8proc. */
static int one_character(const unsigned char *p, size_t n)
{
    utf8proc_int32_t c;
    return utf8proc_iterate(p, (utf8proc_ssize_t)n, &c) == (utf8proc_ssize_t)n;
}

static void sequences_are_valid_where_utf8proc_says_so(void **state)
{
    (void)state;
    unsigned char p[4];
    for (unsigned v = 0xc200; v < 0x1000000; v++) { /* two and three bytes that start one */
        size_t n = v < 0x10000 ? 2 : 3;
        for (size_t i = 0; i < n; i++)
            p[i] = (unsigned char)(v >> 8 * (n - 1 - i));
        if (n == 3 && p[0] < 0xe0)
            continue;
        assert_int_equal(utf8_invalid_at((char *)p, n) == n, one_character(p, n));
    }
    for (unsigned v = 0; v < 16 << 18;
         v++) { /* four: each lead from 0xf0, few values of the last */
        static const unsigned char last[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff, 0x95, 0xa5};
        p[0] = (unsigned char)(0xf0 + (v >> 18));
        p[1] = (unsigned char)(v >> 10);
        p[2] = (unsigned char)((v >> 3 & 0x7f) << 1);
        p[3] = last[v & 7];
        assert_int_equal(utf8_invalid_at((char *)p, 4) == 4, one_character(p, 4));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_bad_byte_is_found),
        cmocka_unit_test(sequences_are_valid_where_utf8proc_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
