/* SentencePiece's tokenizer.model. */
#include "tests/fuzz/harness.h"
#include "tests/fuzz/tokenizing.h"

void fuzz_start(void)
{
}

void fuzz_one(const char *data, size_t size)
{
    struct tokenizer *t = tokenizer_open(fuzz_file("tokenizer.model", data, size));
    use_tokenizer(t);
    tokenizer_free(t);
}
