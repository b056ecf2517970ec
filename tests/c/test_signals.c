/* Signals that wait, and what they leave of a file that is being made. */
#include "common/util/clock.h"
#include "common/util/signals.h"
#include "common/util/unfinished.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

/* How a child that does this while it makes a file ends, as waitpid(2) says it; nothing is left of
 * the file. */
static int ending(void (*act)(void))
{
    char folder[] = "/tmp/test_signals.XXXXXX";
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/XXXXXX", folder);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (unfinished_create(path) < 0)
            exit(99);
        act();
        exit(98);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(rmdir(folder), 0);
    return status;
}

static void assert_ended_by(int number, void (*act)(void))
{
    int status = ending(act);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), number);
}

static void assert_exited(int expected, void (*act)(void))
{
    int status = ending(act);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), expected);
}

/* The file is there while the program is. */
static void expect_file(void)
{
    if (access(path, F_OK))
        exit(97);
}

static void be_asked(void)
{
    signals_hold();
    raise(SIGTERM);
    raise(SIGINT);
    expect_file();
    exit(signals_held());
}

static void test_the_first_waits_and_is_known(void **state)
{
    (void)state;
    assert_exited(SIGTERM, be_asked);
}

static void be_asked_again(void)
{
    signals_hold();
    raise(SIGTERM);
    int64_t began = clock_nanoseconds();
    while (clock_nanoseconds() - began < 1100000000)
        ;
    expect_file();
    raise(SIGINT);
}

static void test_one_after_a_second_ends_it(void **state)
{
    (void)state;
    assert_ended_by(SIGINT, be_asked_again);
}

static void let_go(void)
{
    signals_hold();
    raise(SIGHUP);
    signals_release();
}

static void test_the_end_of_waiting_ends_it(void **state)
{
    (void)state;
    assert_ended_by(SIGHUP, let_go);
}

static void wait_in_vain(void)
{
    signals_hold();
    signals_release();
    raise(SIGTERM);
}

static void test_those_after_waiting_do_not_wait(void **state)
{
    (void)state;
    assert_ended_by(SIGTERM, wait_in_vain);
}

static void be_stopped(void)
{
    signals_hold();
    raise(SIGQUIT);
}

static void test_others_do_not_wait(void **state)
{
    (void)state;
    assert_ended_by(SIGQUIT, be_stopped);
}

static void ignore(void)
{
    signals_hold();
    raise(SIGINT);
    exit(signals_held() ? 96 : 0);
}

/* As a shell without job control starts what is in the background. */
static void test_an_ignored_one_is_not_heard(void **state)
{
    (void)state;
    signal(SIGINT, SIG_IGN);
    assert_exited(0, ignore);
    signal(SIGINT, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_waits_and_is_known),
        cmocka_unit_test(test_one_after_a_second_ends_it),
        cmocka_unit_test(test_the_end_of_waiting_ends_it),
        cmocka_unit_test(test_those_after_waiting_do_not_wait),
        cmocka_unit_test(test_others_do_not_wait),
        cmocka_unit_test(test_an_ignored_one_is_not_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
