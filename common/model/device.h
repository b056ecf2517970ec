/* The device that a program's --device and --compute ask for. */
#ifndef DUQ_MODEL_DEVICE_H
#define DUQ_MODEL_DEVICE_H

#include "kernels/ops.h"

enum device_compute { COMPUTE_AUTO, COMPUTE_F32, COMPUTE_BF16 };

enum { DEVICE_GPUS = 1024 }; /* N of "cuda:N" is less */

struct device_request {
    const char *name; /* "auto", "cpu", "cuda" or "cuda:N" */
    enum device_compute compute;
    enum dtype stored;      /* what the model is stored in */
    enum dtype cpu_compute; /* what "auto" is on the processor */
    int threads;            /* of the processor; 0 for all */
    int gpu;                /* which one "auto" and "cuda" are */
};

/* Whether device_open() knows such a name; the device may not be there all the same. */
bool device_name_known(const char *name);

/* "auto" is a GPU where the CUDA plugin is there and finds one, else the processor; where NVIDIA's
 * driver is installed it then says why, elsewhere under -v. The compute type "auto" is on a GPU
 * bf16 for a model stored in 16 bits, else f32.
 *
 * The plugin is the file that $DUQ_CUDA_PLUGIN names, else ../lib/duq/duq-cuda.so beside the folder
 * of the program. Dies with EX_UNAVAILABLE at a device that is not there. */
struct device *device_open(const struct device_request *request);

#endif
