/* How the tokenizers that GGUF files name cut text into words. */
#ifndef DUQ_TEXT_GGUF_PRETOKENIZER_H
#define DUQ_TEXT_GGUF_PRETOKENIZER_H

#include <stdbool.h>

struct gguf_pretokenizer {
    const char *name;   /* tokenizer.ggml.pre */
    const char *parts;  /* a "pre_tokenizer" of tokenizer.json */
    bool ignore_merges; /* a whole word that is a token is taken as it is */
    bool bos;           /* added where the file does not say */
};

/* NULL for a name that is not known. */
const struct gguf_pretokenizer *gguf_pretokenizer(const char *name);

#endif
