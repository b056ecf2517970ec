/* What the programs that feed token streams to a model ask of them. */
#ifndef DUQ_MODEL_TOKEN_INPUT_H
#define DUQ_MODEL_TOKEN_INPUT_H

#include "common/model/config.h"
#include "common/stream/record.h"

/* The header's "class_tokens", one for each class; the caller frees them. Dies (EX_DATAERR) when
 * there are none. */
int32_t *header_class_tokens(const struct stream_reader *r, int *count);

/* Dies (EX_DATAERR, record named) at a record that the model cannot take: too long, or with tokens
 * outside its vocabulary. */
void check_tokens(const struct stream_reader *r, const struct tokens *t, const struct config *c);

#endif
