/* GGUF files: types, models and tokenizers as the `gguf` package, transformers and SentencePiece
 * read them, recorded by tests/oracle/gguf_models.py in tests/data/gguf; and files that lie. */
#include "common/model/gguf_expand.h"
#include "common/score/score.h"
#include "common/stream/record.h"
#include "common/text/tokenizer.h"
#include "common/util/diag.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA "tests/data/gguf/"

/* ---- recorded ---- */

static void blocks_are_expanded_as_the_format_says(void **state)
{
    (void)state;
    struct gguf *g = gguf_open(DATA "types.gguf");
    int types = 0;
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (t->type->block == 1)
            continue;
        types++;
        assert_string_equal(t->name, t->type->name);
        char *name = xasprintf("%s.expanded", t->name);
        const struct gguf_tensor *wanted = gguf_tensor_find(g, name);
        assert_non_null(wanted);
        assert_memory_equal(wanted->shape, t->shape, sizeof t->shape);
        float *got = xmalloc(wanted->size);
        gguf_expand(t->type, t->bytes, wanted->size / sizeof *got, got);
        assert_memory_equal(got, wanted->bytes, wanted->size);
        free(got);
        free(name);
    }
    assert_int_equal(types, 8);
    gguf_close(g);
}

/* The worst difference of a model's logits from those that were recorded. */
static double worst_logit(const char *path, const json_t *cases, const json_t *recorded)
{
    struct model *m = model_open(path);
    struct device *d = cpu_device_open(F32, 0);
    model_load(m, d);
    const json_t *classes = json_object_get(cases, "class_tokens");
    int32_t tokens[3];
    assert_int_equal(json_array_size(classes), 3);
    for (size_t i = 0; i < 3; i++)
        tokens[i] = (int32_t)json_integer_value(json_array_get(classes, i));
    model_set_classes(m, tokens, 3);
    struct scorer *scorer =
        scorer_open(m, NULL, (struct score_options){.batch_tokens = 2048, .share = true});
    double worst = 0;
    const json_t *text;
    size_t i;
    json_array_foreach(json_object_get(cases, "tokens"), i, text)
    {
        int32_t ids[512];
        int n = (int)json_array_size(text);
        assert_in_range(n, 1, 512);
        for (int k = 0; k < n; k++)
            ids[k] = (int32_t)json_integer_value(json_array_get(text, (size_t)k));
        float logits[3];
        scorer_run(scorer, &(struct sequence){ids, n}, 1, logits, NULL, NULL);
        const json_t *wanted = json_array_get(recorded, i);
        for (size_t k = 0; k < 3; k++)
            worst =
                fmax(worst, fabs((double)logits[k] - json_number_value(json_array_get(wanted, k))));
    }
    scorer_close(scorer);
    model_close(m);
    d->close(d);
    return worst;
}

static void logits_are_those_of_transformers(void **state)
{
    (void)state;
    json_t *cases = json_read_file(DATA "cases.json"), *logits = json_object_get(cases, "logits");
    json_t *recorded;
    const char *name;
    assert_true(json_object_size(logits) >= 13);
    json_object_foreach(logits, name, recorded)
    {
        char *path = xasprintf(DATA "%s.gguf", name);
        double worst = worst_logit(path, cases, recorded);
        if (!(worst < 5e-5))
            fail_msg("%s: a logit is off by %g", name, worst);
        free(path);
    }
    json_decref(cases);
}

/* ---- tokenizers ---- */

static bool has_control_token(const char *text)
{
    static const char *const tokens[] = {"<s>", "</s>", "[INST]", "[/INST]"};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (strstr(text, tokens[i]))
            return true;
    return false;
}

/* The tokenizer that a file of tests/data/tok was written as: the ids recorded of that. In a
 * tokenizer.model control tokens are never found in a text. */
static void check_recorded(const char *file, const char *name, size_t *checked)
{
    char *path = xasprintf(DATA "%s.gguf", file);
    char *ids_path = xasprintf("tests/data/tok/%s.tokens.mp.zst", name);
    struct tokenizer *t = tokenizer_open(path);
    struct stream_reader *lines = stream_open("tests/data/tok/lines.mp.zst", "prompt");
    struct stream_reader *recorded = stream_open(ids_path, "tokens");
    struct tokens wanted;
    struct prompt line;
    struct ids ids = {0};
    while (tokens_read(recorded, &wanted)) {
        do
            assert_true(prompt_read(lines, &line));
        while (strcmp(line.id, wanted.id) != 0);
        if (!strncmp(name, "sp-", 3) && has_control_token(line.text.data))
            continue;
        ids.len = 0;
        tokenizer_encode(t, line.text.data, line.text.len, true, &ids);
        if (ids.len != wanted.n_tokens ||
            memcmp(ids.data, wanted.tokens, ids.len * sizeof *ids.data))
            fail_msg("%s: line %s: other ids than recorded", name, line.id);
        ++*checked;
    }
    ids_free(&ids);
    stream_close(lines);
    stream_close(recorded);
    tokenizer_free(t);
    free(path);
    free(ids_path);
}

static void tokenizers_give_the_ids_of_the_files_they_are_made_from(void **state)
{
    (void)state;
    static const char *const files[] = {"whole", "tok-llama3", "tok-sp-identity"};
    static const char *const names[] = {"smollm2", "llama3", "sp-identity"};
    for (size_t i = 0; i < 3; i++) {
        size_t checked = 0;
        check_recorded(files[i], names[i], &checked);
        assert_true(checked > 200);
    }
}

static void control_tokens_are_found_in_a_text(void **state)
{
    (void)state;
    json_t *texts = json_read_file(DATA "texts.json"), *item;
    struct tokenizer *t = tokenizer_open(DATA "tok-sp-identity.gguf");
    size_t i, k;
    struct ids ids = {0};
    json_array_foreach(texts, i, item)
    {
        const char *text = json_string_value(json_object_get(item, "text"));
        const json_t *wanted = json_object_get(item, "ids"), *id;
        ids.len = 0;
        tokenizer_encode(t, text, strlen(text), true, &ids);
        assert_int_equal(ids.len, json_array_size(wanted));
        json_array_foreach(wanted, k, id) assert_int_equal(ids.data[k], json_integer_value(id));
    }
    ids_free(&ids);
    tokenizer_free(t);
    json_decref(texts);
}

/* ---- files that lie ---- */

static char file_path[] = "/tmp/test_gguf.XXXXXX";

static void put(struct buf *b, uint64_t value, size_t size)
{
    buf_add(b, &value, size); /* little-endian, as all that is read here */
}

static void put_string(struct buf *b, const char *s)
{
    put(b, strlen(s), 8);
    buf_add(b, s, strlen(s));
}

static void put_head(struct buf *b, uint64_t tensors, uint64_t settings)
{
    b->len = 0;
    buf_add(b, "GGUF", 4);
    put(b, 3, 4);
    put(b, tensors, 8);
    put(b, settings, 8);
}

static void put_text(struct buf *b, const char *key, const char *value)
{
    put_string(b, key);
    put(b, GGUF_STRING, 4);
    put_string(b, value);
}

static void put_tensor(struct buf *b, const char *name, uint64_t columns, uint64_t rows,
                       uint32_t type, uint64_t offset)
{
    put_string(b, name);
    put(b, 2, 4);
    put(b, columns, 8);
    put(b, rows, 8);
    put(b, type, 4);
    put(b, offset, 8);
}

/* Two matrices of 128 bytes each, one setting. */
static void put_good(struct buf *b)
{
    put_head(b, 2, 1);
    put_text(b, "general.architecture", "llama");
    put_tensor(b, "a", 8, 4, GGML_F32, 0);
    put_tensor(b, "b", 32, 1, GGML_F32, 128);
    while (b->len % 32)
        buf_addc(b, 0);
    for (int i = 0; i < 256; i++)
        buf_addc(b, 1);
}

static void write_file(const struct buf *b)
{
    FILE *f = fopen(file_path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b->data, 1, b->len, f), b->len);
    assert_int_equal(fclose(f), 0);
}

/* What opening the file says; the status in *status. The caller frees it. */
static char *said_of_file(int *status)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        gguf_close(gguf_open(file_path));
        _exit(0);
    }
    close(ends[1]);
    struct buf text = {0};
    buf_reserve(&text, 4096);
    for (ssize_t n; (n = read(ends[0], text.data + text.len, 1024)) > 0 && text.len < 3000;)
        text.len += (size_t)n;
    close(ends[0]);
    assert_int_equal(waitpid(child, status, 0), child);
    return buf_str(&text);
}

static void refused(const struct buf *b, const char *because)
{
    int status;
    write_file(b);
    char *said = said_of_file(&status);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EX_DATAERR || !strstr(said, because))
        fail_msg("not '%s', but (status %d): %s", because, status, said);
    free(said);
}

static void files_cut_anywhere_are_refused(void **state)
{
    (void)state;
    struct buf b = {0};
    put_good(&b);
    size_t whole = b.len;
    write_file(&b);
    int status;
    free(said_of_file(&status));
    assert_int_equal(status, 0);
    for (size_t n = 0; n < whole; n++) {
        b.len = n;
        refused(&b, n < 4 ? "not a GGUF file" : "");
    }
    b.len = 30;
    refused(&b, "its header: 2 tensors are more than the file has room for; is it complete?");
    b.len = 90;
    refused(&b, "cut short: it ends within a; is the download complete?");
    b.len = whole - 1;
    refused(&b, "tensor b: its bytes lie outside the file; is the download complete?");
    put_head(&b, 0, 1);
    put_text(&b, "general.architecture", "llama");
    b.len -= 1;
    refused(&b, "general.architecture: 5 bytes of a string are more than the file has room for");
    b.len -= 10;
    refused(&b, "cut short: it ends within general.architecture; is the download complete?");
    buf_free(&b);
}

static void counts_that_lie_are_refused(void **state)
{
    (void)state;
    struct buf b = {0};
    put_head(&b, UINT64_MAX, 0);
    refused(&b, "18446744073709551615 tensors are more than the file has room for");
    put_head(&b, 0, UINT64_MAX / 2);
    refused(&b, "9223372036854775807 settings are more than the file has room for");
    put_head(&b, 0, 1);
    put_string(&b, "k");
    put(&b, GGUF_ARRAY, 4);
    put(&b, GGUF_F64, 4);
    put(&b, UINT64_MAX / 8 + 2, 8);
    put(&b, 0, 8);
    refused(&b, "k: 2305843009213693953 elements are more than the file has room for");
    put_head(&b, 0, 1);
    put_string(&b, "k");
    put(&b, GGUF_ARRAY, 4);
    put(&b, GGUF_STRING, 4);
    put(&b, 2, 8);
    put_string(&b, "one");
    put(&b, UINT64_MAX, 8);
    refused(&b, "k: 18446744073709551615 bytes of a string are more than the file has room for");
    put_head(&b, 0, 1);
    put_string(&b, "k");
    put(&b, GGUF_ARRAY, 4);
    put(&b, GGUF_ARRAY, 4);
    refused(&b, "k is an array of arrays");
    put_head(&b, 0, 1);
    put_string(&b, "k");
    put(&b, 13, 4);
    put(&b, 0, 4);
    refused(&b, "k is of the type 13, which is none");
    put_head(&b, 0, 2);
    put_text(&b, "k", "1");
    put_text(&b, "k", "2");
    refused(&b, "the setting k is there twice");
    put_head(&b, 0, 1);
    put_text(&b, "", "1");
    refused(&b, "the name of setting 1 of 1 is empty or not UTF-8");
    buf_free(&b);
}

static void one_tensor(struct buf *b, uint64_t columns, uint64_t rows, uint32_t type,
                       uint64_t offset)
{
    put_head(b, 1, 0);
    put_tensor(b, "t", columns, rows, type, offset);
    while (b->len % 32)
        buf_addc(b, 0);
    for (int i = 0; i < 128; i++)
        buf_addc(b, 0);
}

static void tensors_that_lie_are_refused(void **state)
{
    (void)state;
    struct buf b = {0};
    one_tensor(&b, 32, 1, GGML_F32, 32);
    refused(&b, "tensor t: its bytes lie outside the file");
    one_tensor(&b, 32, 1, GGML_F32, UINT64_MAX - 31);
    refused(&b, "tensor t: its bytes lie outside the file");
    one_tensor(&b, 32, 1, GGML_F32, 4);
    refused(&b, "tensor t does not begin at a multiple of 32 bytes");
    one_tensor(&b, INT32_MAX, INT32_MAX, GGML_F32, 0);
    refused(&b, "tensor t: its bytes lie outside the file");
    one_tensor(&b, (uint64_t)1 << 63, 1, GGML_F32, 0);
    refused(&b, "tensor t has an impossible shape");
    one_tensor(&b, 0, 1, GGML_F32, 0);
    refused(&b, "tensor t has an impossible shape");
    one_tensor(&b, 33, 1, GGML_Q8_0, 0);
    refused(&b, "tensor t: a row of 33 does not divide into blocks of 32 (Q8_0)");
    one_tensor(&b, 32, 1, 99, 0);
    refused(&b, "tensor t is of the type 99, which is not known");
    put_head(&b, 1, 0);
    put_string(&b, "t");
    put(&b, 5, 4);
    for (int i = 0; i < 40; i++)
        buf_addc(&b, 0);
    refused(&b, "tensor t has 5 dimensions, not 1 to 4");

    put_head(&b, 2, 0);
    put_tensor(&b, "a", 8, 4, GGML_F32, 0);
    put_tensor(&b, "b", 8, 4, GGML_F32, 96);
    for (int i = 0; i < 512; i++)
        buf_addc(&b, 0);
    refused(&b, "tensors a and b overlap");
    put_head(&b, 2, 0);
    put_tensor(&b, "a", 8, 1, GGML_F32, 0);
    put_tensor(&b, "a", 8, 1, GGML_F32, 32);
    for (int i = 0; i < 512; i++)
        buf_addc(&b, 0);
    refused(&b, "tensor a is there twice");
    buf_free(&b);
}

static void other_versions_and_parts_of_models_are_refused(void **state)
{
    (void)state;
    struct buf b = {0};
    put_good(&b);
    b.data[4] = 1;
    refused(&b, "GGUF version 1 is not supported (2 and 3 are)");
    b.data[4] = 0;
    b.data[7] = 3;
    refused(&b, "a GGUF file for big-endian machines");
    b.data[0] = 'g';
    refused(&b, "not a GGUF file: it does not begin with \"GGUF\"");
    put_head(&b, 0, 1);
    put_string(&b, "split.count");
    put(&b, GGUF_U16, 4);
    put(&b, 2, 2);
    refused(&b, "one of several files that a model is split into");
    put_head(&b, 0, 1);
    put_string(&b, "general.alignment");
    put(&b, GGUF_U32, 4);
    put(&b, 24, 4);
    refused(&b, "general.alignment is 24, not a power of two");
    buf_free(&b);
}

int main(void)
{
    int fd = mkstemp(file_path);
    if (fd < 0)
        return 1;
    close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_expanded_as_the_format_says),
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(tokenizers_give_the_ids_of_the_files_they_are_made_from),
        cmocka_unit_test(control_tokens_are_found_in_a_text),
        cmocka_unit_test(files_cut_anywhere_are_refused),
        cmocka_unit_test(counts_that_lie_are_refused),
        cmocka_unit_test(tensors_that_lie_are_refused),
        cmocka_unit_test(other_versions_and_parts_of_models_are_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file_path);
    return failed;
}
