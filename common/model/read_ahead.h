/* Records on their way to the model, a window at a time: a thread reads, decompresses and checks
 * the next window while the device works on the present one. Memory is bounded to the two. */
#ifndef DUQ_MODEL_READ_AHEAD_H
#define DUQ_MODEL_READ_AHEAD_H

#include "common/model/token_input.h"
#include "common/util/mem.h"

struct window_record {
    size_t id;    /* where it begins in the window's ids */
    size_t first; /* of its tokens in the window's */
    int n;        /* tokens */
    int prompt, label;
};

struct window {
    struct window_record *records;
    int n, cap;
    int32_t *tokens;
    size_t n_tokens, cap_tokens;
    struct buf ids; /* NUL-terminated */
};

struct read_ahead;

/* Begins to read; until read_ahead_close() the reader is the thread's alone, its first header
 * apart, which stays as it is. */
struct read_ahead *read_ahead_open(struct stream_reader *in, const struct config *c);

/* The next records in their order, until score_window_full() or the stream's end; where the input
 * pauses for a second while this waits, those that have come. NULL at the end. They live until the
 * next call. Dies as stream_next() and check_tokens() do at what they object to, even if
 * windows before it have not been asked for. */
const struct window *read_ahead_next(struct read_ahead *r);

/* Dies so now if something bad has been read by now. */
void read_ahead_check(struct read_ahead *r);

/* After read_ahead_next() has come to the end. */
void read_ahead_close(struct read_ahead *r);

static inline const char *window_id(const struct window *w, int record)
{
    return w->ids.data + w->records[record].id;
}

#endif
