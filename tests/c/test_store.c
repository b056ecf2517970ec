/* Samples and shuffles: every record as likely as another, and the same for the same seed. */
#include "common/stream/record.h"
#include "common/stream/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { RECORDS = 8, SEEDS = 8000 };
static char path[] = "/tmp/test_store.XXXXXX";

static int make_stream(void **state)
{
    (void)state;
    close(mkstemp(path));
    struct stream_writer *w =
        stream_create(path, false, stream_header_from(NULL, "weights", 0, NULL));
    for (int i = 0; i < RECORDS; i++)
        weight_write(w, &(struct prompt_weight){.prompt = i, .weight = 0.5});
    stream_finish(w);
    return 0;
}

static int remove_stream(void **state)
{
    (void)state;
    return unlink(path);
}

static uint64_t sample(struct store *s, size_t n, uint64_t seed)
{
    struct stream_reader *r = stream_open(path, NULL);
    uint64_t seen = store_sample(s, r, n, seed);
    stream_close(r);
    return seen;
}

/* Counts of a share p of SEEDS draws lie within five standard deviations of what is expected: over
 * all the counts here, chance leaves that less than once in 10^4 choices of seeds, and the seeds
 * are fixed. */
static void assert_share(int count, double p)
{
    double expected = SEEDS * p, deviation = count - expected;
    assert_true(deviation * deviation < 25 * expected * (1 - p));
}

static void every_record_is_as_likely_in_a_sample(void **state)
{
    (void)state;
    int single[RECORDS] = {0}, pairs[RECORDS][RECORDS] = {{0}};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct store s = {0};
        assert_int_equal(sample(&s, 3, seed), RECORDS);
        assert_int_equal(s.count, 3);
        for (int i = 0; i < 3; i++) {
            assert_true(i == 0 || s.records[i].number > s.records[i - 1].number);
            single[s.records[i].number]++;
            for (int j = 0; j < i; j++)
                pairs[s.records[j].number][s.records[i].number]++;
        }
        store_free(&s);
    }
    for (int i = 0; i < RECORDS; i++) {
        assert_share(single[i], 3.0 / 8);
        for (int j = i + 1; j < RECORDS; j++)
            assert_share(pairs[i][j], 3.0 * 2 / (8 * 7));
    }
}

static void every_place_is_as_likely_in_a_shuffle(void **state)
{
    (void)state;
    int at[RECORDS][RECORDS] = {{0}};
    struct store s = {0};
    sample(&s, SIZE_MAX, 0);
    assert_int_equal(s.count, RECORDS);
    struct stored in_order[RECORDS];
    for (int i = 0; i < RECORDS; i++) {
        assert_int_equal(s.records[i].number, i);
        in_order[i] = s.records[i];
    }
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        for (int i = 0; i < RECORDS; i++)
            s.records[i] = in_order[i];
        store_shuffle(&s, seed);
        for (int i = 0; i < RECORDS; i++)
            at[i][s.records[i].number]++;
    }
    for (int i = 0; i < RECORDS; i++)
        for (int j = 0; j < RECORDS; j++)
            assert_share(at[i][j], 1.0 / 8);
    store_free(&s);
}

static void a_sample_of_more_than_there_are_is_all(void **state)
{
    (void)state;
    struct store s = {0};
    assert_int_equal(sample(&s, RECORDS + 1, 5), RECORDS);
    assert_int_equal(s.count, RECORDS);
    store_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_is_as_likely_in_a_sample),
        cmocka_unit_test(every_place_is_as_likely_in_a_shuffle),
        cmocka_unit_test(a_sample_of_more_than_there_are_is_all),
    };
    return cmocka_run_group_tests(tests, make_stream, remove_stream);
}
