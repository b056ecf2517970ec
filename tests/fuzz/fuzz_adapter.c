/* An adapter's folder, parts "=== adapter_config.json", "=== adapter_model.safetensors" and
 * "=== duq.json", of a model that is there. */
#include "common/model/weights.h"
#include "common/score/head.h"
#include "tests/fuzz/harness.h"

#include <stdlib.h>

static struct model *model;

void fuzz_start(void)
{
    model = model_open("tests/fuzz/model");
}

void fuzz_one(const char *data, size_t size)
{
    if (!fuzz_part_file(data, size, "adapter_config.json"))
        return;
    fuzz_part_file(data, size, "duq.json");
    fuzz_safetensors("adapter_model.safetensors",
                     fuzz_part(data, size, "adapter_model.safetensors"));
    struct adapter *a = adapter_read(fuzz_folder(), model->config, model->digest, model->tensors);
    struct head h = head_choose(NULL, a);
    static const int32_t tokens[] = {0, 1};
    struct answer_tree *tree = answer_tree_plain(tokens, 2);
    int n;
    free(head_tokens(&h, a, tree, &n));
    json_decref(adapter_made_for(a));
    answer_tree_free(tree);
    adapter_free(a);
}
