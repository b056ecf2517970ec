/* Prompts as conversations, in a model's own layout.
 *
 * A user's turn is the instruction's block and the content, as in the plain layout (prompt.h)
 * without "EXAMPLE i:"; worked examples are turns, each with the assistant's turn behind it: the
 * task's reply and the class's answer. The text's turn is the last, and the template opens the
 * assistant's turn behind it, which the reply begins: [system]  user BLOCK "\n" CONTENT(shot i)
 * assistant REPLY ANSWER  ...  user BLOCK "\n" CONTENT(text)  assistant REPLY
 *
 * Texts, of shots too, are literal: a prompt says where they stand, so that the tokenizer takes
 * nothing in them for a token of the template's. */
#ifndef DUQ_TEXT_CHAT_H
#define DUQ_TEXT_CHAT_H

#include "common/text/chat_template.h"
#include "common/text/ids.h"
#include "common/text/prompt.h"

#include <time.h>

struct chat;

/* Lays out the prompts of instructions first up to, not including, past. What stands before and
 * behind the text is rendered once, where the template does not look into texts. All stay in their
 * place. Dies (EX_DATAERR) at a template that fails or leaves the text out. */
struct chat *chat_new(const struct chat_template *c, const struct task *t,
                      const struct shots *shots, size_t first, size_t past, const struct tm *date);
void chat_free(struct chat *c);

/* What stands between the end of a text and its answer, of all instructions; NUL-terminated. Dies
 * (EX_DATAERR) where the template ends their prompts differently. */
const char *chat_open(const struct chat *c);

/* Appends a text's prompt, and the byte offsets at which its literal parts begin and end, pair by
 * pair. NULL, or the message of a template that fails at this text; it lives until the next call.
 */
const char *chat_prompt(struct chat *c, size_t instruction, struct span text, struct buf *out,
                        struct ids *literal);

#endif
