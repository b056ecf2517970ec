/* Rows that the options of lm-score, lora-train and lm-plan share. */
#ifndef DUQ_CMD_MODEL_OPTIONS_H
#define DUQ_CMD_MODEL_OPTIONS_H

#include "common/model/adapter.h"
#include "common/model/device.h"
#include "common/util/options.h"

#include <stdlib.h>
#include <string.h>

/* Of a name for device_request. */
static inline void take_device(void *target, const char *option, const char *value)
{
    if (!strncmp(value, "cuda:", 5))
        option_long("--device cuda:N", value + 5, 0, DEVICE_GPUS - 1);
    else if (!device_name_known(value))
        usage_error("%s: '%s' is none of auto, cpu, cuda, cuda:N", option, value);
    *(const char **)target = value;
}

/* Of struct adapter_settings. */
static inline void take_targets(void *target, const char *option, const char *value)
{
    char *wrong = adapter_targets(value, target);
    if (wrong)
        usage_error("%s: %s", option, wrong);
}

/* Those that need no number. */
static const struct option_choice device_names[]
    __attribute__((unused)) = {{"auto", 0}, {"cpu", 0}, {"cuda", 0}, {0}};

/* Members of struct type T. */
#define DEVICE_ROW(T, m)                                                                           \
    {                                                                                              \
        "device", 0, "NAME", "auto (default), cpu, cuda or cuda:N", OPTION_OWN(T, m, take_device), \
            .choices = device_names                                                                \
    }
#define PROFILE_ROW(T, m)                                                                          \
    {                                                                                              \
        "profile", 0, NULL, "in the end say where the time went, operation by operation",          \
            OPTION_SET(T, m)                                                                       \
    }
#define TARGETS_ROW(T, m)                                                                          \
    {                                                                                              \
        "targets", 0, "LIST",                                                                      \
            "q,k,v,o,lm_head (default); also gate,up,down;\n"                                      \
            "all-linear, or pattern:REGEX of modules' names",                                      \
            OPTION_OWN(T, m, take_targets)                                                         \
    }

static const struct option_choice device_computes[] __attribute__((unused)) = {
    {"auto", COMPUTE_AUTO}, {"f32", COMPUTE_F32}, {"bf16", COMPUTE_BF16}, {0}};

#endif
