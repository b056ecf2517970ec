/* A GGUF file's tensors, under the names and in the order of rows that a Hugging Face folder has.
 */
#ifndef DUQ_MODEL_GGUF_TENSORS_H
#define DUQ_MODEL_GGUF_TENSORS_H

#include "common/model/safetensors.h"

/* F32, F16 and BF16 stay what they are; block-quantised types become F32 when they are asked for
 * (tensor_data()): 16 bits would round them. Tensors without another name keep their own. Dies
 * (EX_DATAERR), naming tensor and type, at types that are not read. */
struct safetensors *gguf_tensors(const char *path);

#endif
