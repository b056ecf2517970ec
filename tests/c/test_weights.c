/* Loading a model: what of its file and of merged weights stays in the host's memory, on a device
 * that own_memory and on one that does not. The model is made here: 2 layers, 13 MB. */
#include "common/model/weights.h"
#include "common/util/mem.h"
#include "kernels/count/count_device.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { LAYERS = 2, WIDTH = 512, HEADS = 8, MLP = 2048, VOCAB = 1000 };

static char folder[] = "/tmp/test_weights.XXXXXX";
static size_t file_bytes;

/* ---- the model ---- */

static struct tensor tensors[2 + LAYERS * 9];
static size_t n_tensors;

static void add(char *name, int rows, int columns)
{
    size_t n = (size_t)rows * (size_t)(columns ? columns : 1);
    uint16_t *data = xreallocarray(NULL, n, sizeof *data);
    for (size_t i = 0; i < n; i++)
        data[i] = (uint16_t)(0x3c00 + (i * 7 + n_tensors) % 512);
    tensors[n_tensors++] = (struct tensor){.name = name,
                                           .dtype = BF16,
                                           .n_dims = columns ? 2 : 1,
                                           .shape = {rows, columns},
                                           .data = data};
}

static int make_model(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(
        f,
        "{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": %d, \"num_hidden_layers\": "
        "%d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"intermediate_size\": "
        "%d, \"vocab_size\": %d, \"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-5, "
        "\"hidden_act\": \"silu\", \"rope_theta\": 10000.0, \"tie_word_embeddings\": true}",
        WIDTH, LAYERS, HEADS, HEADS, MLP, VOCAB);
    fclose(f);
    add(xstrdup("model.embed_tokens.weight"), VOCAB, WIDTH);
    add(xstrdup("model.norm.weight"), WIDTH, 0);
    for (int i = 0; i < LAYERS; i++) {
        static const struct {
            const char *name;
            int rows, columns;
        } parts[] = {
            {"self_attn.q_proj", WIDTH, WIDTH},     {"self_attn.k_proj", WIDTH, WIDTH},
            {"self_attn.v_proj", WIDTH, WIDTH},     {"self_attn.o_proj", WIDTH, WIDTH},
            {"mlp.gate_proj", MLP, WIDTH},          {"mlp.up_proj", MLP, WIDTH},
            {"mlp.down_proj", WIDTH, MLP},          {"input_layernorm", WIDTH, 0},
            {"post_attention_layernorm", WIDTH, 0},
        };
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
            add(xasprintf("model.layers.%d.%s.weight", i, parts[p].name), parts[p].rows,
                parts[p].columns);
    }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    safetensors_write(path, tensors, n_tensors, NULL);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    file_bytes = (size_t)st.st_size;
    return 0;
}

static int remove_model(void **state)
{
    (void)state;
    static const char *const files[] = {"/config.json", "/model.safetensors", ""};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", folder, files[i]);
        remove(path);
    }
    for (size_t i = 0; i < n_tensors; i++) {
        free((char *)tensors[i].name);
        free((void *)tensors[i].data);
    }
    return 0;
}

/* ---- a device that reads what it is given ---- */

static unsigned long read_sum;
static struct weight *(*counted_create)(struct device *, const void *, enum dtype, int, int);

static void read_all(const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++)
        read_sum += p[i];
}

static struct weight *reading_create(struct device *d, const void *data, enum dtype stored, int out,
                                     int in)
{
    read_all(data, (size_t)out * (size_t)in * dtype_size(stored));
    return counted_create(d, data, stored, out, in);
}

static const void *reading_import(struct device *d, const void *host, size_t bytes)
{
    (void)d;
    read_all(host, bytes);
    return host;
}

static struct device *open_device(bool own_memory)
{
    static const struct machine machine = {
        .name = "test", .product_rate = 1, .f32_rate = 1, .bandwidth = 1, .memory = 1e12};
    struct device *d = count_device_open(BF16, &machine);
    d->own_memory = own_memory;
    counted_create = d->weight_create;
    d->weight_create = reading_create;
    d->import = reading_import;
    return d;
}

/* Bytes of the model's file that are in the memory of this process. */
static size_t resident(void)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    assert_non_null(f);
    char line[512];
    size_t kib = 0, sum = 0;
    bool ours = false;
    while (fgets(line, sizeof line, f)) {
        if (strchr(line, '-') && strchr(line, ':') && !strstr(line, " kB"))
            ours = strstr(line, folder) != NULL;
        if (ours && sscanf(line, "Rss: %zu kB", &kib) == 1)
            sum += kib * 1024;
    }
    fclose(f);
    return sum;
}

/* ---- the tests ---- */

static void a_copied_model_leaves_the_host(void **state)
{
    (void)state;
    struct model *m = model_open(folder);
    assert_true(resident() < file_bytes / 4);
    struct device *d = open_device(true);
    read_sum = 0;
    model_load(m, d);
    assert_true(read_sum > file_bytes); /* it was read indeed: bytes are 16 and more in the mean */
    assert_true(resident() < file_bytes / 4);
    model_close(m);
    d->close(d);
}

static void pages_in_use_are_counted(void **state)
{
    (void)state;
    struct model *m = model_open(folder);
    const struct tensor *t = safetensors_find(m->tensors, "model.layers.0.mlp.up_proj.weight");
    size_t before = resident();
    read_all(t->data, t->bytes);
    assert_true(resident() >= before + t->bytes / 2);
    safetensors_forget(t);
    assert_true(resident() < before + t->bytes / 2);
    model_close(m);
}

/* Merged weights are made in the host's memory, one after another. */
static void merged_matrices_leave_the_host(void **state)
{
    (void)state;
    struct adapter_settings settings = {.rank = 2, .alpha = 2, .targets = {[V_PROJ] = true}};
    for (int own_memory = 0; own_memory < 2; own_memory++) {
        struct model *m = model_open(folder);
        struct adapter *a = adapter_create(m->config, &settings, 0);
        model_merge(m, a);
        struct device *d = open_device(own_memory);
        size_t matrix =
            safetensors_find(m->tensors, "model.layers.0.self_attn.v_proj.weight")->bytes;
        struct mallinfo2 before = mallinfo2();
        model_load(m, d);
        struct mallinfo2 after = mallinfo2();
        assert_true(after.uordblks + after.hblkhd < before.uordblks + before.hblkhd + matrix);
        model_close(m);
        adapter_free(a);
        d->close(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copied_model_leaves_the_host),
        cmocka_unit_test(pages_in_use_are_counted),
        cmocka_unit_test(merged_matrices_leave_the_host),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
