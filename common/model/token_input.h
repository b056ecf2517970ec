/* What the programs that feed token streams to a model ask of them. */
#ifndef DUQ_MODEL_TOKEN_INPUT_H
#define DUQ_MODEL_TOKEN_INPUT_H

#include "common/model/config.h"
#include "common/stream/record.h"

/* The tokens with as many more after them, the vocabulary's last ones, at whose logits an IB-EDL
 * student has its deviations, as in the published code; *count is doubled and the old list is gone.
 * Dies (EX_DATAERR) when a class token is one of them. */
int32_t *add_deviation_tokens(const struct stream_reader *r, int32_t *tokens, int *count,
                              const struct config *c);

/* Dies (EX_DATAERR, record named) at a record that the model cannot take: too long, with an answer
 * of so many tokens after it, or with tokens outside its vocabulary. */
void check_tokens(const struct stream_reader *r, const struct tokens *t, const struct config *c,
                  int answer);

#endif
