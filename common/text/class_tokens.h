/* The tokens at which the classes of a task are read. */
#ifndef DUQ_TEXT_CLASS_TOKENS_H
#define DUQ_TEXT_CLASS_TOKENS_H

#include "common/text/tokenizer.h"

#include <jansson.h>

/* The first token of each class's bare word; the caller frees it. Dies (EX_DATAERR) when two
 * classes have the same, for a model could not tell them apart there. Warns, once, of a token that
 * is a piece of a word: a model that writes the word otherwise gives it next to nothing. */
int32_t *class_tokens(struct tokenizer *t, const char *const *classes, size_t n);

/* The text of n tokens that end within a word of text, in piece; NULL where they do not. */
const char *piece_of_word(struct tokenizer *t, const char *text, const int32_t *tokens, size_t n,
                          struct buf *piece);

/* Sets "class_tokens", or where one token does not tell a class "answer_tokens", of a header with
 * "classes" and, where the task has them, "answers" and "open"; one without classes has neither.
 * name: what messages call the stream or file. Dies and warns as class_tokens() and
 * answer_tokens() do. */
void header_set_class_tokens(struct tokenizer *t, json_t *header, const char *name);

#endif
