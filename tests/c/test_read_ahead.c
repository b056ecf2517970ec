/* Reading ahead: windows of the sizes that are documented, records whole and in order, bad ones
 * named from the program's thread. Records are functions of their number. */
#include "common/score/read_ahead.h"
#include "common/stream/record.h"
#include "common/util/clock.h"
#include "common/util/diag.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { VOCAB = 1000, LONGEST = 4000 };

static const struct config config = {.vocab = VOCAB, .max_positions = LONGEST};
static char folder[] = "/tmp/test_read_ahead.XXXXXX", path[64];

/* What a program has read it does not write: each stream has a name of its own. */
static void rename_path(void)
{
    static int n;
    unlink(path);
    snprintf(path, sizeof path, "%s/%d.mp", folder, n++);
}

static int32_t token(int record, int i)
{
    return (record * 31 + i * 7) % VOCAB;
}

static void write_records(struct stream_writer *w, int from, int to, int (*length)(int))
{
    static int32_t tokens[LONGEST + 1];
    for (int r = from; r < to; r++) {
        char id[24];
        snprintf(id, sizeof id, "t%d", r);
        int n = length(r);
        for (int i = 0; i < n; i++)
            tokens[i] = token(r, i);
        tokens_write(w, &(struct tokens){.id = id,
                                         .prompt = r % 9,
                                         .tokens = tokens,
                                         .n_tokens = (size_t)n,
                                         .label = r % 3 - 1});
    }
}

static void write_stream(int n, int (*length)(int))
{
    rename_path();
    struct stream_writer *w =
        stream_create(path, true, stream_header_from(NULL, "tokens", 0, NULL));
    write_records(w, 0, n, length);
    stream_finish(w);
}

static int short_length(int record)
{
    return 1 + record % 5;
}

static int long_length(int record)
{
    return LONGEST - record % 2;
}

/* The windows' sizes into sizes[]; how many there are. */
static int read_all(int n, int (*length)(int), int *sizes, int room)
{
    struct stream_reader *in = stream_open(path, "tokens");
    struct read_ahead *r = read_ahead_open(in, &config, 0, NULL);
    int record = 0, windows = 0;
    for (const struct window *w; (w = read_ahead_next(r)); windows++) {
        assert_true(windows < room);
        sizes[windows] = w->n;
        for (int i = 0; i < w->n; i++, record++) {
            char id[24];
            snprintf(id, sizeof id, "t%d", record);
            const struct window_record *e = &w->records[i];
            assert_string_equal(window_id(w, i), id);
            assert_int_equal(e->prompt, record % 9);
            assert_int_equal(e->label, record % 3 - 1);
            assert_int_equal(e->n, length(record));
            for (int k = 0; k < e->n; k++)
                assert_int_equal(w->tokens[e->first + (size_t)k], token(record, k));
        }
    }
    assert_int_equal(record, n);
    read_ahead_check(r);
    read_ahead_close(r);
    stream_close(in);
    return windows;
}

/* The same, of windows that have room for so many records. A machine that takes more than a second
 * gets smaller ones, and time to do better: their number is -1 if it never does. */
static int read_in_time(int n, int *sizes, int room)
{
    for (int i = 0; i < 20; i++) {
        double began = clock_seconds();
        int windows = read_all(n, short_length, sizes, room);
        if (clock_seconds() - began < 1)
            return windows;
    }
    return -1;
}

static void windows_have_room_for_so_many_records(void **state)
{
    (void)state;
    int sizes[64];
    enum { N = 3 * 16384 + 1 };
    write_stream(N, short_length);
    int windows = read_in_time(N, sizes, 64);
    if (windows < 0)
        skip();
    assert_int_equal(windows, 4);
    const int expected[] = {16384, 16384, 16384, 1};
    assert_memory_equal(sizes, expected, sizeof expected);
}

static void windows_have_room_for_so_many_tokens(void **state)
{
    (void)state;
    int sizes[8];
    /* 16 Mi tokens at 3999.5 a record are 4195 records. */
    write_stream(4200, long_length);
    int windows = read_all(4200, long_length, sizes, 8);
    assert_true(windows >= 2);
    /* A machine that takes more than a second for so many gets smaller ones. */
    for (int i = 0; i < windows && i < 8; i++)
        assert_true(sizes[i] <= 4195);
}

static void no_records_are_no_windows(void **state)
{
    (void)state;
    int sizes[64];
    write_stream(0, short_length);
    assert_int_equal(read_all(0, short_length, sizes, 64), 0);
    write_stream(16384, short_length); /* ends with its window */
    int windows = read_in_time(16384, sizes, 64);
    if (windows < 0)
        skip();
    assert_int_equal(windows, 1);
}

/* A child that writes to the pipe that this process then reads by its path, and hears of its
 * progress through go. */
struct upstream {
    pid_t child;
    int go, pipe;
    char path[32];
};

static struct upstream start_upstream(void (*write_to)(struct stream_writer *w, int go))
{
    int fds[2], go[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(pipe(go), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        close(go[1]);
        struct stream_writer *w =
            stream_create(NULL, false, stream_header_from(NULL, "tokens", 0, NULL));
        write_to(w, go[0]);
        stream_finish(w);
        _exit(0);
    }
    close(fds[1]);
    close(go[0]);
    alarm(60); /* waiting for ever would be the failure */
    struct upstream u = {.child = child, .go = go[1], .pipe = fds[0]};
    snprintf(u.path, sizeof u.path, "/dev/fd/%d", u.pipe);
    return u;
}

static void end_upstream(struct upstream u)
{
    int status;
    assert_int_equal(waitpid(u.child, &status, 0), u.child);
    assert_int_equal(status, 0);
    alarm(0);
    close(u.pipe);
    close(u.go);
}

/* The rest is written when the first records are here as a window. */
static void ten_and_two(struct stream_writer *w, int go)
{
    char byte;
    write_records(w, 0, 10, short_length);
    stream_flush(w);
    if (read(go, &byte, 1) != 1)
        _exit(1);
    write_records(w, 10, 12, short_length);
}

static void work_begins_while_input_is_still_to_come(void **state)
{
    (void)state;
    struct upstream u = start_upstream(ten_and_two);
    struct stream_reader *in = stream_open(u.path, "tokens");
    struct read_ahead *r = read_ahead_open(in, &config, 0, NULL);
    const struct window *w = read_ahead_next(r);
    assert_int_equal(w->n, 10);
    assert_int_equal(write(u.go, "", 1), 1);
    w = read_ahead_next(r);
    assert_int_equal(w->n, 2);
    assert_string_equal(window_id(w, 1), "t11");
    assert_null(read_ahead_next(r));
    read_ahead_close(r);
    stream_close(in);
    end_upstream(u);
}

/* Record after record, never 20 ms without one if the machine lets it, until told to stop. */
static void trickle(struct stream_writer *w, int go)
{
    struct pollfd told = {.fd = go, .events = POLLIN};
    for (int i = 0; !poll(&told, 1, 2); i++) {
        write_records(w, i, i + 1, short_length);
        stream_flush(w);
    }
}

static void slow_input_without_a_pause_is_not_waited_for_until_it_ends(void **state)
{
    (void)state;
    struct upstream u = start_upstream(trickle);
    struct stream_reader *in = stream_open(u.path, "tokens");
    struct read_ahead *r = read_ahead_open(in, &config, 0, NULL);
    int n = 0;
    const struct window *w = read_ahead_next(r);
    for (int i = 0; i < 2; i++, w = read_ahead_next(r)) {
        assert_non_null(w);
        n += w->n;
    }
    assert_int_equal(write(u.go, "", 1), 1);
    for (; w; w = read_ahead_next(r))
        n += w->n;
    assert_int_equal((uint64_t)n, stream_record_number(in));
    read_ahead_close(r);
    stream_close(in);
    end_upstream(u);
}

/* ---- bad records ---- */

/* What a child says that reads all of it, taking each window or only asking whether all is well. */
static void assert_dies(bool take, const char *message)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(fds[1], STDERR_FILENO);
        struct read_ahead *r = read_ahead_open(stream_open(path, "tokens"), &config, 0, NULL);
        alarm(60);
        while (take ? read_ahead_next(r) != NULL : true)
            read_ahead_check(r);
        _exit(0);
    }
    close(fds[1]);
    char text[1024];
    size_t len = 0;
    for (ssize_t n; (n = read(fds[0], text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)n;
    text[len] = '\0';
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EX_DATAERR);
    if (!strstr(text, message))
        fail_msg("'%s' does not hold '%s'", text, message);
}

static int one_too_long(int record)
{
    return record == 16999 ? LONGEST + 1 : 3;
}

/* In the second window: read while the first has not been taken, or after it has been. */
static void bad_records_are_named(void **state)
{
    (void)state;
    write_stream(17100, one_too_long);
    assert_dies(true, "record 17000 (id t16999): 4001 tokens, but the model takes 4000");
    assert_dies(false, "record 17000 (id t16999): 4001 tokens, but the model takes 4000");
}

static void cut_streams_are_named(void **state)
{
    (void)state;
    rename_path();
    struct stream_writer *w =
        stream_create(path, false, stream_header_from(NULL, "tokens", 0, NULL));
    write_records(w, 0, 20000, short_length);
    stream_finish(w);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 10000), 0);
    assert_dies(true, "the stream was cut off");
    assert_dies(false, "the stream was cut off");
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_have_room_for_so_many_records),
        cmocka_unit_test(windows_have_room_for_so_many_tokens),
        cmocka_unit_test(no_records_are_no_windows),
        cmocka_unit_test(work_begins_while_input_is_still_to_come),
        cmocka_unit_test(slow_input_without_a_pause_is_not_waited_for_until_it_ends),
        cmocka_unit_test(bad_records_are_named),
        cmocka_unit_test(cut_streams_are_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
