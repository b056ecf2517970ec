/* Answer trees: their shape, and class logits, gradients and masses against what they are defined
 * as. That whole passes give the class logits of transformers is tests/bats/answers.bats's to show.
 */
#include "common/model/answer_tree.h"
#include "common/model/batch.h"
#include "random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct answer_tree *tree_of(const char *json)
{
    json_t *list = json_loads(json, 0, NULL);
    assert_non_null(list);
    struct answer_tree *t = answer_tree_from_json(list, "answer_tokens", "here");
    json_decref(list);
    return t;
}

/* Two answers go on after 5 7, one of them further; 5 and 6 fork; 20 stands alone. */
static const char forks[] = "[[[5, 7, 3], [20]], [[5, 7, 9], [5, 8]], [[6, 7], [6, 9, 11]], "
                            "[[6, 9, 12]]]";

static void test_shape(void **state)
{
    (void)state;
    struct answer_tree *t = tree_of(forks);
    assert_int_equal(t->n_classes, 4);
    assert_int_equal(t->n_nodes, 5); /* the root, 5, 5 7, 6, 6 9 */
    assert_int_equal(t->n_edges, 3 + 2 + 2 + 2 + 2);
    assert_int_equal(t->n_tokens, 9); /* 7 stands twice, 9 twice */
    assert_int_equal(t->depth, 2);
    assert_false(t->plain);
    assert_int_equal(t->n_branches, 2);
    assert_int_equal(answer_tree_positions(t), 4);
    static const int32_t branches[2][2] = {{5, 7}, {6, 9}};
    static const int read[2] = {3, 2};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(t->branches[i].n, 2);
        assert_int_equal(t->branches[i].read, read[i]);
        assert_memory_equal(t->branches[i].tokens, branches[i], sizeof branches[i]);
    }
    answer_tree_free(t);
}

static void test_plain(void **state)
{
    (void)state;
    struct answer_tree *t = answer_tree_plain((const int32_t[]){50, 3, 95}, 3);
    assert_true(t->plain);
    assert_int_equal(t->n_branches, 1);
    assert_int_equal(t->branches[0].n, 0);
    const float logits[] = {1.5f, -2, 0.25f};
    float classes[3];
    answer_tree_logits(t, logits, 3, classes);
    assert_memory_equal(classes, logits, sizeof logits);
    answer_tree_free(t);
    t = tree_of("[[[5], [7]], [[9]]]");
    assert_false(t->plain);
    assert_int_equal(t->n_nodes, 1);
    answer_tree_free(t);
}

enum { NODES = 5, OUTPUTS = 11, CLASSES = 4 };

static void draw_logits(float *logits, uint64_t seed)
{
    for (int i = 0; i < NODES * OUTPUTS; i++)
        logits[i] = 3 * random_number(&seed);
}

static double at(const struct answer_tree *t, const float *logits, int node, int token)
{
    for (int i = 0; i < t->n_tokens; i++)
        if (t->tokens[i] == token)
            return (double)logits[node * OUTPUTS + i];
    fail();
    return 0;
}

/* The probability of one token of two. */
static double of_two(double x, double other)
{
    return 1 / (1 + exp(other - x));
}

/* The softmax of the class logits is the product over the forks, synonyms added. */
static void test_product(void **state)
{
    (void)state;
    struct answer_tree *t = tree_of(forks);
    float logits[NODES * OUTPUTS], classes[CLASSES];
    draw_logits(logits, 1);
    answer_tree_logits(t, logits, OUTPUTS, classes);
    double five = exp(at(t, logits, 0, 5)), six = exp(at(t, logits, 0, 6));
    double twenty = exp(at(t, logits, 0, 20)), all = five + six + twenty;
    double seven = of_two(at(t, logits, 1, 7), at(t, logits, 1, 8));
    double three = of_two(at(t, logits, 2, 3), at(t, logits, 2, 9));
    double six_seven = of_two(at(t, logits, 3, 7), at(t, logits, 3, 9));
    double eleven = of_two(at(t, logits, 4, 11), at(t, logits, 4, 12));
    const double want[CLASSES] = {
        (five * seven * three + twenty) / all,
        five * (seven * (1 - three) + 1 - seven) / all,
        six * (six_seven + (1 - six_seven) * eleven) / all,
        six * (1 - six_seven) * (1 - eleven) / all,
    };
    double sum = 0;
    for (int c = 0; c < CLASSES; c++)
        sum += exp((double)classes[c]);
    for (int c = 0; c < CLASSES; c++)
        assert_true(fabs(exp((double)classes[c]) / sum - want[c]) < 1e-6);
    assert_true(fabs(log(sum) - log(all)) < 1e-6);
    answer_tree_free(t);
}

/* Central differences of a weighted sum of the class logits; f32 results bound the step. */
static void test_gradient(void **state)
{
    (void)state;
    struct answer_tree *t = tree_of(forks);
    static const float by_class[CLASSES] = {0.7f, -1.3f, 0.2f, 0.9f};
    float logits[NODES * OUTPUTS], gradient[NODES * OUTPUTS], classes[CLASSES];
    draw_logits(logits, 2);
    answer_tree_gradient(t, logits, OUTPUTS, by_class, gradient);
    for (int i = 0; i < NODES * OUTPUTS; i++) {
        double sums[2];
        float kept = logits[i];
        for (int side = 0; side < 2; side++) {
            logits[i] = kept + (side ? 0.01f : -0.01f);
            answer_tree_logits(t, logits, OUTPUTS, classes);
            sums[side] = 0;
            for (int c = 0; c < CLASSES; c++)
                sums[side] += (double)by_class[c] * (double)classes[c];
        }
        logits[i] = kept;
        assert_true(fabs((sums[1] - sums[0]) / 0.02 - (double)gradient[i]) < 2e-4);
    }
    answer_tree_free(t);
}

static void test_mass(void **state)
{
    (void)state;
    struct answer_tree *t = tree_of(forks);
    float logits[NODES * OUTPUTS];
    const double norms[NODES] = {5, 6, 4, 7, 5.5};
    draw_logits(logits, 3);
    double want = exp(at(t, logits, 0, 20) - 5) +
                  exp(at(t, logits, 0, 5) - 5) *
                      (exp(at(t, logits, 1, 8) - 6) +
                       exp(at(t, logits, 1, 7) - 6) *
                           (exp(at(t, logits, 2, 3) - 4) + exp(at(t, logits, 2, 9) - 4))) +
                  exp(at(t, logits, 0, 6) - 5) *
                      (exp(at(t, logits, 3, 7) - 7) +
                       exp(at(t, logits, 3, 9) - 7) *
                           (exp(at(t, logits, 4, 11) - 5.5) + exp(at(t, logits, 4, 12) - 5.5)));
    assert_true(fabs(answer_tree_mass(t, logits, OUTPUTS, norms) - want) < 1e-9);
    answer_tree_free(t);
}

/* A branch's keys are copies of the sequence's own rows, then its own. */
static void test_batch(void **state)
{
    (void)state;
    struct answer_tree *t = tree_of(forks);
    static const int32_t tokens[] = {1, 40, 41, 42};
    struct batch b = {0};
    batch_add(&b, (struct sequence){tokens, 4}, t, 1, 17);
    batch_add(&b, (struct sequence){tokens, 4}, t, 0, 0);
    assert_int_equal(b.n_tokens, 3 + 4 + 4 + 4);
    assert_int_equal(b.n_spans, 4);
    assert_int_equal(b.n_reads, 10);
    assert_int_equal(b.max_position, 5);
    struct attention_span first = batch_span(&b, 0), branch = batch_span(&b, 1);
    assert_int_equal(first.queries, 5);
    assert_int_equal(first.keys, 5);
    assert_int_equal(branch.query_row, 5);
    assert_int_equal(branch.queries, 2);
    assert_int_equal(branch.keys, 3 + 2);
    assert_int_equal(branch.key_row, b.n_tokens);
    assert_int_equal(branch.prefix, 1);
    assert_int_equal(branch.prefix_row, 17);
    static const int32_t copies[] = {0, 1, 2, 5, 6, 7, 8, 9, 10, 13, 14};
    assert_int_equal(b.n_copies, 11);
    assert_memory_equal(b.copies, copies, sizeof copies);
    static const int32_t positions[] = {1, 2, 3, 4, 5, 4, 5};
    assert_memory_equal(b.positions, positions, sizeof positions);
    batch_free(&b);
    answer_tree_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),   cmocka_unit_test(test_plain),
        cmocka_unit_test(test_product), cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_mass),    cmocka_unit_test(test_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
