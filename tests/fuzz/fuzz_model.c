/* A model's folder, parts "=== config.json" and "=== model.safetensors": read, and asked. */
#include "tests/fuzz/harness.h"
#include "tests/fuzz/scoring.h"

void fuzz_start(void)
{
}

void fuzz_one(const char *data, size_t size)
{
    if (!fuzz_part_file(data, size, "config.json"))
        return;
    fuzz_safetensors("model.safetensors", fuzz_part(data, size, "model.safetensors"));
    use_model(model_open(fuzz_folder()));
}
