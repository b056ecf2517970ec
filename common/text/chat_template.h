/* The chat template of a model's folder: how the model writes the turns of a conversation. */
#ifndef DUQ_TEXT_CHAT_TEMPLATE_H
#define DUQ_TEXT_CHAT_TEMPLATE_H

#include "common/text/jinja.h"

#include <jansson.h>

struct chat_template {
    char *file; /* where it stands, for messages */
    struct jinja_template *template;
    json_t *tokens; /* variables: bos_token, eos_token ... */
};

/* Reads it where transformers 5 does: chat_template.jinja, else tokenizer_config.json's
 * chat_template (of several, "default"), else chat_template.json; what additional_chat_templates/
 * has comes before the last two. Special tokens are those of tokenizer_config.json and
 * special_tokens_map.json. In their absence a GGUF file, which the folder stands for or which is
 * named in its place, has both. Dies: EX_NOINPUT where there is none, EX_DATAERR at one that is
 * damaged, asks for what is not known, or for a token that no file names. */
struct chat_template *chat_template_read(const char *folder);
void chat_template_free(struct chat_template *c);

#endif
