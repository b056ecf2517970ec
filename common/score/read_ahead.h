/* Records on their way to the model, a window at a time: a thread reads, decompresses and checks
 * the next window while the device works on the present one. Memory is bounded to the two.
 *
 * Full windows share the most beginnings, but a device that waits for one does nothing. So when the
 * caller asks for a window and the input has paused for 20 ms, it gets what has come: the prompts
 * of a text are written at once and are together by then, even where the programs before have to
 * wait for a processor. Less would cut their bursts up; more would only be waited out. While the
 * device works nothing is handed over, so that records that come more slowly than it works gather
 * to windows as large as it takes them. Input that never pauses and is slow is waited for a second.
 */
#ifndef DUQ_SCORE_READ_AHEAD_H
#define DUQ_SCORE_READ_AHEAD_H

#include "common/model/token_input.h"
#include "common/score/asked.h"
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

/* answer: tokens that follow a record's (check_tokens()); asked: what to hold records against, or
 * NULL. Begins to read; until read_ahead_close() the reader is the thread's alone, its first header
 * apart, which stays as it is. */
struct read_ahead *read_ahead_open(struct stream_reader *in, const struct config *c, int answer,
                                   const struct asked *asked);

/* The next records in their order: until score_window_full() or the stream's end, or those that
 * have come when the input pauses. NULL at the end. They live until the next call. Dies as
 * stream_next(), check_tokens() and asked_check() do at what they object to, even if windows before
 * it have not been asked for. */
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
