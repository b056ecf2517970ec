/* The profiling device: that it stands for all of the device it times, changes nothing that comes
 * out, and counts what a plan counts. */
#include "common/plan/plan.h"
#include "common/plan/profile_device.h"
#include "common/util/clock.h"
#include "common/util/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char folder[] = "tests/data/engine/llama-tied";
static const char config[] = "tests/data/engine/llama-tied/config.json";
static const int32_t classes[] = {3, 50, 95};
enum { CLASSES = 3, N = 6, SHARED = 9, LONGEST = SHARED + N };

typedef void function(void);

static function *slot(const struct device *d, size_t at)
{
    function *f;
    memcpy(&f, (const char *)d + at, sizeof f);
    return f;
}

/* A slot with the inner device's own function would be called with a state that is not its own. */
static void check_slots(struct device *inner)
{
    struct device *d = profile_device_open(inner, clock_seconds());
    size_t first = offsetof(struct device, close), last = offsetof(struct device, adamw);
    for (size_t at = first; at <= last; at += sizeof(function *)) {
        if (!slot(d, at) != !slot(inner, at))
            fail_msg("the operation in place %zu is there in one device only",
                     (at - first) / sizeof(function *));
        if (slot(d, at) && slot(d, at) == slot(inner, at))
            fail_msg("the operation in place %zu is the inner device's",
                     (at - first) / sizeof(function *));
    }
    d->close(d);
}

static size_t some_memory(struct device *d, const struct attention *a, bool backward)
{
    (void)d;
    (void)a;
    return backward ? 2 : 1;
}

static void it_has_the_operations_of_the_inner_device(void **state)
{
    (void)state;
    check_slots(cpu_device_open(F32, 1));
    struct device *other = cpu_device_open(F32, 1);
    other->gated_matmul = NULL;
    other->attention_memory = some_memory;
    check_slots(other);
}

/* N of them, with a common beginning. */
static const struct sequence *sequences(void)
{
    static int32_t tokens[N][LONGEST];
    static struct sequence s[N];
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < LONGEST; k++)
            tokens[i][k] = k < SHARED ? k : 40 + i + k;
        s[i] = (struct sequence){tokens[i], SHARED + 1 + i};
    }
    return s;
}

static void score(struct device *d, float *logits)
{
    const struct sequence *s = sequences();
    struct model *m = model_open(folder);
    model_load(m, d);
    model_set_classes(m, classes, CLASSES);
    struct scorer *r =
        scorer_open(m, NULL, (struct score_options){.batch_tokens = 2048, .share = true});
    scorer_run(r, s, N, logits, NULL, NULL);
    scorer_close(r);
    model_close(m);
}

static struct plan *plan_of_score(void)
{
    static const struct machine unit = {
        .title = "unit", .product_rate = 1, .f32_rate = 1, .bandwidth = 1, .memory = 1e12};
    struct plan_settings settings = {
        .stage = PLAN_SCORE, .compute = F32, .score = {.batch_tokens = 2048, .share = true}};
    const struct sequence *s = sequences();
    return plan_make(config, &unit, &settings, s, N, classes, CLASSES);
}

/* What a plan has of an operation, over all shapes of matrices. */
static struct profile_line planned(const struct plan *p, const char *name)
{
    struct profile_line sum = {.name = name};
    for (size_t i = 0; i < p->n_operations; i++) {
        const struct operation_count *o = &p->operations[i];
        if (strcspn(o->name, " ") != strlen(name) || strncmp(o->name, name, strlen(name)) != 0)
            continue;
        sum.calls += o->calls;
        sum.flops += o->flops;
        sum.bytes += o->bytes_read + o->bytes_written;
    }
    return sum;
}

static struct profile_line measured(const struct device *d, const char *name)
{
    size_t n;
    struct profile_line *lines = profile_device_lines(d, &n), found = {.name = name};
    for (size_t i = 0; i < n; i++)
        if (!strcmp(lines[i].name, name))
            found = lines[i];
    free(lines);
    return found;
}

static void logits_are_the_same_and_counts_the_plans(void **state)
{
    (void)state;
    /* Not embed: a plan takes the table to be bf16. Nor upload: it leaves the weights' out. */
    static const char *const names[] = {"matmul", "glu",          "attention", "rmsnorm",
                                        "rope",   "class_logits", "gather",    "download"};
    struct plan *p = plan_of_score();
    struct device *plain = cpu_device_open(F32, 1), *two_products = cpu_device_open(F32, 1);
    two_products->gated_matmul = NULL; /* as the counting device does it */
    struct device *d = profile_device_open(two_products, clock_seconds());
    float logits[N * CLASSES], profiled[N * CLASSES];
    score(plain, logits);
    score(d, profiled);
    assert_memory_equal(logits, profiled, sizeof logits);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct profile_line a = planned(p, names[i]), b = measured(d, names[i]);
        assert_true(b.calls > 0 && b.seconds > 0);
        if (a.calls != b.calls || a.flops != b.flops || a.bytes != b.bytes)
            fail_msg("%s: %lu calls, %.0f FLOPs, %.0f bytes; planned: %lu, %.0f, %.0f", names[i],
                     b.calls, b.flops, b.bytes, a.calls, a.flops, a.bytes);
    }
    assert_int_equal(measured(d, "weights").calls, 14); /* 7 in each of 2 layers */
    plain->close(plain);
    d->close(d);
    plan_free(p);
}

static void a_gated_product_is_two_and_glu(void **state)
{
    (void)state;
    struct plan *p = plan_of_score();
    struct device *plain = cpu_device_open(F32, 1);
    struct device *d = profile_device_open(cpu_device_open(F32, 1), clock_seconds());
    float logits[N * CLASSES], profiled[N * CLASSES];
    score(plain, logits);
    score(d, profiled);
    assert_memory_equal(logits, profiled, sizeof logits);
    struct profile_line gated = measured(d, "gated_matmul"), products = measured(d, "matmul");
    struct profile_line two = planned(p, "matmul"), glu = planned(p, "glu");
    assert_true(gated.flops + products.flops == two.flops + glu.flops);
    assert_int_equal(2 * gated.calls + products.calls, two.calls);
    /* Less goes through memory: neither the products nor, a second time, what they are of. */
    assert_true(gated.bytes > 0);
    assert_true(gated.bytes + products.bytes < two.bytes + glu.bytes);
    plain->close(plain);
    d->close(d);
    plan_free(p);
}

/* The machine is known by the name that the driver gives it. */
static void the_bound_is_the_plans(void **state)
{
    (void)state;
    static const char *const machines[] = {"h200", "cuda:1 (NVIDIA H200)", "h100",
                                           "cuda:0 (NVIDIA H100 80GB HBM3)"};
    for (int i = 0; i < 4; i += 2) {
        struct plan_settings settings = {
            .stage = PLAN_SCORE, .compute = F32, .score = {.batch_tokens = 2048, .share = true}};
        struct plan *p = plan_make(config, machine_find(machines[i]), &settings, sequences(), N,
                                   classes, CLASSES);
        struct device *inner = cpu_device_open(F32, 1);
        inner->gated_matmul = NULL;
        inner->description = machines[i + 1];
        struct device *d = profile_device_open(inner, clock_seconds());
        float logits[N * CLASSES];
        score(d, logits);
        double bound = 0;
        for (size_t k = 0; k < p->n_operations; k++)
            if (!strncmp(p->operations[k].name, "matmul ", 7))
                bound += p->operations[k].seconds;
        assert_true(bound > 0 && fabs(measured(d, "matmul").bound - bound) <= 1e-12 * bound);
        d->close(d);
        plan_free(p);
    }
    struct device *d = profile_device_open(cpu_device_open(F32, 1), clock_seconds());
    float logits[N * CLASSES];
    score(d, logits);
    assert_true(measured(d, "matmul").bound == 0);
    d->close(d);
    assert_null(machine_described("cuda:0 (NVIDIA H200 NVL)"));
    assert_null(machine_described("cpu (2 threads, avx2)"));
    assert_null(machine_described("cpu)("));
    assert_null(machine_find("H200"));
}

static int waited;

static void wait_or_copy(struct device *d, void *to, const void *from, size_t bytes)
{
    (void)d;
    waited++;
    if (bytes)
        memcpy(to, from, bytes);
}

static void it_waits_where_operations_are_queued(void **state)
{
    (void)state;
    float x[2] = {1, 2};
    for (int queues = 0; queues < 2; queues++) {
        struct device *inner = cpu_device_open(F32, 1);
        inner->name = queues ? "cuda" : "cpu";
        inner->download = wait_or_copy;
        waited = 0;
        struct device *d = profile_device_open(inner, clock_seconds());
        assert_string_equal(d->name, inner->name);
        d->scale(d, 2, x, 2);
        assert_int_equal(waited, queues);
        d->close(d);
    }
    assert_true(x[0] == 4 && x[1] == 8);
}

static void the_programs_advice_reaches_the_inner_device(void **state)
{
    (void)state;
    struct device *inner = cpu_device_open(F32, 1);
    struct device *d = profile_device_open(inner, clock_seconds());
    d->advice = "lower --batch";
    d->release(d, d->alloc(d, 1));
    assert_string_equal(inner->advice, "lower --batch");
    d->close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_the_operations_of_the_inner_device),
        cmocka_unit_test(logits_are_the_same_and_counts_the_plans),
        cmocka_unit_test(a_gated_product_is_two_and_glu),
        cmocka_unit_test(the_bound_is_the_plans),
        cmocka_unit_test(it_waits_where_operations_are_queued),
        cmocka_unit_test(the_programs_advice_reaches_the_inner_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
