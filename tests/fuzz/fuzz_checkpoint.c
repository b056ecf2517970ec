/* Checkpoints of a training with one parameter. */
#include "common/train/checkpoint.h"
#include "tests/fuzz/harness.h"

static json_t *settings;

void fuzz_start(void)
{
    settings = json_loads("{\"rank\": 2, \"lr\": 0.001}", 0, NULL);
}

void fuzz_one(const char *data, size_t size)
{
    static char name[] = "a.weight";
    float arrays[STATE_ARRAYS][4] = {{0}};
    struct parameter parameter = {name, 0, 4};
    struct training_state s = {.parameters = &parameter, .count = 1, .n = 4};
    for (int k = 0; k < STATE_ARRAYS; k++)
        s.arrays[k] = arrays[k];
    checkpoint_read(fuzz_safetensors("checkpoint", (struct fuzz_part){data, size}), &s, settings);
}
