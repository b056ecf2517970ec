/* What the CUDA plugin gives to the program that opens it (dlopen): lib/duq/duq-cuda.so. The
 * program is linked with -rdynamic, for the plugin ends it by die() and speaks by inform(). */
#ifndef DUQ_CUDA_PLUGIN_H
#define DUQ_CUDA_PLUGIN_H

#include "kernels/ops.h"

DUQ_C_BEGIN

#define CUDA_PLUGIN_EXPORT __attribute__((visibility("default")))

/* How many GPUs, from the first on, can be used; 0 without a driver, or with one too old. Says
 * nothing. */
CUDA_PLUGIN_EXPORT int cuda_device_count(void);

/* GPU number `index`, computing in F32 or BF16. The thread that opens it is the one that uses it.
 * Dies (EX_UNAVAILABLE), saying why, where there is no such GPU or it cannot be used. */
CUDA_PLUGIN_EXPORT struct device *cuda_device_open(enum dtype compute, int index);

/* What attention's scores and results may take in a forward pass, and half of what they may take in
 * a backward pass; the scores of one query under all heads are never divided, though they take
 * more. More bytes, fewer kernels to start. */
enum { ATTENTION_BYTES = 128 << 20 };
CUDA_PLUGIN_EXPORT void cuda_attention_limit(struct device *, size_t bytes);

DUQ_C_END

#endif
