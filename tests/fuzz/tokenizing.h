/* What is asked of a tokenizer that was read. */
#ifndef DUQ_TESTS_FUZZ_TOKENIZING_H
#define DUQ_TESTS_FUZZ_TOKENIZING_H

#include "common/text/tokenizer.h"

#include <string.h>

/* Encodes and decodes texts that have a little of everything. */
static inline void use_tokenizer(struct tokenizer *t)
{
    static const char *const texts[] = {
        "",
        " the film  was\tGOOD, wasn't it? 123\r\n\n",
        "\303\204hnlich <s>a</s> \344\275\240\345\245\275 e\314\201",
        "\360\237\231\202\302\240x",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
        "<|im_end|>[INST] x\n"};
    struct ids ids = {0};
    struct buf out = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ids.len = out.len = 0;
        tokenizer_encode(t, texts[i], strlen(texts[i]), true, &ids);
        for (size_t k = 0; k < ids.len; k++)
            tokenizer_token(t, ids.data[k]);
        tokenizer_decode(t, ids.data, ids.len, i % 2, &out);
        const int32_t *trimmed = ids.data;
        size_t n = ids.len;
        tokenizer_trim(t, &trimmed, &n);
        if (tokenizer_finds_control_tokens(t)) {
            const int32_t part[] = {0, (int32_t)strlen(texts[i])};
            tokenizer_encode_parts(t, texts[i], strlen(texts[i]),
                                   &(struct literal_parts){part, part[1] ? 2 : 0}, false, &ids);
        }
    }
    for (int32_t id = -1; id <= tokenizer_size(t) && id < 300; id++) {
        out.len = 0;
        tokenizer_decode(t, &id, 1, false, &out);
    }
    ids_free(&ids);
    buf_free(&out);
}

#endif
