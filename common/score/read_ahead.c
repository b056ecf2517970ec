#include "common/score/read_ahead.h"

#include "common/score/score.h"
#include "common/util/clock.h"
#include "common/util/diag.h"
#include "common/util/input.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOWS = 2 };

/* Milliseconds without input after which it pauses, and that records wait at most while the model
 * has nothing to do. */
static const double LULL = 20, PATIENCE = 1000;

struct read_ahead {
    struct stream_reader *in;
    const struct config *config;
    int answer;
    const struct asked *asked;
    pthread_t thread;

    pthread_mutex_t lock; /* of what follows, but for a window between taken and given back */
    pthread_cond_t changed;
    struct window windows[WINDOWS];          /* window i is windows[i % WINDOWS] */
    unsigned long filled, taken, given_back; /* so many; window `filled` is being filled */
    bool waiting;                            /* the thread, for input */
    double waiting_since;                    /* in milliseconds */
    bool held;                               /* the lock, by the thread that reads */
    bool ended;                              /* nothing more comes */
    struct last_words words;                 /* if ended: of a thread that died */
};

static struct window *being_filled(struct read_ahead *r)
{
    return &r->windows[r->filled % WINDOWS];
}

/* ---- the reading thread ---- */

static void add_record(struct window *w, const struct tokens *t)
{
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 1024;
        w->records = xreallocarray(w->records, (size_t)w->cap, sizeof *w->records);
    }
    if (w->n_tokens + t->n_tokens > w->cap_tokens) {
        w->cap_tokens = 2 * (w->n_tokens + t->n_tokens);
        w->tokens = xreallocarray(w->tokens, w->cap_tokens, sizeof *w->tokens);
    }
    w->records[w->n++] = (struct window_record){.id = w->ids.len,
                                                .first = w->n_tokens,
                                                .n = (int)t->n_tokens,
                                                .prompt = t->prompt,
                                                .label = t->label};
    buf_add(&w->ids, t->id, strlen(t->id) + 1);
    memcpy(w->tokens + w->n_tokens, t->tokens, t->n_tokens * sizeof *w->tokens);
    w->n_tokens += t->n_tokens;
}

static void close_window(struct read_ahead *r)
{
    r->filled++;
    pthread_cond_broadcast(&r->changed);
}

static void begin_to_wait(void *reader)
{
    struct read_ahead *r = reader;
    pthread_mutex_lock(&r->lock);
    r->waiting = true;
    r->waiting_since = 1e3 * clock_seconds();
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* What dies with the lock held keeps it. */
static void hold(struct read_ahead *r)
{
    pthread_mutex_lock(&r->lock);
    r->held = true;
}

static void let_go(struct read_ahead *r)
{
    r->held = false;
    pthread_mutex_unlock(&r->lock);
}

static void read_records(void *reader)
{
    struct read_ahead *r = reader;
    input_on_wait(&(struct wait_hook){.call = begin_to_wait, .data = r});
    struct tokens t;
    while (tokens_read(r->in, &t)) {
        check_tokens(r->in, &t, r->config, r->answer);
        asked_check(r->asked, r->in, &t);
        hold(r);
        while (r->filled - r->given_back == WINDOWS)
            pthread_cond_wait(&r->changed, &r->lock);
        struct window *w = being_filled(r);
        add_record(w, &t);
        r->waiting = false;
        if (score_window_full(w->n, w->n_tokens))
            close_window(r);
        else if (w->n == 1)
            pthread_cond_broadcast(&r->changed);
        let_go(r);
    }
    pthread_mutex_lock(&r->lock);
    if (r->filled - r->given_back < WINDOWS && being_filled(r)->n)
        close_window(r);
    pthread_mutex_unlock(&r->lock);
}

static void *thread_main(void *reader)
{
    struct read_ahead *r = reader;
    die_into(&r->words, read_records, r);
    if (!r->held)
        pthread_mutex_lock(&r->lock);
    r->ended = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- the program's thread ---- */

struct read_ahead *read_ahead_open(struct stream_reader *in, const struct config *c, int answer,
                                   const struct asked *asked)
{
    struct read_ahead *r = xcalloc(1, sizeof *r);
    r->in = in;
    r->config = c;
    r->answer = answer;
    r->asked = asked;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t steady;
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &steady);
    pthread_condattr_destroy(&steady);
    if (pthread_create(&r->thread, NULL, thread_main, r))
        die(EX_OSERR, "no thread can be started for reading: too many are running");
    return r;
}

/* With the lock held. */
static void pass_on_death(struct read_ahead *r)
{
    if (!r->ended || !r->words.status)
        return;
    pthread_join(r->thread, NULL);
    die_with(&r->words);
}

void read_ahead_check(struct read_ahead *r)
{
    pthread_mutex_lock(&r->lock);
    pass_on_death(r);
    pthread_mutex_unlock(&r->lock);
}

/* Waits for a change until then, in milliseconds; false when it is past. With the lock held. */
static bool wait_until(struct read_ahead *r, double then)
{
    if (1e3 * clock_seconds() >= then)
        return false;
    struct timespec t = {.tv_sec = (time_t)(then / 1e3)};
    t.tv_nsec = (long)(1e6 * (then - 1e3 * (double)t.tv_sec));
    pthread_cond_timedwait(&r->changed, &r->lock, &t);
    return true;
}

/* Waits for a window, a full one or what there is when the input pauses. With the lock held. */
static void await_window(struct read_ahead *r)
{
    double patient_until = 0;
    while (r->filled == r->taken && !r->ended) {
        if (!being_filled(r)->n) {
            pthread_cond_wait(&r->changed, &r->lock);
            continue;
        }
        if (!patient_until)
            patient_until = 1e3 * clock_seconds() + PATIENCE;
        double then = patient_until;
        if (r->waiting && r->waiting_since + LULL < then)
            then = r->waiting_since + LULL;
        if (!wait_until(r, then))
            close_window(r);
    }
}

static void give_back(struct read_ahead *r)
{
    struct window *w = &r->windows[r->given_back++ % WINDOWS];
    w->n = 0;
    w->n_tokens = w->ids.len = 0;
    pthread_cond_broadcast(&r->changed);
}

const struct window *read_ahead_next(struct read_ahead *r)
{
    pthread_mutex_lock(&r->lock);
    if (r->taken > r->given_back)
        give_back(r);
    await_window(r);
    pass_on_death(r);
    struct window *w = r->filled > r->taken ? &r->windows[r->taken++ % WINDOWS] : NULL;
    pthread_mutex_unlock(&r->lock);
    return w;
}

void read_ahead_close(struct read_ahead *r)
{
    pthread_join(r->thread, NULL);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    for (int i = 0; i < WINDOWS; i++) {
        free(r->windows[i].records);
        free(r->windows[i].tokens);
        buf_free(&r->windows[i].ids);
    }
    free(r);
}
