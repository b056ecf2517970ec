/* The pool of threads: each piece once, whoever calls from where, sleep when idle; and how many
 * processors affinity, quota and user allow. */
#include "common/util/mem.h"
#include "common/util/processors.h"
#include "common/util/threads.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST_PIECES = 100000, MOST_THREADS = 16 };

/* Pieces run on other threads, where cmocka's assertions cannot: they leave what they saw here. */
struct seen {
    atomic_int times[MOST_PIECES];
    atomic_int at_work[MOST_THREADS]; /* pieces under way, by thread */
    atomic_int faults, highest;
};

static struct seen *seen_create(void)
{
    return xcalloc(1, sizeof(struct seen));
}

static void wait_nanoseconds(long n)
{
    nanosleep(&(struct timespec){.tv_nsec = n}, NULL);
}

static void note(struct seen *s, size_t piece)
{
    int me = thread_number();
    if (me < 0 || me >= threads_count() || atomic_fetch_add(&s->at_work[me], 1) != 0)
        atomic_fetch_add(&s->faults, 1);
    atomic_fetch_add(&s->times[piece], 1);
    for (int high = atomic_load(&s->highest); me > high;)
        if (atomic_compare_exchange_weak(&s->highest, &high, me))
            break;
}

static void note_end(struct seen *s)
{
    atomic_fetch_sub(&s->at_work[thread_number()], 1);
}

static void short_piece(void *context, size_t piece)
{
    note(context, piece);
    note_end(context);
}

static void long_piece(void *context, size_t piece)
{
    note(context, piece);
    wait_nanoseconds(1000000);
    note_end(context);
}

static void assert_each_once(const struct seen *s, size_t pieces)
{
    assert_int_equal(atomic_load(&s->faults), 0);
    for (size_t i = 0; i < MOST_PIECES; i++)
        if (atomic_load(&s->times[i]) != (i < pieces))
            fail_msg("piece %zu of %zu was done %d times", i, pieces, atomic_load(&s->times[i]));
}

static void run_and_check(size_t pieces, void (*body)(void *context, size_t piece))
{
    struct seen *s = seen_create();
    threads_run(pieces, body, s);
    assert_each_once(s, pieces);
    /* Threads beyond the pieces are left alone. */
    assert_true(pieces == 0 || (size_t)atomic_load(&s->highest) < pieces);
    free(s);
}

static void each_piece_is_done_once(void **state)
{
    (void)state;
    static const size_t pieces[] = {0, 1, 2, 7, 1000, MOST_PIECES};
    static const int threads[] = {1, 2, 3, 4, 5, 2, 1, 3};
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        threads_set(threads[t]);
        assert_int_equal(threads_count(), threads[t]);
        for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
            run_and_check(pieces[i], short_piece);
    }
}

static void pieces_under_way_have_different_numbers(void **state)
{
    (void)state;
    for (int threads = 2; threads <= 5; threads++) {
        threads_set(threads);
        struct seen *s = seen_create();
        threads_run(40, long_piece, s);
        assert_each_once(s, 40);
        /* While one piece waits, another thread takes the next. */
        assert_true(atomic_load(&s->highest) > 0);
        free(s);
        assert_int_equal(thread_number(), 0);
    }
}

/* ---- callers ---- */

struct nest {
    struct seen *outer, *inner;
};

struct inner {
    struct seen *seen;
    size_t first;
    int number, faults;
};

static void inner_piece(void *context, size_t piece)
{
    struct inner *i = context;
    i->faults += thread_number() != i->number;
    atomic_fetch_add(&i->seen->times[i->first + piece], 1);
}

static void outer_piece(void *context, size_t piece)
{
    const struct nest *n = context;
    note(n->outer, piece);
    struct inner i = {n->inner, piece * 5, thread_number(), 0};
    threads_run(5, inner_piece, &i);
    atomic_fetch_add(&n->inner->faults, i.faults);
    note_end(n->outer);
}

static void a_piece_does_its_own_pieces_itself(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        threads_set(threads);
        struct nest n = {seen_create(), seen_create()};
        threads_run(300, outer_piece, &n);
        assert_each_once(n.outer, 300);
        assert_each_once(n.inner, 1500);
        free(n.outer), free(n.inner);
    }
}

enum { RUNS_OF_EACH = 500 };

static void *call_often(void *seen)
{
    for (int i = 0; i < RUNS_OF_EACH; i++)
        threads_run(50, short_piece, seen);
    return NULL;
}

static void two_callers_do_not_disturb_each_other(void **state)
{
    (void)state;
    threads_set(3);
    struct seen *seen[] = {seen_create(), seen_create()};
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, call_often, seen[1]), 0);
    call_often(seen[0]);
    pthread_join(other, NULL);
    for (int c = 0; c < 2; c++) {
        assert_int_equal(atomic_load(&seen[c]->faults), 0);
        for (int i = 0; i < 50; i++)
            assert_int_equal(atomic_load(&seen[c]->times[i]), RUNS_OF_EACH);
        free(seen[c]);
    }
}

/* ---- time ---- */

static void add_one(void *context, size_t piece)
{
    (void)piece;
    atomic_fetch_add((atomic_int *)context, 1);
}

static void short_runs_follow_each_other(void **state)
{
    (void)state;
    threads_set(3);
    atomic_int sum = 0;
    for (int run = 1; run <= 20000; run++) {
        threads_run(4, add_one, &sum);
        if (atomic_load(&sum) != 4 * run)
            fail_msg("after run %d, %d pieces are done", run, atomic_load(&sum));
    }
}

/* Pauses about as long as threads spin, so that some runs begin as they fall asleep. */
static void sleeping_threads_wake(void **state)
{
    (void)state;
    threads_set(4);
    atomic_int sum = 0;
    for (int run = 1; run <= 300; run++) {
        wait_nanoseconds(run % 10 ? run % 100 * 1000 : 1000000);
        threads_run(8, add_one, &sum);
        assert_int_equal(atomic_load(&sum), 8 * run);
    }
    wait_nanoseconds(20000000);
    struct seen *s = seen_create();
    threads_run(40, long_piece, s);
    assert_true(atomic_load(&s->highest) > 0);
    free(s);
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void idle_threads_take_no_processor_time(void **state)
{
    (void)state;
    threads_set(5);
    run_and_check(1000, short_piece);
    double before = processor_seconds();
    wait_nanoseconds(300000000);
    assert_true(processor_seconds() - before < 0.03);
}

static void uneven_piece(void *context, size_t piece)
{
    if (piece == 0) /* the caller's, most likely */
        wait_nanoseconds(1000000);
    if (piece == 1)
        wait_nanoseconds(100000000);
    add_one(context, piece);
}

static void a_caller_that_waits_takes_no_processor_time(void **state)
{
    (void)state;
    threads_set(3);
    atomic_int sum = 0;
    double before = processor_seconds();
    for (int run = 1; run <= 3; run++) {
        threads_run(3, uneven_piece, &sum);
        assert_int_equal(atomic_load(&sum), 3 * run);
    }
    assert_true(processor_seconds() - before < 0.03);
}

/* For every thread of this process. */
static void set_affinity(const cpu_set_t *set)
{
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (const struct dirent *e; (e = readdir(tasks));)
        if (e->d_name[0] != '.')
            assert_int_equal(sched_setaffinity(atoi(e->d_name), sizeof *set, set), 0);
    closedir(tasks);
}

/* *all: what this thread may use; *one: the first of them. */
static void get_affinity(cpu_set_t *all, cpu_set_t *one)
{
    assert_int_equal(sched_getaffinity(0, sizeof *all, all), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, all))
        cpu++;
    CPU_ZERO(one);
    CPU_SET(cpu, one);
}

static void many_threads_share_one_processor(void **state)
{
    (void)state;
    cpu_set_t all, one;
    get_affinity(&all, &one);
    threads_set(MOST_THREADS);
    run_and_check(1000, short_piece); /* starts them */
    set_affinity(&one);
    alarm(60);
    atomic_int sum = 0;
    for (int run = 1; run <= 500; run++) {
        threads_run(100, add_one, &sum);
        assert_int_equal(atomic_load(&sum), 100 * run);
    }
    run_and_check(MOST_PIECES, short_piece);
    alarm(0);
    set_affinity(&all);
}

/* ---- how many ---- */

static void threads_follow_affinity(void **state)
{
    (void)state;
    cpu_set_t all, one;
    get_affinity(&all, &one);
    unsetenv("DUQ_THREADS");
    assert_int_equal(processors_allowed(), CPU_COUNT(&all));
    assert_in_range(threads_available(), 1, CPU_COUNT(&all));
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(processors_allowed(), 1);
    assert_int_equal(threads_available(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

static void assert_refused(const char *value)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        setenv("DUQ_THREADS", value, 1);
        threads_available();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EX_USAGE);
}

static void threads_follow_the_user(void **state)
{
    (void)state;
    unsetenv("DUQ_THREADS");
    int all = threads_available();
    setenv("DUQ_THREADS", "1", 1);
    assert_int_equal(threads_available(), 1);
    threads_set(0);
    assert_int_equal(threads_count(), 1);
    setenv("DUQ_THREADS", "4096", 1);
    assert_int_equal(threads_available(), all);
    assert_in_range(threads_share(2), 1, all);
    assert_int_equal(threads_share(1000000), 1);
    static const char *const refused[] = {"", "0", "-1", "4097", "two", "2x", "1e3"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_refused(refused[i]);
    unsetenv("DUQ_THREADS");
    threads_set(0);
    assert_int_equal(threads_count(), all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_piece_is_done_once),
        cmocka_unit_test(pieces_under_way_have_different_numbers),
        cmocka_unit_test(a_piece_does_its_own_pieces_itself),
        cmocka_unit_test(two_callers_do_not_disturb_each_other),
        cmocka_unit_test(short_runs_follow_each_other),
        cmocka_unit_test(sleeping_threads_wake),
        cmocka_unit_test(idle_threads_take_no_processor_time),
        cmocka_unit_test(a_caller_that_waits_takes_no_processor_time),
        cmocka_unit_test(many_threads_share_one_processor),
        cmocka_unit_test(threads_follow_affinity),
        cmocka_unit_test(threads_follow_the_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
