/* Are tokens of a model's own tokenizer? */
#ifndef DUQ_TEXT_TOKENIZER_MATCH_H
#define DUQ_TEXT_TOKENIZER_MATCH_H

#include "common/stream/stream.h"

/* Compares the tokenizer that a stream's header names with the model's: the digest of the file, not
 * what the files beside it make of it. Dies (EX_DATAERR) where they are two; a header that names
 * none and a folder that holds none say nothing. */
void tokenizer_match(const struct stream_reader *tokens, const char *model_folder);

#endif
