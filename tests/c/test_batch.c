/* Groups of sequences that share prefixes: valid, and the cheapest there are. */
#include "common/model/batch.h"
#include "tests/c/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX = 24, MAX_LENGTH = 60, LEAST = 8 /* prefixes shorter than this are not shared */ };

static uint64_t seed = 7;

static int draw(int n)
{
    return (int)((random_word(&seed) >> 1) % (uint32_t)n);
}

static int shared_prefix(const struct sequence *s, const int32_t *order, int first, int count)
{
    int n = s[order[first]].n;
    for (int i = 0; i < count; i++)
        n = s[order[first + i]].n - 1 < n ? s[order[first + i]].n - 1 : n;
    for (int p = 0; p < n; p++)
        for (int i = 1; i < count; i++)
            if (s[order[first + i]].tokens[p] != s[order[first]].tokens[p])
                return p;
    return n;
}

/* The least number of tokens to compute, over all divisions of the order into runs. */
static long least_cost(const struct sequence *s, const int32_t *order, int n)
{
    long best[MAX + 1] = {0};
    for (int end = 1; end <= n; end++) {
        best[end] = INT32_MAX;
        for (int first = 0; first < end; first++) {
            int prefix = end - first > 1 ? shared_prefix(s, order, first, end - first) : 0;
            prefix = prefix < LEAST ? 0 : prefix;
            long cost = prefix;
            for (int i = first; i < end; i++)
                cost += s[order[i]].n - prefix;
            if (best[first] + cost < best[end])
                best[end] = best[first] + cost;
        }
    }
    return best[n];
}

static void groups_are_valid_and_cheapest(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        static int32_t tokens[MAX][MAX_LENGTH];
        struct sequence s[MAX];
        int n = draw(MAX + 1);
        for (int i = 0; i < n; i++) {
            s[i] = (struct sequence){tokens[i], 1 + draw(MAX_LENGTH)};
            int copied = 0, from = i ? draw(i) : 0;
            if (i)
                for (int most = draw(s[from].n + 1); copied < most && copied < s[i].n; copied++)
                    tokens[i][copied] = tokens[from][copied];
            for (int p = copied; p < s[i].n; p++)
                tokens[i][p] = draw(3);
        }
        int32_t order[MAX];
        struct group *groups;
        int n_groups = find_groups(s, n, order, &groups);
        bool seen[MAX] = {false};
        for (int i = 0; i < n; i++) {
            assert_false(seen[order[i]]);
            seen[order[i]] = true;
        }
        long cost = 0;
        int at = 0;
        for (int g = 0; g < n_groups; g++) {
            assert_int_equal(groups[g].first, at);
            at += groups[g].count;
            assert_true(groups[g].prefix <=
                        shared_prefix(s, order, groups[g].first, groups[g].count));
            cost += groups[g].prefix;
            for (int i = 0; i < groups[g].count; i++)
                cost += s[order[groups[g].first + i]].n - groups[g].prefix;
        }
        assert_int_equal(at, n);
        assert_int_equal(cost, least_cost(s, order, n));
        free(groups);
    }
}

static void a_batch_holds_own_tokens_at_their_positions(void **state)
{
    (void)state;
    int32_t a[] = {5, 6, 7}, b[] = {5, 6, 8, 9};
    struct batch batch = {0};
    batch_add(&batch, (struct sequence){a, 3}, NULL, 0, 0);
    batch_add(&batch, (struct sequence){b, 4}, NULL, 2, 11);
    assert_int_equal(batch.n_tokens, 5);
    assert_int_equal(batch.n_spans, 2);
    assert_int_equal(batch.max_position, 3);
    assert_memory_equal(batch.tokens, ((int32_t[]){5, 6, 7, 8, 9}), 5 * sizeof(int32_t));
    assert_memory_equal(batch.positions, ((int32_t[]){0, 1, 2, 2, 3}), 5 * sizeof(int32_t));
    struct attention_span expected = {3, 2, 3, 2, 11, 2};
    assert_memory_equal(&batch.spans[1], &expected, sizeof expected);
    batch_free(&batch);
}

/* The numbers of a hostile header: their product does not fit an int. */
static void more_copies_than_can_be_are_refused(void **state)
{
    (void)state;
    static int32_t tokens[1 << 15];
    struct answer_branch branch = {0};
    struct answer_tree tree = {.n_branches = 1 << 17, .branches = &branch};
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        struct batch b = {0};
        batch_add(&b, (struct sequence){tokens, 1 << 15}, &tree, 0, 0);
        _exit(0);
    }
    int status;
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EX_DATAERR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_are_valid_and_cheapest),
        cmocka_unit_test(a_batch_holds_own_tokens_at_their_positions),
        cmocka_unit_test(more_copies_than_can_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
