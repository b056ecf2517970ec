/* The device that a program's --device and --compute ask for. */
#ifndef DUQ_MODEL_DEVICE_H
#define DUQ_MODEL_DEVICE_H

#include "kernels/ops.h"

/* name: "auto" or "cpu". compute: "auto" (then it is `automatic`), "f32" or "bf16". Other values
 * end the program as a usage error, a device that is not there with EX_UNAVAILABLE. threads: 0 for
 * all. */
struct device *device_open(const char *name, const char *compute, enum dtype automatic,
                           int threads);

#endif
