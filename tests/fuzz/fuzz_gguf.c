/* GGUF files: as a model (first byte m), a tokenizer (t), a chat template (c). */
#include "common/text/chat_template.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/scoring.h"
#include "tests/fuzz/tokenizing.h"

void fuzz_start(void)
{
}

void fuzz_one(const char *data, size_t size)
{
    if (!size)
        return;
    const char *path = fuzz_file("model.gguf", data + 1, size - 1);
    if (*data == 't') {
        struct tokenizer *t = tokenizer_open(path);
        use_tokenizer(t);
        tokenizer_free(t);
    } else if (*data == 'c') {
        chat_template_free(chat_template_read(path));
    } else {
        use_model(model_open(path));
    }
}
