/* What a GGUF file says of its model, as config.json would say it. */
#ifndef DUQ_MODEL_GGUF_CONFIG_H
#define DUQ_MODEL_GGUF_CONFIG_H

#include "common/util/gguf.h"

/* The object. *factors receives what divides each of the *n_factors rotary frequencies besides, or
 * NULL; the caller frees it. Dies (EX_DATAERR) at a setting of the model that is not known, unless
 * it is of no account, or that is not followed. */
json_t *gguf_config(const struct gguf *g, float **factors, size_t *n_factors);

#endif
