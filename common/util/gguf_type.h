/* The element types of GGUF tensors. */
#ifndef DUQ_UTIL_GGUF_TYPE_H
#define DUQ_UTIL_GGUF_TYPE_H

#include "common/util/gguf.h"

enum {
    GGML_F32 = 0,
    GGML_F16 = 1,
    GGML_Q4_0 = 2,
    GGML_Q4_1 = 3,
    GGML_Q5_0 = 6,
    GGML_Q5_1 = 7,
    GGML_Q8_0 = 8,
    GGML_Q4_K = 12,
    GGML_Q5_K = 13,
    GGML_Q6_K = 14,
    GGML_BF16 = 30
};

/* NULL for a number that is no type's. */
const struct gguf_type *gguf_type(uint32_t number);

#endif
