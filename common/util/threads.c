#include "common/util/threads.h"

#include "common/util/clock.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/processors.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_THREADS = 4096, CACHE_LINE = 64 };

/* ---- how many ---- */

/* What DUQ_THREADS allows. */
static int allowed_by_user(void)
{
    const char *text = getenv("DUQ_THREADS");
    if (!text)
        return MOST_THREADS;
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 1 || n > MOST_THREADS)
        die(EX_USAGE, "DUQ_THREADS is '%s': give a number of threads from 1 to %d, or unset it",
            text, MOST_THREADS);
    return (int)n;
}

int threads_share(int processes)
{
    int most = allowed_by_user(), n = processors_allowed(), quota = processors_quota("");
    /* A launcher that binds its processes has divided the processors already. */
    bool bound = n < (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (!bound)
        n /= processes;
    if (quota && quota / processes < n)
        n = quota / processes;
    if (n > most)
        n = most;
    return n > 0 ? n : 1;
}

int threads_available(void)
{
    return threads_share(1);
}

static atomic_int count; /* 0: not known yet */

void threads_set(int n)
{
    atomic_store(&count, n <= 0 ? threads_available() : n < MOST_THREADS ? n : MOST_THREADS);
}

int threads_count(void)
{
    if (!atomic_load(&count))
        threads_set(0);
    return atomic_load(&count);
}

/* ---- the pool ---- */

struct worker {
    int number;
    atomic_bool asleep;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

/* A job's fields, body to n, are written while none of its pieces can be taken, and read by who has
 * taken one: the job does not end before that piece does.
 *
 * A thread that goes to sleep says so, then looks once more whether it must; who has something for
 * it publishes that, then looks whether it sleeps. All four are sequentially consistent, so one of
 * the two sees the other. */
static struct {
    /* The job's generation << 32 | its pieces that nobody has taken. The generation tells a ticket
     * from one of an earlier job with as many left. */
    _Alignas(CACHE_LINE) _Atomic uint64_t ticket;
    _Alignas(CACHE_LINE) _Atomic uint32_t done; /* of the job's pieces */

    _Alignas(CACHE_LINE) void *context;
    void (*body)(void *context, size_t piece);
    size_t first; /* the number of the job's piece 0 */
    uint32_t n, generation;
    atomic_int helpers; /* the workers 1 to helpers take part */

    atomic_flag busy; /* with the work of one threads_run(), whose caller alone touches the rest */
    struct worker *workers[MOST_THREADS];
    int n_workers;

    atomic_bool caller_sleeps;
    pthread_mutex_t lock;
    pthread_cond_t all_done;
} pool = {
    .busy = ATOMIC_FLAG_INIT,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .all_done = PTHREAD_COND_INITIALIZER,
};

static _Thread_local int number;
static _Thread_local bool within_piece;

int thread_number(void)
{
    return within_piece ? number : 0;
}

/* ---- waiting ---- */

static void pause_processor(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

/* Waits for what comes soon, about as long as it takes to fall asleep and be woken. */
static bool spin_until(bool (*ready)(void))
{
    enum { NANOSECONDS = 30000, LOOKS = 16 };
    int64_t end = clock_nanoseconds() + NANOSECONDS;
    do
        for (int i = 0; i < LOOKS; i++) {
            if (ready())
                return true;
            pause_processor();
        }
    while (clock_nanoseconds() < end);
    return false;
}

static bool all_is_done(void)
{
    return atomic_load(&pool.done) == pool.n;
}

static void wait_for_the_others(void)
{
    if (spin_until(all_is_done))
        return;
    pthread_mutex_lock(&pool.lock);
    atomic_store(&pool.caller_sleeps, true);
    while (!all_is_done())
        pthread_cond_wait(&pool.all_done, &pool.lock);
    atomic_store(&pool.caller_sleeps, false);
    pthread_mutex_unlock(&pool.lock);
}

static void wake_caller(void)
{
    if (!atomic_load(&pool.caller_sleeps))
        return;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_signal(&pool.all_done);
    pthread_mutex_unlock(&pool.lock);
}

/* ---- pieces ---- */

/* How many pieces of the ticket's job this thread may take one of. helpers is read after the ticket
 * and written before it: where it is a later job's, the ticket is out of date, too. */
static uint32_t takeable(uint64_t ticket)
{
    return number <= atomic_load(&pool.helpers) ? (uint32_t)ticket : 0;
}

static bool work_is_here(void)
{
    return takeable(atomic_load(&pool.ticket)) > 0;
}

/* Takes a piece: how many were left with it, 0 where there is none. */
static uint32_t take_piece(void)
{
    uint64_t ticket = atomic_load(&pool.ticket);
    uint32_t left;
    while ((left = takeable(ticket)) > 0)
        if (atomic_compare_exchange_weak(&pool.ticket, &ticket, ticket - 1))
            break;
    return left;
}

/* Until pieces are counted as done their job is under way, so all these are one job's. */
static void do_pieces(void)
{
    uint32_t mine = 0, n = 0;
    within_piece = true;
    for (uint32_t left; (left = take_piece()) > 0; mine++) {
        n = pool.n;
        pool.body(pool.context, pool.first + (n - left));
    }
    within_piece = false;
    if (mine && atomic_fetch_add(&pool.done, mine) + mine == n)
        wake_caller();
}

/* ---- workers ---- */

static void sleep_until_work(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    for (;;) {
        atomic_store(&w->asleep, true);
        if (work_is_here())
            break;
        pthread_cond_wait(&w->wake, &w->lock);
    }
    atomic_store(&w->asleep, false);
    pthread_mutex_unlock(&w->lock);
}

static void wake_worker(struct worker *w)
{
    if (!atomic_load(&w->asleep))
        return;
    pthread_mutex_lock(&w->lock);
    atomic_store(&w->asleep, false); /* nobody need wake it again */
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static void *worker_main(void *worker)
{
    struct worker *w = worker;
    number = w->number;
    for (;;) {
        if (!spin_until(work_is_here))
            sleep_until_work(w);
        do_pieces();
    }
    return NULL;
}

/* Signals are for the program's own threads, but for those that a thread brings on itself. */
static void block_signals(sigset_t *before)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&blocked, own[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, before);
}

/* Starts workers up to so many, or as many as the system gives: how many there are of these. */
static int start_workers(int wanted)
{
    if (pool.n_workers >= wanted)
        return wanted;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    sigset_t before;
    block_signals(&before);
    while (pool.n_workers < wanted) {
        struct worker *w = xaligned(sizeof *w);
        *w = (struct worker){.number = pool.n_workers + 1,
                             .lock = PTHREAD_MUTEX_INITIALIZER,
                             .wake = PTHREAD_COND_INITIALIZER};
        pthread_t id;
        if (pthread_create(&id, &detached, worker_main, w)) {
            free(w);
            break;
        }
        pool.workers[pool.n_workers++] = w;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
    return pool.n_workers < wanted ? pool.n_workers : wanted;
}

/* ---- running ---- */

static void run_serially(size_t pieces, void (*body)(void *context, size_t piece), void *context)
{
    bool outer = within_piece;
    within_piece = true;
    for (size_t i = 0; i < pieces; i++)
        body(context, i);
    within_piece = outer;
}

/* The job whose fields are in place, all but its number of pieces. */
static void run_job(uint32_t n, int threads)
{
    int helpers = start_workers((uint32_t)threads < n ? threads - 1 : (int)n - 1);
    pool.n = n;
    atomic_store(&pool.done, 0);
    atomic_store(&pool.helpers, helpers);
    atomic_store(&pool.ticket, (uint64_t)++pool.generation << 32 | n);
    for (int i = 0; i < helpers && work_is_here(); i++)
        wake_worker(pool.workers[i]);
    do_pieces();
    wait_for_the_others();
}

void threads_run(size_t pieces, void (*body)(void *context, size_t piece), void *context)
{
    int threads = threads_count();
    if (within_piece || threads == 1 || pieces <= 1 || atomic_flag_test_and_set(&pool.busy)) {
        run_serially(pieces, body, context);
        return;
    }
    pool.body = body;
    pool.context = context;
    for (size_t first = 0, n; first < pieces; first += n) {
        n = pieces - first < UINT32_MAX ? pieces - first : UINT32_MAX;
        pool.first = first;
        run_job((uint32_t)n, threads);
    }
    atomic_flag_clear(&pool.busy);
}
