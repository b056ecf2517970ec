/* Are texts asked as those that an adapter was trained on: by the same instruction, in the same
 * layout, with or without worked examples? A student asked otherwise answers, and less well. */
#ifndef DUQ_SCORE_ASKED_H
#define DUQ_SCORE_ASKED_H

#include "common/model/adapter.h"
#include "common/stream/record.h"

/* Which of a stream's instructions the adapter was trained on. */
struct asked;

/* Holds the header's "asked" against the one in the adapter's duq.json. Dies (EX_DATAERR), naming
 * the first key that differs, where the layouts are two. NULL where either says nothing: nothing is
 * held against it then. */
struct asked *asked_match(const struct adapter *a, const struct stream_reader *tokens);
/* Dies (EX_DATAERR, record named) at a record that is asked by another instruction. */
void asked_check(const struct asked *s, const struct stream_reader *r, const struct tokens *t);
void asked_free(struct asked *s);

#endif
