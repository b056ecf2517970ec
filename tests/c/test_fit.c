/* What work takes of a device's memory: against sums by hand for a model of 2 layers, width 32, 4
 * heads and 2 key heads of 8, MLP width 48, and against what scoring and training then hold. */
#include "common/plan/fit.h"
#include "common/train/ranks.h"
#include "common/util/mem.h"
#include "kernels/count/count_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char folder[] = "tests/data/engine/llama-tied";
static const int32_t classes[] = {3, 50, 95};
enum { CLASSES = 3, POSITIONS = 512 };

/* Products, embedding, class rows, norms; of each token, its span and its keys in 2 layers. */
static const double weights =
    4.0 * (2 * 32 * (2 * 8 * (4 + 2) + 3 * 48) + 96 * 32 + 3 * 32 + 5 * 32);
static const double token = 4.0 * (2 + 32 + 48 + 32 + 2 * 16 + 2 * 48);
static const double span = 4.0 * (2 * 6 + 2 + 32 + CLASSES);
static const double prefix_token = 4.0 * 2 * 2 * 16;
static const double positions = 4.0 * 2 * POSITIONS * 4;

/* What attention takes in the tests: 100 bytes for each query, and one for each key it is compared
 * with. */
static size_t attention_memory(struct device *d, const struct attention *a, bool backward)
{
    (void)d;
    (void)backward;
    size_t bytes = 0;
    for (int i = 0; i < a->n_spans; i++)
        bytes += (size_t)(a->spans_at[i].queries * (100 + a->spans_at[i].keys));
    return bytes;
}

/* The model on a counting device of so much memory. */
static struct model *open_model(double memory)
{
    struct machine machine = {
        .name = "test", .product_rate = 1, .f32_rate = 1, .bandwidth = 1, .memory = memory};
    struct device *d = count_device_open(F32, &machine);
    d->own_memory = true;
    struct model *m = model_open(folder);
    model_load(m, d);
    model_set_classes(m, classes, CLASSES);
    return m;
}

static void close_model(struct model *m)
{
    struct device *d = m->device;
    model_close(m);
    d->close(d);
}

static void a_pass_takes_what_its_buffers_add_up_to(void **state)
{
    (void)state;
    struct model *m = open_model(1e12);
    for (int tokens = 1; tokens <= 16384; tokens *= 4) {
        struct score_memory need =
            score_memory(m, NULL, (struct score_options){.batch_tokens = tokens, .share = true});
        assert_true(need.weights == weights && need.adapter == 0);
        assert_true(need.prefixes == prefix_token * tokens);
        assert_true(need.pass == (token + span) * tokens + positions);
        need = score_memory(m, NULL, (struct score_options){.batch_tokens = tokens});
        assert_true(need.prefixes == 0 && need.pass == (token + span) * tokens + positions);
    }
    assert_true(count_device_held(m->device) == weights);
    close_model(m);
}

static void an_adapter_takes_its_matrices_and_their_products(void **state)
{
    (void)state;
    struct model *m = open_model(1e12);
    struct adapter_settings settings = {.rank = 5, .alpha = 1, .targets = {[Q_PROJ] = true}};
    struct adapter *a = adapter_create(m->config, &settings, 0);
    struct score_memory need =
        score_memory(m, a, (struct score_options){.batch_tokens = 100, .share = true});
    /* A and B of two layers, each matrix beginning at a multiple of 16 floats; a row's A x. */
    assert_true(need.adapter == 4.0 * 2 * (160 + 160));
    assert_true(need.pass == (token + span + 4 * 5) * 100 + positions);
    adapter_free(a);
    close_model(m);
}

static void a_pass_takes_what_attention_takes_for_itself(void **state)
{
    (void)state;
    struct model *m = open_model(1e12);
    m->device->attention_memory = attention_memory;
    struct score_memory need =
        score_memory(m, NULL, (struct score_options){.batch_tokens = 50, .share = true});
    /* The buffers of 50 records, the scores of one of 50 tokens. */
    assert_true(need.pass == (token + span + 100 + 50) * 50 + positions);
    close_model(m);
}

static void the_batch_is_the_largest_that_fits(void **state)
{
    (void)state;
    for (int share = 0; share < 2; share++)
        for (int tokens = LEAST_BATCH_TOKENS; tokens <= MOST_BATCH_TOKENS; tokens *= 2) {
            double work = (token + span + 100 + tokens + share * prefix_token) * tokens + positions;
            for (int less = 0; less < 2; less++) {
                double available = work / 0.9 * (less ? 0.999 : 1.001);
                struct model *m = open_model(weights + available);
                m->device->attention_memory = attention_memory;
                int expected = less && tokens > LEAST_BATCH_TOKENS ? tokens / 2 : tokens;
                assert_int_equal(
                    fitting_batch_tokens(m, NULL, (struct score_options){.share = share}),
                    expected);
                close_model(m);
            }
        }
    struct model *m = open_model(0);
    assert_int_equal(fitting_batch_tokens(m, NULL, (struct score_options){.share = true}),
                     LEAST_BATCH_TOKENS);
    m->device->own_memory = false;
    assert_int_equal(fitting_batch_tokens(m, NULL, (struct score_options){.share = true}),
                     CPU_BATCH_TOKENS);
    close_model(m);
}

/* Records of all lengths, in groups that begin alike. */
static struct sequence *make_sequences(int n)
{
    struct sequence *s = xcalloc((size_t)n, sizeof *s);
    for (int i = 0; i < n; i++) {
        int length = 1 + i * 37 % 200;
        int32_t *tokens = xcalloc((size_t)length, sizeof *tokens);
        for (int k = 0; k < length; k++)
            tokens[k] = k < 60 ? (i % 7 + k) % 96 : (i * 31 + k) % 96;
        s[i] = (struct sequence){tokens, length};
    }
    return s;
}

static void free_sequences(struct sequence *s, int n)
{
    for (int i = 0; i < n; i++)
        free((int32_t *)s[i].tokens);
    free(s);
}

static void scoring_holds_no_more_than_was_planned(void **state)
{
    (void)state;
    enum { N = 3000 };
    struct sequence *s = make_sequences(N);
    float *logits = xcalloc(N * CLASSES, sizeof *logits);
    for (double available = 4e5; available < 4e7; available *= 3) {
        struct model *m = open_model(weights + available);
        int tokens = fitting_batch_tokens(m, NULL, (struct score_options){.share = true});
        assert_true(tokens > LEAST_BATCH_TOKENS);
        struct scorer *r =
            scorer_open(m, NULL, (struct score_options){.batch_tokens = tokens, .share = true});
        scorer_run(r, s, N, logits, NULL, NULL);
        double held = count_device_peak(m->device) - weights;
        assert_true(held <= 0.9 * available);
        /* Half of that would have been too little to run as large a batch. */
        assert_true(held > 0.2 * available || tokens == MOST_BATCH_TOKENS);
        scorer_close(r);
        close_model(m);
    }
    free(logits);
    free_sequences(s, N);
}

static void training_holds_no_more_than_was_planned(void **state)
{
    (void)state;
    enum { N = 90 };
    struct sequence *s = make_sequences(N);
    struct training_set set = {.n = N,
                               .n_classes = CLASSES,
                               .n_outputs = CLASSES,
                               .sequences = s,
                               .targets = xcalloc(N * CLASSES, sizeof *set.targets),
                               .class_tokens = (int32_t *)classes};
    struct trainer_settings settings = {
        .loss = {.kind = LOSS_SOFTMAX},
        .adapter = {.rank = 4, .alpha = 8, .targets = {[Q_PROJ] = true, [LM_HEAD] = true}},
        .adamw = ADAMW_DEFAULTS,
        .batch = 10,
        .accumulate = 1};
    struct model *m = open_model(1e12);
    struct training_set validation = set;
    validation.n = N / 2;
    struct train_memory need = train_memory(m, &settings, &set, &validation);
    assert_true(train_memory(m, &settings, &set, NULL).validation == 0);
    struct adapter *a = adapter_create(m->config, &settings.adapter, 0);
    struct ranks *ranks = ranks_open(RANKS_ALONE);
    struct trainer *t = trainer_open(m, a, &set, &settings, ranks);
    assert_true(need.weights == weights);
    assert_true(need.adapter == count_device_held(m->device) - weights);
    /* A, B, gradients and two averages: of q in two layers, of lm_head's class rows. */
    assert_true(need.adapter >= 4.0 * 4 * (2 * (4 * 32 + 32 * 4) + 4 * 32 + CLASSES * 4));
    int examples[10];
    for (int first = 0; first < N; first += 10) {
        for (int i = 0; i < 10; i++)
            examples[i] = first + i;
        trainer_step(t, &(struct step){.set = &set, .examples = examples, .n = 10});
    }
    double held = count_device_peak(m->device) - need.weights - need.adapter;
    assert_true(held <= need.pass && held > need.pass / 3);
    /* What training has taken stays while it validates. */
    struct scorer *r = scorer_open(m, trainer_lora(t), validation_options(NULL));
    float logits[N * CLASSES];
    scorer_run(r, s, validation.n, logits, NULL, NULL);
    scorer_close(r);
    double both = count_device_peak(m->device) - need.weights - need.adapter;
    assert_true(both > held && both <= held + need.validation);
    assert_true(both - held > need.validation / 10);
    trainer_close(t);
    ranks->close(ranks);
    adapter_free(a);
    close_model(m);
    free(set.targets);
    free_sequences(s, N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pass_takes_what_its_buffers_add_up_to),
        cmocka_unit_test(an_adapter_takes_its_matrices_and_their_products),
        cmocka_unit_test(a_pass_takes_what_attention_takes_for_itself),
        cmocka_unit_test(the_batch_is_the_largest_that_fits),
        cmocka_unit_test(scoring_holds_no_more_than_was_planned),
        cmocka_unit_test(training_holds_no_more_than_was_planned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
