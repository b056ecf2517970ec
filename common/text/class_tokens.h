/* The tokens at which the classes of a task are read. */
#ifndef DUQ_TEXT_CLASS_TOKENS_H
#define DUQ_TEXT_CLASS_TOKENS_H

#include "common/text/tokenizer.h"

/* The first token of each class's bare word; the caller frees it. Dies (EX_DATAERR) when two
 * classes have the same, for a model could not tell them apart there. Warns, once, of a token that
 * is a piece of a word: a model that writes the word otherwise gives it next to nothing. */
int32_t *class_tokens(struct tokenizer *t, const char *const *classes, size_t n);

#endif
