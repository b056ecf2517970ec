/* Waiting for input: what is to be done before it is done then, and by the thread that waits. */
#include "common/util/input.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static int fds[2];
static int order[4], calls;

static void writes(void *data)
{
    order[calls++] = *(int *)data;
    /* What was waited for comes now: it had not before. */
    if (calls == 1)
        assert_int_equal(write(fds[1], "late", 4), 4);
}

static int open_pipe(void **state)
{
    (void)state;
    calls = 0;
    return pipe(fds);
}

static int close_pipe(void **state)
{
    (void)state;
    close(fds[0]);
    close(fds[1]);
    return 0;
}

static void hooks_are_called_before_waiting_and_not_otherwise(void **state)
{
    (void)state;
    char bytes[8];
    int one = 1, two = 2;
    struct wait_hook first = {.call = writes, .data = &one},
                     second = {.call = writes, .data = &two};
    input_on_wait(&first);
    input_on_wait(&second);
    assert_int_equal(write(fds[1], "now", 3), 3);
    assert_int_equal(input_read(fds[0], bytes, sizeof bytes), 3);
    assert_int_equal(calls, 0);
    assert_int_equal(input_read(fds[0], bytes, sizeof bytes), 4);
    assert_int_equal(calls, 2);
    assert_int_equal(order[0], 2); /* the last one first */
    assert_int_equal(order[1], 1);
    calls = 0;
    input_off_wait(&second);
    assert_int_equal(input_read(fds[0], bytes, sizeof bytes), 4);
    assert_int_equal(calls, 1);
    assert_int_equal(order[0], 1);
    input_off_wait(&first);
}

static void the_end_of_input_is_no_wait(void **state)
{
    (void)state;
    char byte;
    int one = 1;
    struct wait_hook hook = {.call = writes, .data = &one};
    input_on_wait(&hook);
    close(fds[1]);
    assert_int_equal(input_read(fds[0], &byte, 1), 0);
    assert_int_equal(calls, 0);
    input_off_wait(&hook);
    fds[1] = dup(fds[0]);
}

static void *reads(void *data)
{
    char byte;
    (void)data;
    return (void *)(intptr_t)input_read(fds[0], &byte, 1);
}

static void other_threads_hooks_are_left_alone(void **state)
{
    (void)state;
    int one = 1;
    struct wait_hook hook = {.call = writes, .data = &one};
    input_on_wait(&hook);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, reads, NULL), 0);
    usleep(20000);
    assert_int_equal(write(fds[1], "x", 1), 1);
    void *n;
    assert_int_equal(pthread_join(thread, &n), 0);
    assert_int_equal((intptr_t)n, 1);
    assert_int_equal(calls, 0);
    input_off_wait(&hook);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hooks_are_called_before_waiting_and_not_otherwise,
                                        open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(the_end_of_input_is_no_wait, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(other_threads_hooks_are_left_alone, open_pipe, close_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
