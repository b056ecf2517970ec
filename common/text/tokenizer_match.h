/* Are tokens, or prompts in a model's own layout, of a model's own tokenizer? */
#ifndef DUQ_TEXT_TOKENIZER_MATCH_H
#define DUQ_TEXT_TOKENIZER_MATCH_H

#include "common/stream/stream.h"
#include "common/text/tokenizer.h"

/* Compares the tokenizer that a stream's header names with the model's: the digest of the file, not
 * what the files beside it make of it. Dies (EX_DATAERR) where they are two; a header that names
 * none and a folder that holds none say nothing. */
void tokenizer_match(const struct stream_reader *tokens, const char *model_folder);

/* The digest of a folder's tokenizer file, which the caller frees; NULL where it holds none. */
char *tokenizer_file_digest(const char *model_folder);
/* Dies (EX_DATAERR) where the header of prompts in a model's own layout names another file than the
 * tokenizer's. */
void tokenizer_match_layout(const struct stream_reader *prompts, const struct tokenizer *t);

#endif
