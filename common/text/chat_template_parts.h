/* What the readers of chat templates share. */
#ifndef DUQ_TEXT_CHAT_TEMPLATE_PARTS_H
#define DUQ_TEXT_CHAT_TEMPLATE_PARTS_H

#include "common/text/chat_template.h"

/* c->template, from its text. Dies (EX_DATAERR) at one that cannot be read, c->file named. */
void chat_template_parse(struct chat_template *c, const char *source, size_t len);

/* Fills in c from a GGUF file. */
void chat_template_gguf_read(struct chat_template *c, const char *path);

#endif
