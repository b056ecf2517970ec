#include "common/text/gguf_pretokenizer.h"

#include <stddef.h>
#include <string.h>

/* The published tokenizer.json files' patterns, by the names that llama.cpp gives them
 * (src/llama-vocab.cpp). In C and in JSON a backslash is written twice. */
#define BYTE_LEVEL(regex)                                                                          \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": " regex "}"
#define SEQUENCE(first)                                                                            \
    "{\"type\": \"Sequence\", \"pretokenizers\": [" first ", " BYTE_LEVEL("false") "]}"
#define SPLIT(pattern)                                                                             \
    SEQUENCE(                                                                                      \
        "{\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": {\"Regex\": \"" pattern    \
        "\"}}")

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LETTERS "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+"
#define UPPER "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define LOWER "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define CASED(end)                                                                                 \
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" UPPER "*" LOWER "+" end                                       \
    "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" UPPER "+" LOWER "*" end
#define SIGNS " ?[^\\\\s\\\\p{L}\\\\p{N}]+"
#define SPACES "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static const char gpt2[] = BYTE_LEVEL("true");
static const char digits[] =
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", \"individual_digits\": "
    "true}, " BYTE_LEVEL("true") "]}";
static const char llama3[] =
    SPLIT(CONTRACTIONS "|" LETTERS "|\\\\p{N}{1,3}|" SIGNS "[\\\\r\\\\n]*|" SPACES);
static const char qwen2[] =
    SPLIT(CONTRACTIONS "|" LETTERS "|\\\\p{N}|" SIGNS "[\\\\r\\\\n]*|" SPACES);
static const char tekken[] = SPLIT(CASED("") "|\\\\p{N}|" SIGNS "[\\\\r\\\\n/]*|" SPACES);
static const char gpt4o[] =
    SPLIT(CASED(CONTRACTIONS "?") "|\\\\p{N}{1,3}|" SIGNS "[\\\\r\\\\n/]*|" SPACES);

static const struct gguf_pretokenizer known[] = {
    /* What transformers, too, takes "default" and no name for; older files have neither. */
    {"default", gpt2, false, false},     {"gpt-2", gpt2, false, false},
    {"phi-2", gpt2, false, false},       {"mpt", gpt2, false, false},
    {"olmo", gpt2, false, false},        {"granite-docling", gpt2, false, false},
    {"exaone4", gpt2, false, false},     {"gigachat", gpt2, false, false},
    {"a.x-4.0", gpt2, false, false},     {"mellum", gpt2, false, false},
    {"trillion", gpt2, false, false},    {"smollm", digits, false, false},
    {"starcoder", digits, false, false}, {"refact", digits, false, false},
    {"command-r", digits, false, false}, {"codeshell", digits, false, false},
    {"exaone", digits, false, false},    {"minerva-7b", digits, false, false},
    {"llama-bpe", llama3, true, true},   {"llama3", llama3, true, true},
    {"llama-v3", llama3, true, true},    {"falcon3", llama3, true, true},
    {"pixtral", llama3, true, true},     {"midm-2.0", llama3, true, true},
    {"dbrx", llama3, false, false},      {"smaug-bpe", llama3, false, false},
    {"qwen2", qwen2, false, false},      {"deepseek-r1-qwen", qwen2, false, false},
    {"kormo", qwen2, false, false},      {"megrez", qwen2, false, false},
    {"stablelm2", qwen2, false, false},  {"hunyuan", qwen2, false, false},
    {"tekken", tekken, true, true},      {"gpt-4o", gpt4o, false, false},
    {"llama4", gpt4o, false, false},     {"kanana2", gpt4o, false, false},
};

const struct gguf_pretokenizer *gguf_pretokenizer(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, name))
            return &known[i];
    return NULL;
}
