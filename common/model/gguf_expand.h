/* GGUF's block-quantised types, expanded to f32 as the format defines them. */
#ifndef DUQ_MODEL_GGUF_EXPAND_H
#define DUQ_MODEL_GGUF_EXPAND_H

#include "common/util/gguf_type.h"

/* n elements, whole blocks, at `packed` (unaligned) to out. The type is one whose block has more
 * than one element. Source: ggml's ggml-quants.c, which defines the types. */
void gguf_expand(const struct gguf_type *type, const unsigned char *packed, size_t n, float *out);

#endif
