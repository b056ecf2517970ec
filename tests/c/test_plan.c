/* The counting device under the real engine: its FLOPs against formulas written out by hand,
 * against the engine's own counts, and against what torch.utils.flop_counter recorded of
 * transformers (tests/oracle/flops.py). Counts are whole numbers: they must be equal. */
#include "common/model/backward.h"
#include "common/plan/plan.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const char config[] = "tests/data/plan/config.json";

/* That file's. */
enum { WIDTH = 32, MLP = 48, LAYERS = 2, HEADS = 4, KV = 16, Q = 32, HEAD_DIM = 8, VOCAB = 96 };
static const double kv_flops = 2.0 * 2 * KV * WIDTH;
static const double rest_flops = 2.0 * (2 * Q * WIDTH + 3 * MLP * WIDTH); /* q, o, mlp */
static const double pair_flops = 4.0 * HEADS * HEAD_DIM;

static const int32_t classes[] = {3, 50};
/* 1 TFLOP/s, 1 TB/s: seconds are 1e-12 of FLOPs or bytes. */
static const struct machine unit = {
    .title = "unit", .product_rate = 1e12, .f32_rate = 1e12, .bandwidth = 1e12, .memory = 1e12};

static struct plan_settings scoring(int batch_tokens, bool share)
{
    return (struct plan_settings){.stage = PLAN_SCORE,
                                  .compute = F32,
                                  .stored = BF16,
                                  .score = {.batch_tokens = batch_tokens, .share = share}};
}

static double pairs(double n)
{
    return n * (n + 1) / 2;
}

/* Products of weights and of attention. */
static double product_flops(const struct operation_count *o, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (!strncmp(o[i].name, "matmul", strlen("matmul")))
            sum += o[i].flops;
        if (!strcmp(o[i].name, "attention"))
            sum += 4.0 * HEAD_DIM * o[i].attended_pairs;
    }
    return sum;
}

static const struct operation_count *operation(const struct operation_count *o, size_t n,
                                               const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(o[i].name, name))
            return &o[i];
    fail_msg("operation %s was not called", name);
    return NULL;
}

/* Sequences whose first `shared` tokens are the same. */
static struct sequence *make_sequences(int n, int shared, const int *own)
{
    struct sequence *s = xcalloc((size_t)n, sizeof *s);
    for (int i = 0; i < n; i++) {
        int32_t *t = xcalloc((size_t)(shared + own[i]), sizeof *t);
        t[shared] = 1 + i;
        s[i] = (struct sequence){t, shared + own[i]};
    }
    return s;
}

static void free_sequences(struct sequence *s, int n)
{
    for (int i = 0; i < n; i++)
        free((void *)s[i].tokens);
    free(s);
}

/* Past the last layer's keys and values a sequence is its last token. */
static void a_sequence_costs_what_the_formula_says(void **state)
{
    (void)state;
    struct plan_settings settings = scoring(2048, false);
    for (int n = 1; n <= 101; n += 25) {
        struct sequence *s = make_sequences(1, 0, &n);
        struct plan *p = plan_make(config, &unit, &settings, s, 1, classes, 2);
        double layer = n * (kv_flops + rest_flops) + pair_flops * pairs(n);
        double last = n * kv_flops + rest_flops + pair_flops * n;
        assert_true(product_flops(p->operations, p->n_operations) == layer + last);
        assert_true(operation(p->operations, p->n_operations, "class_logits")->flops ==
                    2.0 * 2 * WIDTH);
        plan_free(p);
        free_sequences(s, 1);
    }
}

static void a_shared_prefix_is_counted_once(void **state)
{
    (void)state;
    enum { N = 5, SHARED = 30 };
    static const int own[N] = {4, 9, 1, 17, 6};
    struct plan_settings settings = scoring(2048, true);
    struct sequence *s = make_sequences(N, SHARED, own);
    struct plan *p = plan_make(config, &unit, &settings, s, N, classes, 2);
    /* Of the prefix's last layer keys and values are all there is. */
    double expected = 2.0 * SHARED * kv_flops + SHARED * rest_flops + pair_flops * pairs(SHARED);
    int computed = SHARED;
    for (int i = 0; i < N; i++) {
        double n = own[i];
        expected += n * (kv_flops + rest_flops) + pair_flops * (pairs(n) + n * SHARED);
        expected += n * kv_flops + rest_flops + pair_flops * (n + SHARED);
        computed += own[i];
    }
    assert_true(product_flops(p->operations, p->n_operations) == expected);
    assert_int_equal(p->computed, computed);
    assert_int_equal(p->passes, 2);
    assert_int_equal(p->prefixes, 1);
    plan_free(p);
    free_sequences(s, N);
}

/* Against the scorer on a CPU. Its own estimate of the work has the last layer whole. */
static void counts_are_the_scorers(void **state)
{
    (void)state;
    enum { N = 8, SHARED = 21 };
    static const int own[N] = {4, 9, 1, 17, 6, 40, 2, 11};
    struct sequence *s = make_sequences(N, SHARED, own);
    for (int share = 0; share < 2; share++) {
        struct plan_settings settings = scoring(40, share);
        struct plan *p = plan_make(config, &unit, &settings, s, N, classes, 2);
        struct model *m = model_without_weights(config, F32);
        struct device *d = cpu_device_open(F32, 0);
        model_load(m, d);
        model_set_classes(m, classes, 2);
        struct scorer *r = scorer_open(m, NULL, settings.score);
        float logits[2 * N];
        scorer_run(r, s, N, logits, NULL, NULL);
        struct score_counts counts = scorer_counts(r);
        assert_int_equal(p->tokens, counts.tokens);
        assert_int_equal(p->computed, counts.computed);
        assert_int_equal(p->passes, counts.passes);
        assert_int_equal(p->prefixes, counts.prefixes);
        double saved = 0;
        if (share)
            saved += SHARED * rest_flops + pair_flops * pairs(SHARED);
        for (int i = 0; i < N; i++) {
            double n = share ? own[i] : SHARED + own[i], before = share ? SHARED : 0;
            saved += (n - 1) * rest_flops + pair_flops * (pairs(n) + n * before - (n + before));
        }
        double estimate =
            2 * (model_products(m) * (double)counts.computed + counts.attention_products);
        assert_true(product_flops(p->operations, p->n_operations) == estimate - saved);
        scorer_close(r);
        model_close(m);
        d->close(d);
        plan_free(p);
    }
    free_sequences(s, N);
}

/* torch counts all pairs of the square, and nothing again on the way back. */
static void counts_are_those_of_torch(void **state)
{
    (void)state;
    json_t *recorded = json_read_file("tests/data/plan/flops.json");
    int n = (int)json_integer_value(json_object_get(recorded, "tokens"));
    json_t *forward = json_object_get(recorded, "forward");
    const char *name;
    json_t *value;
    double linear = 0;
    json_object_foreach(forward, name, value)
    {
        if (strcmp(name, "attention") != 0)
            linear += json_number_value(value);
    }
    assert_true(linear == n * (kv_flops + rest_flops));
    double square = json_number_value(json_object_get(forward, "attention"));
    assert_true(square == pair_flops * n * n);
    assert_true(json_number_value(json_object_get(recorded, "layer_forward")) == linear + square);

    /* The first layer is whole; of the last only keys and values are. */
    struct sequence *s = make_sequences(1, 0, &n);
    struct model *m = model_without_weights(config, BF16);
    struct device *d = count_device_open(F32, &unit);
    model_load(m, d);
    model_set_classes(m, classes, 2);
    struct adapter_settings settings = {.rank = 4, .alpha = 8};
    adapter_targets(ADAPTER_TARGETS, &settings);
    struct adapter *a = adapter_create(m->config, &settings, 0);
    struct lora_set *lora = lora_load(d, a, classes, 2);
    struct backward *b = backward_open(m, lora, 0);
    lora_arrays(lora);
    count_device_reset(d);
    backward_logits(b, &(struct pass){.sequences = s, .n = 1, .parts = 1});
    size_t count;
    const struct operation_count *o = count_device_operations(d, &count);
    double last = n * kv_flops + rest_flops + pair_flops * n;
    assert_true(product_flops(o, count) == linear + pair_flops * pairs(n) + last);

    count_device_reset(d);
    backward_gradients(b);
    o = count_device_operations(d, &count);
    double back = 0;
    for (size_t i = 0; i < count; i++)
        if (!strncmp(o[i].name, "matmul_backward", strlen("matmul_backward")))
            back += o[i].flops;
    /* torch's backward of the linear part is the forward's size, of attention twice that. Ours: the
     * last layer whole; of the first, below which nothing is trained, all but q, k and v. */
    assert_true(json_number_value(json_object_get(recorded, "layer_backward")) ==
                linear + 2 * square);
    double o_and_mlp = rest_flops - 2.0 * Q * WIDTH;
    assert_true(back == n * kv_flops + rest_flops + n * o_and_mlp);
    double all_pairs = operation(o, count, "attention_backward")->attended_pairs;
    assert_true(all_pairs == HEADS * (pairs(n) + n));
    backward_close(b);
    lora_free(lora);
    adapter_free(a);
    model_close(m);
    d->close(d);
    free_sequences(s, 1);
    json_decref(recorded);
}

/* Pairs one by one, for every window. */
static void windows_leave_the_pairs_that_they_should(void **state)
{
    (void)state;
    struct device *d = count_device_open(F32, &unit);
    static const struct attention_span spans[] = {
        {0, 7, 0, 7, 0, 0}, {7, 5, 7, 5, 0, 11}, {12, 1, 12, 9, 0, 11}, {21, 0, 21, 4, 0, 0}};
    enum { SPANS = sizeof spans / sizeof *spans };
    for (int window = 0; window < 30; window++) {
        double seen = 0;
        for (int i = 0; i < SPANS; i++)
            for (int j = 0; j < spans[i].queries; j++) {
                int at = spans[i].prefix + spans[i].keys - spans[i].queries + j;
                for (int k = 0; k <= at; k++)
                    seen += !window || at - k < window;
            }
        count_device_reset(d);
        d->attention(d, &(struct attention){.spans_at = spans,
                                            .n_spans = SPANS,
                                            .heads = 3,
                                            .kv_heads = 1,
                                            .head_dim = 8,
                                            .window = window});
        size_t n;
        const struct operation_count *o = count_device_operations(d, &n);
        assert_int_equal(n, 1);
        assert_true(o->attended_pairs == 3 * seen);
    }
    d->close(d);
}

static void time_is_the_slowest_resource_of_each_call(void **state)
{
    (void)state;
    struct machine m = {.product_rate = 4e9, .f32_rate = 2e9, .bandwidth = 1e9, .link = 1e6};
    struct device *d = count_device_open(BF16, &m);
    struct weight *w = d->weight_create(d, NULL, BF16, 30, 20);
    d->matmul(d, w, NULL, NULL, NULL, 1000, false);
    d->matmul(d, w, NULL, NULL, NULL, 1, true);
    float zeros[3] = {1, 1, 1};
    d->download(d, zeros, NULL, sizeof zeros);
    assert_true(zeros[0] == 0 && zeros[2] == 0);
    size_t n;
    const struct operation_count *o = count_device_operations(d, &n);
    assert_int_equal(n, 2);
    assert_string_equal(o[0].name, "matmul 30x20");
    /* x 2 bytes, W 2 bytes, y 4 bytes and read once more when added to */
    double many = 1000 * 20 * 2 + 600 * 2 + 1000 * 30 * 4, one = 20 * 2 + 600 * 2 + 30 * 4 * 2;
    assert_true(o[0].bytes_read + o[0].bytes_written == many + one);
    double compute = 2.0 * 1000 * 600 / 4e9;
    assert_true(fabs(o[0].limited[COMPUTE] - compute) < 1e-15);
    assert_true(fabs(o[0].limited[MEMORY] - one / 1e9) < 1e-15);
    assert_true(fabs(o[0].seconds - compute - one / 1e9) < 1e-15);
    assert_true(fabs(o[1].limited[LINK] - 12 / 1e6) < 1e-15);
    d->weight_free(d, w);
    d->close(d);
}

static void memory_is_what_is_held(void **state)
{
    (void)state;
    struct plan_settings settings = scoring(2048, false);
    settings.compute = BF16;
    int n = 64;
    struct sequence *s = make_sequences(1, 0, &n);
    struct plan *p = plan_make(config, &unit, &settings, s, 1, classes, 2);
    /* Matrices and the embedding in 2 bytes; norms and the classes' output rows in 4. */
    double matrices = LAYERS * (kv_flops + rest_flops) / 2;
    double expected = 2 * (matrices + VOCAB * WIDTH) + 4.0 * (2 * LAYERS + 1 + 2) * WIDTH;
    assert_true(p->weights == expected);
    assert_true(p->adapter == 0);
    /* tokens, positions; x, in, q, k, v, gate, up; one span's; two rotation tables */
    double rows = n * (4 + 4 + 4 * WIDTH + 2 * MLP + 4 * Q + 2 * 4 * KV + 2 * 4 * MLP);
    double spans = 2 * sizeof(struct attention_span) + 8 + 4 * WIDTH + 4 * 2;
    assert_true(p->working == rows + spans + 2.0 * 4 * n * HEAD_DIM / 2);
    plan_free(p);
    free_sequences(s, 1);
}

static void an_epoch_has_its_passes_and_its_adapter(void **state)
{
    (void)state;
    enum { N = 7 };
    static const int own[N] = {4, 9, 1, 17, 6, 40, 2};
    struct sequence *s = make_sequences(N, 10, own);
    struct plan_settings settings = {.stage = PLAN_TRAIN,
                                     .compute = BF16,
                                     .stored = BF16,
                                     .adapter = {.rank = 4, .alpha = 8, .dropout = 0.05},
                                     .batch = 2,
                                     .accumulate = 2,
                                     .epochs = 1};
    adapter_targets("q,lm_head", &settings.adapter);
    struct plan *p = plan_make(config, &unit, &settings, s, N, classes, 2);
    assert_int_equal(p->passes, 4);
    int computed = 0;
    for (int i = 0; i < N; i++)
        computed += own[i] + (i % 2 == 0 ? 10 : 0);
    assert_int_equal(p->computed, computed);
    /* A and B of q in each layer, lm_head's A and, in the room of four, two rows of B: values, also
     * in bf16, gradients and AdamW's two averages. Of a step's four examples two numbers each and
     * the norm; of a pass's two, for each class, a target and two of work, and a weight. */
    double numbers = 4 * (LAYERS * (WIDTH + Q) + WIDTH + 4);
    assert_true(p->adapter == (4 * 4 + 2) * numbers + 8 * (1 + 2 * 4) + 8 * 2 * (3 * 2 + 1));
    const struct operation_count *adamw = operation(p->operations, p->n_operations, "adamw");
    assert_int_equal(adamw->launches, 2); /* seven examples make two steps */
    assert_true(adamw->bytes_read == 2 * 4 * 4 * numbers);
    /* All that crosses. Back come two numbers for each example, and each step's norm. There go each
     * row's token and position, each last row's number and position, two spans for each sequence
     * and for each of the three prefixes, targets, and the three rotation tables whenever they
     * grow. */
    assert_true(operation(p->operations, p->n_operations, "download")->bytes_read ==
                8 * (2 * N + 2));
    double there = 8.0 * computed + 8 * N + 2.0 * sizeof(struct attention_span) * (N + 3) +
                   8.0 * N * 2 + 3.0 * 4 * (19 + 27 + 50) * HEAD_DIM / 2;
    assert_true(operation(p->operations, p->n_operations, "upload")->bytes_written == there);
    plan_free(p);
    free_sequences(s, N);
}

/* Of one pass over a sequence with an adapter of q, or of q and the MLP's first two. */
static void what_no_adapter_reads_is_not_converted(void **state)
{
    (void)state;
    static const int own[] = {12};
    struct sequence *s = make_sequences(1, 10, own);
    struct plan_settings settings = {.stage = PLAN_TRAIN,
                                     .compute = BF16,
                                     .stored = BF16,
                                     .adapter = {.rank = 4, .alpha = 8},
                                     .batch = 1,
                                     .accumulate = 1,
                                     .epochs = 1};
    for (int mlp = 0; mlp < 2; mlp++) {
        adapter_targets(mlp ? "q,gate,up" : "q", &settings.adapter);
        struct plan *p = plan_make(config, &unit, &settings, s, 1, classes, 2);
        /* The adapter, once. Forward in each layer: what q's A gave, and two copies of the residual
         * stream. Backward in each: the gradients by what down and o gave, and by what q's A gave;
         * in the upper layer also those by q, k and v, in the lower one by q; there its forward
         * pass, again, without its last copy. */
        unsigned long calls = 1 + 2 * 3 + 2 * 3 + 3 + 1 + 2;
        /* Of gate and up: what their A gave, forward, in the lower layer again, and both gradients
         * by that. */
        if (mlp)
            calls += 2 + 1 + 2 * 2;
        assert_int_equal(operation(p->operations, p->n_operations, "convert")->calls, calls);
        plan_free(p);
        settings.adapter.dropout = 0.05; /* is no conversion */
        p = plan_make(config, &unit, &settings, s, 1, classes, 2);
        assert_int_equal(operation(p->operations, p->n_operations, "convert")->calls, calls);
        plan_free(p);
        settings.adapter.dropout = 0;
    }
    free_sequences(s, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequence_costs_what_the_formula_says),
        cmocka_unit_test(a_shared_prefix_is_counted_once),
        cmocka_unit_test(counts_are_the_scorers),
        cmocka_unit_test(counts_are_those_of_torch),
        cmocka_unit_test(windows_leave_the_pairs_that_they_should),
        cmocka_unit_test(time_is_the_slowest_resource_of_each_call),
        cmocka_unit_test(memory_is_what_is_held),
        cmocka_unit_test(an_epoch_has_its_passes_and_its_adapter),
        cmocka_unit_test(what_no_adapter_reads_is_not_converted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
