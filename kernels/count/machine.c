#include "kernels/count/machine.h"

#include <string.h>

/* Of launches no datasheet speaks: an assumption. */
#define LAUNCH_ASSUMED 4e-6

static const struct machine known[] = {
    {.name = "a100-40",
     .title = "A100-40GB",
     .source = "NVIDIA A100 datasheet (40 GB)",
     .product_rate = 312e12,
     .f32_rate = 19.5e12,
     .bandwidth = 1555e9,
     .link = 32e9,
     .memory = 40e9,
     .launch = LAUNCH_ASSUMED},
    {.name = "a100-80",
     .title = "A100-80GB SXM",
     .source = "NVIDIA A100 datasheet (80 GB SXM)",
     .product_rate = 312e12,
     .f32_rate = 19.5e12,
     .bandwidth = 2039e9,
     .link = 32e9,
     .memory = 80e9,
     .launch = LAUNCH_ASSUMED},
    {.name = "h100",
     .title = "H100 SXM",
     .source = "NVIDIA H100 datasheet (SXM, without sparsity)",
     .product_rate = 989e12,
     .f32_rate = 67e12,
     .bandwidth = 3352e9,
     .link = 64e9,
     .memory = 80e9,
     .launch = LAUNCH_ASSUMED},
};

const struct machine *machines(size_t *count)
{
    *count = sizeof known / sizeof *known;
    return known;
}

const struct machine *machine_find(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, name))
            return &known[i];
    return NULL;
}
