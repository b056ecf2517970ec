#include "common/text/tokenizer_match.h"

#include "common/text/tokenizer_parts.h"
#include "common/util/diag.h"
#include "common/util/digest.h"
#include "common/util/file.h"
#include "common/util/gguf.h"
#include "common/util/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void digest_file(const char *path, char digest[DIGEST_SIZE])
{
    enum { BLOCK = 1 << 16 };
    FILE *f = file_open(path);
    char *block = xmalloc(BLOCK);
    XXH64_state_t *state = digest_new();
    for (size_t n; (n = fread(block, 1, BLOCK, f));)
        XXH64_update(state, block, n);
    file_close(f, path);
    digest_text(XXH64_digest(state), digest);
    XXH64_freeState(state);
    free(block);
}

/* A GGUF file holds more than its tokenizer, whose digest is of that alone. */
static void digest_tokenizer(const char *path, char digest[DIGEST_SIZE])
{
    char *gguf = gguf_of_model(path);
    if (gguf)
        tokenizer_gguf_digest(gguf, digest);
    else
        digest_file(path, digest);
    free(gguf);
}

char *tokenizer_file_digest(const char *model_folder)
{
    char *path = tokenizer_find(model_folder), *digest = path ? xmalloc(DIGEST_SIZE) : NULL;
    if (path)
        digest_tokenizer(path, digest);
    free(path);
    return digest;
}

void tokenizer_match_layout(const struct stream_reader *prompts, const struct tokenizer *t)
{
    const char *named = json_string_value(json_object_get(stream_header(prompts), "tokenizer"));
    if (named && strncmp(named, tokenizer_digest(t), DIGEST_SIZE - 2) != 0)
        die(EX_DATAERR,
            "%s: prompts in the layout of another model, whose tokenizer (%s) is not %s: name the "
            "folder that prompt-expand --model had",
            stream_name(prompts), named, tokenizer_path(t));
}

void tokenizer_match(const struct stream_reader *tokens, const char *model_folder)
{
    const char *named = json_string_value(json_object_get(stream_header(tokens), "tokenizer"));
    char *path = named ? tokenizer_find(model_folder) : NULL, own[DIGEST_SIZE];
    if (!path)
        return;
    digest_tokenizer(path, own);
    if (strncmp(named, own, DIGEST_SIZE - 2) != 0)
        die(EX_DATAERR,
            "%s: tokens of another tokenizer (%s) than %s (%s): make them with tok --model %s",
            stream_name(tokens), named, path, own, model_folder);
    free(path);
}
