/* The engine against transformers: tests/data/engine holds small random models and the class logits
 * tests/oracle/engine.py recorded from them in f32. And the engine against itself: what a batch
 * holds besides a text must not show in its logits. */
#include "common/score/score.h"
#include "common/util/json.h"
#include "common/util/mem.h"
#include "common/util/threads.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const char folder[] = "tests/data/engine";
static const char *const names[] = {
    "mistral-window", "mistral-shards", "llama-tied", "llama-bias",   "llama3-rope",
    "llama-linear",   "llama-yarn",     "qwen2-bias", "qwen2-window", "llama-odd-heads",
    "qwen3",          "qwen3-window",   "gemma2",     "gemma3",       "smollm3",
    "phi3",           "phi4-mini",      "granite",    "olmo2",        "ministral",
    "ministral3"};
enum { CASES = sizeof names / sizeof *names };

static json_t *recorded;

static struct {
    struct model *model;
    struct device *device;
    struct sequence *sequences;
    int n, classes;
    float *expected;
} the;

/* The model in `path`, asked what the case `name` is, with these answers. */
static void open_model(const char *path, const char *name, const json_t *logits, enum dtype compute)
{
    const json_t *c = json_object_get(recorded, name);
    const json_t *tokens = json_object_get(c, "tokens");
    const json_t *classes = json_object_get(c, "class_tokens");
    the.model = model_open(path);
    the.device = cpu_device_open(compute, 0);
    model_load(the.model, the.device);
    the.classes = (int)json_array_size(classes);
    int32_t class_tokens[8];
    assert_in_range(the.classes, 1, 8);
    for (int i = 0; i < the.classes; i++)
        class_tokens[i] = (int32_t)json_integer_value(json_array_get(classes, (size_t)i));
    model_set_classes(the.model, class_tokens, the.classes);
    the.n = (int)json_array_size(tokens);
    the.sequences = xcalloc((size_t)the.n, sizeof *the.sequences);
    the.expected = xcalloc((size_t)(the.n * the.classes), sizeof *the.expected);
    for (int i = 0; i < the.n; i++) {
        const json_t *list = json_array_get(tokens, (size_t)i);
        int n = (int)json_array_size(list);
        int32_t *ids = xcalloc((size_t)n, sizeof *ids);
        for (int k = 0; k < n; k++)
            ids[k] = (int32_t)json_integer_value(json_array_get(list, (size_t)k));
        the.sequences[i] = (struct sequence){ids, n};
        for (int k = 0; k < the.classes; k++)
            the.expected[i * the.classes + k] = (float)json_number_value(
                json_array_get(json_array_get(logits, (size_t)i), (size_t)k));
    }
}

static void open_case(const char *name, enum dtype compute)
{
    char *path = xasprintf("%s/%s", folder, name);
    open_model(path, name, json_object_get(json_object_get(recorded, name), "logits"), compute);
    free(path);
}

static void close_case(void)
{
    for (int i = 0; i < the.n; i++)
        free((void *)the.sequences[i].tokens);
    free(the.sequences);
    free(the.expected);
    model_close(the.model);
    the.device->close(the.device);
}

static float *score(const struct sequence *s, int n, int batch_tokens, bool share)
{
    struct scorer *r = scorer_open(
        the.model, NULL, (struct score_options){.batch_tokens = batch_tokens, .share = share});
    float *logits = xcalloc((size_t)(n * the.classes), sizeof *logits);
    scorer_run(r, s, n, logits, NULL, NULL);
    scorer_close(r);
    return logits;
}

static double largest_difference(const float *a, const float *b)
{
    double worst = 0;
    for (int i = 0; i < the.n * the.classes; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

static void logits_are_those_of_transformers(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++) {
        open_case(names[c], F32);
        float *logits = score(the.sequences, the.n, 2048, true);
        double worst = largest_difference(logits, the.expected);
        if (!(worst < 5e-5))
            fail_msg("%s: a logit is off by %g", names[c], worst);
        free(logits);
        close_case();
    }
}

static void link_file(const char *from, const char *to, const char *name)
{
    char *source = realpath(from, NULL), *target = xasprintf("%s/%s", to, name);
    assert_non_null(source);
    assert_int_equal(symlink(source, target), 0);
    free(source);
    free(target);
}

/* A folder with the files of a recorded one, but for what is changed. */
static void make_changed(const json_t *change, const char *to)
{
    char *of = xasprintf("%s/%s", folder, json_string_value(json_object_get(change, "of")));
    char *weights = xasprintf("%s/model.safetensors", of);
    char *config = xasprintf("%s/config.json", of), *target = xasprintf("%s/config.json", to);
    json_t *settings = json_read_file(config), *value;
    const char *key;
    json_object_foreach(json_object_get(change, "config"), key, value)
    {
        if (json_is_null(value))
            json_object_del(settings, key);
        else
            json_object_set(settings, key, value);
    }
    assert_int_equal(json_dump_file(settings, target, 0), 0);
    link_file(weights, to, "model.safetensors");
    json_object_foreach(json_object_get(change, "files"), key, value)
    {
        char *from = xasprintf("%s/%s", folder, json_string_value(value));
        link_file(from, to, key);
        free(from);
    }
    json_decref(settings);
    free(of);
    free(weights);
    free(config);
    free(target);
}

static void remove_folder(const char *path)
{
    char *command = xasprintf("rm -r '%s'", path);
    assert_int_equal(system(command), 0);
    free(command);
}

/* tests/oracle/engine_folders.py recorded them. */
static void folders_are_read_as_transformers_reads_them(void **state)
{
    (void)state;
    json_t *changes = json_read_file("tests/data/engine/folders.json"), *change;
    size_t i;
    assert_true(json_array_size(changes) >= 10);
    json_array_foreach(changes, i, change)
    {
        const char *name = json_string_value(json_object_get(change, "name"));
        char path[] = "/tmp/test_engine.XXXXXX";
        assert_non_null(mkdtemp(path));
        make_changed(change, path);
        open_model(path, json_string_value(json_object_get(change, "of")),
                   json_object_get(change, "logits"), F32);
        float *logits = score(the.sequences, the.n, 2048, true);
        double worst = largest_difference(logits, the.expected);
        if (!(worst < 5e-5))
            fail_msg("%s: a logit is off by %g", name, worst);
        free(logits);
        close_case();
        remove_folder(path);
    }
    json_decref(changes);
}

static void bf16_products_stay_near(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++) {
        open_case(names[c], BF16);
        float *logits = score(the.sequences, the.n, 2048, true);
        double worst = largest_difference(logits, the.expected);
        if (!(worst < 0.15))
            fail_msg("%s: a logit is off by %g", names[c], worst);
        free(logits);
        close_case();
    }
}

static void check_same(const char *what, const float *a, const float *b, const int *order)
{
    for (int i = 0; i < the.n; i++)
        for (int k = 0; k < the.classes; k++) {
            float x = a[i * the.classes + k];
            float y = b[(order ? order[i] : i) * the.classes + k];
            if (x != y)
                fail_msg("%s: sequence %d, class %d: %.9g is not %.9g", what, i, k, (double)x,
                         (double)y);
        }
}

static void neighbours_batches_sharing_and_threads_do_not_show(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++) {
        open_case(names[c], c % 2 ? BF16 : F32);
        float *whole = score(the.sequences, the.n, 2048, true);
        static const int batches[] = {1, 64, 100, 333};
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
            for (int share = 0; share < 2; share++) {
                float *other = score(the.sequences, the.n, batches[b], share);
                check_same(names[c], other, whole, NULL);
                free(other);
            }
        float *unshared = score(the.sequences, the.n, 4096, false);
        check_same("unshared", unshared, whole, NULL);
        free(unshared);

        int order[64];
        struct sequence shuffled[64];
        assert_in_range(the.n, 1, 64);
        for (int i = 0; i < the.n; i++) {
            order[i] = (i * 7 + 3) % the.n; /* 7 and n have no common factor */
            shuffled[i] = the.sequences[order[i]];
        }
        float *moved = score(shuffled, the.n, 200, true);
        check_same("shuffled", moved, whole, order);
        free(moved);

        float *alone = xcalloc((size_t)(the.n * the.classes), sizeof *alone);
        for (int i = 0; i < the.n; i++) {
            float *one = score(&the.sequences[i], 1, 2048, true);
            memcpy(alone + i * the.classes, one, (size_t)the.classes * sizeof *one);
            free(one);
        }
        check_same("alone", alone, whole, NULL);
        free(alone);

        int threads = threads_count();
        threads_set(threads == 1 ? 3 : 1);
        float *threaded = score(the.sequences, the.n, 2048, true);
        check_same("threads", threaded, whole, NULL);
        free(threaded);
        threads_set(threads);
        free(whole);
        close_case();
    }
}

static void prefixes_are_computed_once(void **state)
{
    (void)state;
    open_case("llama-tied", F32);
    struct scorer *r =
        scorer_open(the.model, NULL, (struct score_options){.batch_tokens = 2048, .share = true});
    float *logits = xcalloc((size_t)(the.n * the.classes), sizeof *logits);
    scorer_run(r, the.sequences, the.n, logits, NULL, NULL);
    struct score_counts shared = scorer_counts(r);
    /* Three beginnings of 86, 54 and 71 tokens, each followed by 1, 7 and 19 more; the first text
     * again, and again without its last token, so that 85 are shared; and texts of 1 and of 160. */
    assert_int_equal(shared.prefixes, 3);
    assert_int_equal(shared.computed, (85 + 2 + 8 + 20 + 2 + 1) + (54 + 27) + (71 + 27) + 1 + 160);
    assert_true(shared.tokens > shared.computed);
    /* The same prefixes again are there, if no others have been computed meanwhile. */
    float *again = xcalloc((size_t)(the.n * the.classes), sizeof *again);
    scorer_run(r, the.sequences, the.n, again, NULL, NULL);
    assert_memory_equal(again, logits, (size_t)(the.n * the.classes) * sizeof *logits);
    struct score_counts twice = scorer_counts(r);
    assert_int_equal(twice.prefixes, 3);
    assert_int_equal(twice.computed, 2 * shared.computed - (85 + 54 + 71));
    assert_int_equal(twice.passes, 3);
    scorer_run(r, the.sequences, the.n / 2, again, NULL, NULL);
    scorer_run(r, the.sequences, the.n, again, NULL, NULL);
    assert_memory_equal(again, logits, (size_t)(the.n * the.classes) * sizeof *logits);
    assert_true(scorer_counts(r).prefixes >= 7);
    scorer_close(r);
    free(logits);
    free(again);
    close_case();
}

int main(void)
{
    recorded = json_read_file("tests/data/engine/cases.json");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(folders_are_read_as_transformers_reads_them),
        cmocka_unit_test(bf16_products_stay_near),
        cmocka_unit_test(neighbours_batches_sharing_and_threads_do_not_show),
        cmocka_unit_test(prefixes_are_computed_once),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(recorded);
    return failed;
}
