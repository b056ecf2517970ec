/* The chat template in a GGUF file. */
#include "common/text/chat_template_parts.h"
#include "common/util/diag.h"
#include "common/util/gguf.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

static const char template_key[] = "tokenizer.chat_template";

/* A token of the file's vocabulary. New reference; NULL where there is none of the number. */
static json_t *token_of(const struct gguf *g, int64_t id)
{
    struct gguf_strings strings = {gguf_array(g, "tokenizer.ggml.tokens", GGUF_STRING), 0};
    const char *s;
    size_t len;
    while (strings.setting && gguf_next_string(&strings, &s, &len))
        if (id-- == 0)
            return json_stringn(s, len);
    return NULL;
}

static void read_tokens(struct chat_template *c, const struct gguf *g)
{
    static const struct {
        const char *variable, *key;
    } tokens[] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                  {"eos_token", "tokenizer.ggml.eos_token_id"},
                  {"unk_token", "tokenizer.ggml.unknown_token_id"},
                  {"sep_token", "tokenizer.ggml.seperator_token_id"}, /* the format spells it so */
                  {"pad_token", "tokenizer.ggml.padding_token_id"},
                  {"cls_token", "tokenizer.ggml.cls_token_id"},
                  {"mask_token", "tokenizer.ggml.mask_token_id"}};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        json_t *token = token_of(g, gguf_whole(g, tokens[i].key, -1));
        if (token)
            json_object_set_new(c->tokens, tokens[i].variable, token);
        else if (jinja_names(c->template, tokens[i].variable))
            die(EX_DATAERR, "%s: has no %s of a token, for which the chat template asks",
                gguf_path(g), tokens[i].key);
    }
}

void chat_template_gguf_read(struct chat_template *c, const char *path)
{
    struct gguf *g = gguf_open(path);
    char *source = gguf_text(g, template_key);
    if (!source)
        die(EX_NOINPUT,
            "%s: holds no chat template (%s): it is not a model for chats; use one that is, or the "
            "task's layout \"plain\"",
            path, template_key);
    c->file = xasprintf("%s: %s", path, template_key);
    chat_template_parse(c, source, strlen(source));
    c->tokens = json_object();
    read_tokens(c, g);
    free(source);
    gguf_close(g);
}
