#include "common/model/device.h"

#include "common/util/diag.h"
#include "common/util/options.h"

#include <string.h>

struct device *device_open(const char *name, const char *compute, enum dtype automatic, int threads)
{
    if (!strcmp(name, "cuda"))
        die(EX_UNAVAILABLE, "--device cuda: this build has no CUDA; use --device cpu");
    if (strcmp(name, "auto") != 0 && strcmp(name, "cpu") != 0)
        usage_error("--device: '%s' is neither auto nor cpu", name);
    enum dtype type = automatic;
    if (!strcmp(compute, "f32"))
        type = F32;
    else if (!strcmp(compute, "bf16"))
        type = BF16;
    else if (strcmp(compute, "auto") != 0)
        usage_error("--compute: '%s' is none of auto, f32, bf16", compute);
    return cpu_device_open(type, threads);
}
