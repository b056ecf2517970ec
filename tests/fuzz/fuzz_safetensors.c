/* Safetensors: a file, or parts "=== index" and "=== shard" of a folder with shards called a and b.
 */
#include "common/model/safetensors.h"
#include "tests/fuzz/harness.h"

#include <math.h>

void fuzz_start(void)
{
}

static void use(struct safetensors *s)
{
    double sum = 0;
    for (size_t i = 0; i < safetensors_count(s); i++) {
        const struct tensor *t = safetensors_at(s, i);
        size_t n = t->readable ? t->bytes / dtype_size(t->dtype) : 0;
        const void *data = tensor_data(t);
        for (size_t k = 0; k < n; k++)
            sum += fabs((double)dtype_load(t->dtype, data, k));
        if (t->readable && t->n_dims == 2 && t->shape[0] > 0)
            safetensors_need(s, t->name, t->shape[0], t->shape[1]);
        safetensors_forget(t);
    }
    (void)sum;
    safetensors_metadata(s);
    safetensors_find(s, "model.norm.weight");
    safetensors_close(s);
}

void fuzz_one(const char *data, size_t size)
{
    struct fuzz_part index = fuzz_part(data, size, "index");
    if (!index.data) {
        use(safetensors_open_file(
            fuzz_safetensors("a.safetensors", (struct fuzz_part){data, size})));
        return;
    }
    fuzz_file("model.safetensors.index.json", index.data, index.size);
    fuzz_safetensors("a", fuzz_part(data, size, "a"));
    fuzz_safetensors("b", fuzz_part(data, size, "b"));
    use(safetensors_open_folder(fuzz_folder()));
}
