/* The architectures of GGUF files that are read, and the names that their parts have elsewhere. */
#ifndef DUQ_MODEL_GGUF_FAMILY_H
#define DUQ_MODEL_GGUF_FAMILY_H

#include "common/util/gguf.h"

/* A name in the file, and the same in config.json or among a Hugging Face folder's tensors. A list
 * ends with {0}. */
struct gguf_name {
    const char *here, *there;
};

struct gguf_family {
    const char *name;         /* general.architecture */
    const char *architecture; /* config.json's */
    /* Rows of q and k are stored by pairs that rotate together, not by halves. */
    bool pairs_rows;
    float norm_offset; /* that norms are stored with */
    /* Beside the common ones, or in their place: settings without "ARCHITECTURE.", tensors of a
     * layer without "blk.N."; NULL: none. */
    const struct gguf_name *settings, *tensors;
    /* Adds what config.json says and the file leaves to who reads it; NULL: nothing. */
    void (*complete)(const struct gguf *g, json_t *config);
};

/* Dies (EX_DATAERR), naming it, where the file's architecture is not one of them. */
const struct gguf_family *gguf_family(const struct gguf *g);

/* What a name is elsewhere; NULL: none that is known. */
const char *gguf_setting_name(const struct gguf_family *f, const char *here);
const char *gguf_layer_tensor_name(const struct gguf_family *f, const char *here);

#endif
