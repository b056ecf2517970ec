/* The tokens at which the answers of a task are read: those that come after the open phrase, as
 * many as it takes to tell an answer from those of other classes. */
#ifndef DUQ_TEXT_ANSWER_TOKENS_H
#define DUQ_TEXT_ANSWER_TOKENS_H

#include "common/text/tokenizer.h"

#include <jansson.h>

/* For each class its answers' tokens, all different, none the beginning of another: an array of
 * arrays of arrays, which the caller owns. Of a class's answers that begin with the same such
 * tokens one stands for all. Reads "answers" and "open" of a header; name: what messages call its
 * stream or file. Dies (EX_DATAERR), naming the answers: one that fuses with the open phrase, so
 * that it has no tokens of its own; two classes' that are the same tokens, or of which one begins
 * with the other. Warns, once, of an answer that is read at a piece of a word. */
json_t *answer_tokens(struct tokenizer *t, const json_t *header, const char *name);

/* The one token of each class, [classes], where a single one tells all of them; else NULL. */
json_t *answer_class_tokens(const json_t *answer_tokens);

#endif
