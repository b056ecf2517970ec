#include "kernels/count/machine.h"

#include "common/util/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Of launches no datasheet speaks: an assumption. */
#define LAUNCH_ASSUMED 4e-6

static const struct machine known[] = {
    {.name = "a100-40",
     .title = "A100-40GB",
     .source = "NVIDIA A100 datasheet (40 GB)",
     .products = {"A100-SXM4-40GB", "A100-PCIE-40GB"},
     .product_rate = 312e12,
     .f32_rate = 19.5e12,
     .bandwidth = 1555e9,
     .link = 32e9,
     .memory = 40e9,
     .launch = LAUNCH_ASSUMED},
    {.name = "a100-80",
     .title = "A100-80GB SXM",
     .source = "NVIDIA A100 datasheet (80 GB SXM)",
     .products = {"A100-SXM4-80GB"},
     .product_rate = 312e12,
     .f32_rate = 19.5e12,
     .bandwidth = 2039e9,
     .link = 32e9,
     .memory = 80e9,
     .launch = LAUNCH_ASSUMED},
    {.name = "a100-80-pcie",
     .title = "A100-80GB PCIe",
     .source = "NVIDIA A100 datasheet (80 GB PCIe)",
     .products = {"A100 80GB PCIe"},
     .product_rate = 312e12,
     .f32_rate = 19.5e12,
     .bandwidth = 1935e9,
     .link = 32e9,
     .memory = 80e9,
     .launch = LAUNCH_ASSUMED},
    {.name = "h100",
     .title = "H100 SXM",
     .source = "NVIDIA H100 datasheet (SXM, without sparsity)",
     .products = {"H100 80GB HBM3"},
     .product_rate = 989e12,
     .f32_rate = 67e12,
     .bandwidth = 3352e9,
     .link = 64e9,
     .memory = 80e9,
     .launch = LAUNCH_ASSUMED},
    {.name = "h100-pcie",
     .title = "H100 PCIe",
     .source = "NVIDIA H100 datasheet (PCIe, without sparsity)",
     .products = {"H100 PCIe"},
     .product_rate = 756e12,
     .f32_rate = 51e12,
     .bandwidth = 2000e9,
     .link = 64e9,
     .memory = 80e9,
     .launch = LAUNCH_ASSUMED},
    {.name = "h100-nvl",
     .title = "H100 NVL",
     .source = "NVIDIA H100 datasheet (NVL, without sparsity)",
     .products = {"H100 NVL"},
     .product_rate = 835e12,
     .f32_rate = 60e12,
     .bandwidth = 3900e9,
     .link = 64e9,
     .memory = 94e9,
     .launch = LAUNCH_ASSUMED},
    {.name = "h200",
     .title = "H200 SXM",
     .source = "NVIDIA H200 datasheet (SXM, without sparsity)",
     .products = {"H200"},
     .product_rate = 989e12,
     .f32_rate = 67e12,
     .bandwidth = 4800e9,
     .link = 64e9,
     .memory = 141e9,
     .launch = LAUNCH_ASSUMED},
};

static bool is_called(const struct machine *m, const char *name)
{
    static const char maker[] = "NVIDIA ";
    if (!strcmp(m->name, name))
        return true;
    if (strncmp(name, maker, strlen(maker)) != 0)
        return false;
    for (size_t i = 0; i < sizeof m->products / sizeof *m->products && m->products[i]; i++)
        if (!strcmp(m->products[i], name + strlen(maker)))
            return true;
    return false;
}

const struct machine *machine_find(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is_called(&known[i], name))
            return &known[i];
    return NULL;
}

const struct machine *machine_described(const char *description)
{
    const char *begin = strchr(description, '('), *end = strrchr(description, ')');
    if (!begin || !end || end < begin)
        return NULL;
    char *name = xasprintf("%.*s", (int)(end - begin - 1), begin + 1);
    const struct machine *m = machine_find(name);
    free(name);
    return m;
}
