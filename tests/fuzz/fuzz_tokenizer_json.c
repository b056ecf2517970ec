/* A tokenizer.json by itself, or parts "=== NAME" of a folder. */
#include "tests/fuzz/harness.h"
#include "tests/fuzz/tokenizing.h"

void fuzz_start(void)
{
}

void fuzz_one(const char *data, size_t size)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "config.json",
                                        "added_tokens.json", "special_tokens_map.json"};
    bool folder = fuzz_part(data, size, names[0]).data;
    for (size_t i = 0; folder && i < sizeof names / sizeof *names; i++)
        fuzz_part_file(data, size, names[i]);
    struct tokenizer *t =
        tokenizer_open(folder ? fuzz_folder() : fuzz_file("tokenizer.json", data, size));
    use_tokenizer(t);
    tokenizer_free(t);
}
