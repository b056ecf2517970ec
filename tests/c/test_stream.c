/* Streams and records: what is written is read back; cut, corrupted and joined streams. */
#include "common/stream/record.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test_stream.XXXXXX", path[64], said[96];

/* What a program has read it does not write: each file has a name of its own. */
static const char *renewed(const char *to)
{
    static int n;
    if (to != path)
        return to;
    unlink(path);
    snprintf(path, sizeof path, "%s/%d", folder, n++);
    return path;
}

static void write_scores(const char *to, bool compress, int n)
{
    to = renewed(to);
    json_t *header = stream_header_from(NULL, "scores", 0, NULL);
    json_object_set_new(header, "classes", json_pack("[ss]", "negative", "positive"));
    struct stream_writer *w = stream_create(to, compress, header);
    for (int i = 0; i < n; i++) {
        char id[16];
        snprintf(id, sizeof id, "t%d", i);
        float logits[2] = {(float)i, -0.5f};
        scores_write(w, &(struct scores){.id = id,
                                         .prompt = i % 9,
                                         .logits = logits,
                                         .n_classes = 2,
                                         .label = i % 2 ? 1 : NO_LABEL});
    }
    stream_finish(w);
}

static void scores_survive(void **state)
{
    bool compress = *state != NULL;
    write_scores(path, compress, 10000);
    struct stream_reader *r = stream_open(path, "scores");
    struct scores s;
    int i = 0;
    for (; scores_read(r, &s); i++) {
        char id[16];
        snprintf(id, sizeof id, "t%d", i);
        assert_string_equal(s.id, id);
        assert_int_equal(s.prompt, i % 9);
        assert_int_equal(s.n_classes, 2);
        assert_true(s.logits[0] == (float)i && s.logits[1] == -0.5f);
        assert_int_equal(s.label, i % 2 ? 1 : NO_LABEL);
    }
    assert_int_equal(i, 10000);
    stream_close(r);
}

static void prediction_keeps_members_and_nan(void **state)
{
    (void)state;
    double probs[2] = {0.25, 0.75}, members[6] = {0, 1, 2, 3, 4, 5};
    struct stream_writer *w =
        stream_create(renewed(path), false, stream_header_from(NULL, "prediction", 0, NULL));
    prediction_write(w, &(struct prediction){.id = "a",
                                             .label = 1,
                                             .probs = probs,
                                             .n_classes = 2,
                                             .members = members,
                                             .n_members = 3,
                                             .total = 0.5,
                                             .aleatoric = NAN,
                                             .epistemic = 0.1});
    stream_finish(w);
    struct stream_reader *r = stream_open(path, "prediction");
    struct prediction p;
    assert_true(prediction_read(r, &p));
    assert_int_equal(p.n_members, 3);
    assert_memory_equal(p.members, members, sizeof members);
    assert_null(p.alpha);
    assert_true(isnan(p.aleatoric) && p.total == 0.5);
    assert_false(prediction_read(r, &p));
    stream_close(r);
}

/* ---- damage ---- */

/* A sanitized process is slow to fork: there, every seventh position does. */
#ifdef __SANITIZE_ADDRESS__
enum { STEP = 7 };
#else
enum { STEP = 1 };
#endif

static struct buf file_bytes(const char *name)
{
    struct buf b = {0};
    FILE *f = fopen(name, "rb");
    assert_non_null(f);
    for (int c; (c = getc(f)) != EOF;)
        buf_addc(&b, (char)c);
    fclose(f);
    return b;
}

static void write_bytes(const char *name, const void *bytes, size_t len)
{
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

/* Runs a function in a process of its own, its messages going to the file said; its exit status. */
static int status_of(void (*run)(const char *), const char *argument)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (!freopen(said, "w", stderr))
            _exit(99);
        run(argument);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void assert_message(const char *part)
{
    struct buf text = file_bytes(said);
    if (!strstr(buf_str(&text), part))
        fail_msg("'%s' does not hold '%s'", text.data, part);
    buf_free(&text);
}

static uint64_t sum_seen; /* of what read_all() read last */

static void read_all(const char *name)
{
    struct stream_reader *r = stream_open(name, NULL);
    const char *bytes;
    size_t len;
    sum_seen = 0;
    while (stream_next_bytes(r, &bytes, &len))
        for (size_t i = 0; i < len; i++)
            sum_seen = sum_seen * 31 + (unsigned char)bytes[i];
    stream_close(r);
}

/* As a program reads: each record built, to the end, where damage must have come out. Exits 1 where
 * it did not although the records are others than write_scores(.., 5) wrote. */
static void read_five(const char *name)
{
    struct stream_reader *r = stream_open(name, "scores");
    struct scores s;
    int i = 0;
    bool same = true;
    for (; scores_read(r, &s); i++)
        same &= s.logits[0] == (float)i && s.id[1] == '0' + i && s.prompt == i;
    if (i != 5 || !same)
        _exit(1);
    stream_close(r);
}

static void a_cut_anywhere_is_refused(void **state)
{
    bool compress = *state != NULL;
    write_scores(path, compress, 5);
    assert_int_equal(status_of(read_five, path), 0);
    struct buf whole = file_bytes(path);
    for (size_t len = 0; len < whole.len; len += STEP) {
        write_bytes(path, whole.data, len);
        assert_int_equal(status_of(read_five, path), EX_DATAERR);
        if (len == 0)
            assert_message("empty, not even a header");
        else
            assert_message(len < (compress ? 4 : 5) ? "not a duq stream" : "cut off");
    }
    buf_free(&whole);
}

static void a_cut_names_the_record(void **state)
{
    (void)state;
    write_scores(path, false, 5);
    struct buf whole = file_bytes(path);
    write_bytes(path, whole.data, whole.len - 40); /* in the trailer, of 53 bytes */
    assert_int_equal(status_of(read_five, path), EX_DATAERR);
    assert_message("after record 5: the stream was cut off in the middle");
    buf_free(&whole);
}

static void a_changed_byte_anywhere_is_refused(void **state)
{
    (void)state;
    write_scores(path, false, 5);
    struct buf whole = file_bytes(path);
    static const unsigned char changes[] = {0x01, 0x20, 0x80, 0xff};
    for (size_t at = 0; at < whole.len; at += STEP)
        for (size_t i = 0; i < sizeof changes; i++) {
            whole.data[at] ^= (char)changes[i];
            write_bytes(path, whole.data, whole.len);
            whole.data[at] ^= (char)changes[i];
            if (status_of(read_five, path) != EX_DATAERR)
                fail_msg("byte %zu changed by %#x", at, changes[i]);
        }
    buf_free(&whole);
}

/* A few bits of a zstd frame say nothing of its contents; whatever is changed, other records than
 * those written are never passed on. */
static void a_changed_byte_under_zstd_is_refused_or_harmless(void **state)
{
    (void)state;
    write_scores(path, true, 5);
    struct buf whole = file_bytes(path);
    size_t harmless = 0;
    for (size_t at = 0; at < whole.len; at += STEP) {
        whole.data[at] ^= 0x10;
        write_bytes(path, whole.data, whole.len);
        whole.data[at] ^= 0x10;
        int status = status_of(read_five, path);
        harmless += status == 0;
        if (status != EX_DATAERR && status != 0)
            fail_msg("byte %zu changed: status %d", at, status);
    }
    assert_true(harmless <= 2);
    buf_free(&whole);
}

/* Enough memory for honest work and no more. (Sanitizers need their address space.) */
static void read_with_little_memory(const char *name)
{
#ifndef __SANITIZE_ADDRESS__
    setrlimit(RLIMIT_AS, &(struct rlimit){400 << 20, 400 << 20});
#endif
    read_all(name);
    struct stream_reader *r = stream_open(name, NULL);
    msgpack_object o;
    while (stream_next(r, &o))
        ;
}

static void lengths_that_lie_take_no_memory(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } lies[] = {
        {"\xdd\xff\xff\xff\xff", 5},         /* array of 4 G */
        {"\xdf\xff\xff\xff\xff", 5},         /* map of 4 G */
        {"\xdd\x03\xff\xff\xff", 5},         /* array of 64 M */
        {"\xdb\xff\xff\xff\xff", 5},         /* string of 4 GB */
        {"\xc6\x7f\xff\xff\xff", 5},         /* bin of 2 GB */
        {"\x81\xa1x\xdd\x7f\xff\xff\xff", 8} /* array of 2 G in a map */
    };
    write_scores(path, false, 1);
    struct buf whole = file_bytes(path);
    size_t record = whole.len;
    while (memcmp(whole.data + record, "\x84\xa2id", 4))
        record--;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct buf lying = {0};
        buf_add(&lying, whole.data, record);
        buf_add(&lying, lies[i].bytes, lies[i].len);
        buf_add(&lying, whole.data + record, whole.len - record);
        write_bytes(path, lying.data, lying.len);
        assert_int_equal(status_of(read_with_little_memory, path), EX_DATAERR);
        buf_free(&lying);
    }
    struct buf deep = {0};
    buf_add(&deep, whole.data, record);
    for (int i = 0; i < 200000; i++)
        buf_addc(&deep, '\x91');
    write_bytes(path, deep.data, deep.len);
    assert_int_equal(status_of(read_with_little_memory, path), EX_DATAERR);
    assert_message("not msgpack");
    buf_free(&deep);
    buf_free(&whole);
}

static void noise_is_refused(void **state)
{
    (void)state;
    unsigned x = 12345;
    for (int round = 0; round < 200; round += STEP) {
        char bytes[300];
        size_t len = (size_t)round % sizeof bytes + 1;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
        write_bytes(path, bytes, len);
        assert_int_equal(status_of(read_five, path), EX_DATAERR);
    }
    write_bytes(path, "id,text\n1,a\n", 12);
    assert_int_equal(status_of(read_five, path), EX_DATAERR);
    assert_message("not a duq stream");
}

static void open_missing(const char *name)
{
    stream_open(name, NULL);
}

static void what_cannot_be_opened_is_no_input(void **state)
{
    (void)state;
    assert_int_equal(status_of(open_missing, "/proc/none/stream.mp"), EX_NOINPUT);
    assert_message("/proc/none/stream.mp: No such file");
    assert_int_equal(status_of(open_missing, "/tmp"), EX_NOINPUT);
}

/* ---- concatenation ---- */

/* Every order of plain and zstd parts, 64 of them, of records that cross the reader's chunks. */
static void plain_and_zstd_parts_concatenate_in_any_order(void **state)
{
    (void)state;
    enum { PARTS = 6, RECORDS = 700 };
    write_scores(path, false, RECORDS);
    struct buf plain = file_bytes(path);
    read_all(path);
    uint64_t once = sum_seen;
    write_scores(path, true, RECORDS);
    struct buf zstd = file_bytes(path);
    read_all(path);
    assert_true(sum_seen == once);
    for (unsigned order = 0; order < 1u << PARTS; order++) {
        struct buf all = {0};
        for (unsigned i = 0; i < PARTS; i++) {
            struct buf *part = order >> i & 1 ? &zstd : &plain;
            buf_add(&all, part->data, part->len);
        }
        write_bytes(path, all.data, all.len);
        struct stream_reader *r = stream_open(path, "scores");
        struct scores s;
        int n = 0;
        for (; scores_read(r, &s); n++)
            assert_true(s.logits[0] == (float)(n % RECORDS));
        assert_int_equal(n, PARTS * RECORDS);
        assert_int_equal(stream_record_number(r), n);
        stream_close(r);
        buf_free(&all);
    }
    buf_free(&plain);
    buf_free(&zstd);
}

static void a_stream_may_come_byte_by_byte(void **state)
{
    (void)state;
    write_scores(path, false, 5);
    struct buf bytes = file_bytes(path);
    write_scores(path, true, 5);
    struct buf zstd = file_bytes(path);
    buf_add(&bytes, zstd.data, zstd.len);
    int ends[2], old = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        for (size_t i = 0; i < bytes.len; i++)
            if (write(ends[1], bytes.data + i, 1) != 1)
                _exit(1);
        _exit(0);
    }
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    struct stream_reader *r = stream_open(NULL, "scores");
    struct scores s;
    int n = 0;
    while (scores_read(r, &s))
        n++;
    assert_int_equal(n, 10);
    assert_string_equal(stream_name(r), "standard input");
    stream_close(r);
    dup2(old, STDIN_FILENO);
    close(old);
    close(ends[0]);
    waitpid(child, NULL, 0);
    buf_free(&bytes);
    buf_free(&zstd);
}

static void several_files_are_one_stream(void **state)
{
    (void)state;
    char second[96];
    snprintf(second, sizeof second, "%s.second", path);
    write_scores(path, false, 3);
    write_scores(second, true, 4);
    char *both[] = {path, second, path};
    struct stream_reader *r = stream_open_all(both, 3, "scores");
    struct scores s;
    int n = 0;
    while (scores_read(r, &s)) {
        n++;
        if (n == 5) {
            assert_string_equal(stream_name(r), second);
            assert_int_equal(stream_record_number(r), 2);
        }
    }
    assert_int_equal(n, 10);
    stream_close(r);
    unlink(second);
}

static void write_classes(const char *name, const char *class)
{
    json_t *header = stream_header_from(NULL, "scores", 0, NULL);
    json_object_set_new(header, "classes", json_pack("[ss]", "negative", class));
    struct stream_writer *w = stream_create(renewed(name), false, header);
    float logits[2] = {0, 1};
    scores_write(w, &(struct scores){.id = "a", .logits = logits, .n_classes = 2});
    stream_finish(w);
}

static void headers_that_disagree_are_refused(void **state)
{
    (void)state;
    write_classes(path, "positive");
    struct buf a = file_bytes(path);
    write_classes(path, "neutral");
    struct buf b = file_bytes(path);
    buf_add(&a, b.data, b.len);
    write_bytes(path, a.data, a.len);
    assert_int_equal(status_of(read_all, path), EX_DATAERR);
    assert_message("after record 1: a concatenated stream's header has another 'classes'");
    buf_free(&a);
    buf_free(&b);
}

static void a_cut_part_is_noticed_where_the_next_begins(void **state)
{
    (void)state;
    write_scores(path, false, 5);
    struct buf a = file_bytes(path), cut = {0};
    size_t trailer = a.len;
    while (memcmp(a.data + trailer,
                  "\x83\xa3"
                  "end",
                  5))
        trailer--;
    buf_add(&cut, a.data, trailer);
    buf_add(&cut, a.data, a.len);
    write_bytes(path, cut.data, cut.len);
    assert_int_equal(status_of(read_all, path), EX_DATAERR);
    assert_message("after record 5: a new stream begins where the trailer is due");
    buf_free(&a);
    buf_free(&cut);
}

/* ---- large records, output ---- */

static void write_text(const char *name, size_t len)
{
    struct stream_writer *w =
        stream_create(name, true, stream_header_from(NULL, "example", 0, NULL));
    char *text = xmalloc(len);
    memset(text, 'a', len);
    example_write(w, &(struct example){"a", {text, len}, NO_LABEL});
    stream_finish(w);
    free(text);
}

static void write_too_large(const char *name)
{
    write_text(name, (64 << 20) + 1);
}

static void records_larger_than_any_buffer_survive(void **state)
{
    (void)state;
    enum { LEN = 5000000 };
    write_text(path, LEN);
    struct stream_reader *r = stream_open(path, "example");
    struct example e;
    assert_true(example_read(r, &e));
    assert_int_equal(e.text.len, LEN);
    assert_true(e.text.data[0] == 'a' && e.text.data[LEN - 1] == 'a');
    assert_false(example_read(r, &e));
    stream_close(r);
}

static void a_record_too_large_to_read_is_not_written(void **state)
{
    (void)state;
    char name[sizeof path];
    snprintf(name, sizeof name, "%s", renewed(path));
    assert_int_equal(status_of(write_too_large, name), EX_DATAERR);
    assert_int_equal(access(name, F_OK), -1);
}

static void write_plainly(const char *name)
{
    write_scores(name, false, 100000);
}

static void a_full_disk_is_an_output_error(void **state)
{
    (void)state;
    assert_int_equal(status_of(write_plainly, "/dev/full"), EX_IOERR);
    assert_int_equal(status_of(write_plainly, "/proc/none/out.mp"), EX_CANTCREAT);
}

static void die_while_writing(const char *name)
{
    stream_create(name, false, stream_header_from(NULL, "scores", 0, NULL));
    die(EX_DATAERR, "on purpose");
}

static void an_output_file_appears_whole_or_not_at_all(void **state)
{
    (void)state;
    write_bytes(renewed(path), "old", 3);
    assert_int_equal(status_of(die_while_writing, path), EX_DATAERR);
    struct buf there = file_bytes(path);
    assert_string_equal(buf_str(&there), "old");
    buf_free(&there);
}

static void flush_hands_on_whole_records_only(void **state)
{
    (void)state;
    static struct stream_writer *w; /* never finished, and no leak */
    int ends[2], old = dup(STDOUT_FILENO);
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    dup2(ends[1], STDOUT_FILENO);
    w = stream_create(NULL, false, stream_header_from(NULL, "weights", 0, NULL));
    weight_write(w, &(struct prompt_weight){.weight = 0.5});
    msgpack_pack_map(stream_packer(w), 2); /* one that is only begun */
    stream_flush(w);
    dup2(old, STDOUT_FILENO);
    close(old);
    char bytes[4096];
    ssize_t n = read(ends[0], bytes, sizeof bytes);
    assert_true(n > 30);
    /* The last that came is the whole double of the first record. */
    assert_memory_equal(bytes + n - 9, "\xcb\x3f\xe0\0\0\0\0\0\0", 9);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/first", folder);
    snprintf(said, sizeof said, "%s/stderr", folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(scores_survive, NULL),
        {"scores_survive_zstd", scores_survive, NULL, NULL, path},
        cmocka_unit_test(prediction_keeps_members_and_nan),
        cmocka_unit_test_prestate(a_cut_anywhere_is_refused, NULL),
        {"a_cut_anywhere_under_zstd_is_refused", a_cut_anywhere_is_refused, NULL, NULL, path},
        cmocka_unit_test(a_cut_names_the_record),
        cmocka_unit_test(a_changed_byte_anywhere_is_refused),
        cmocka_unit_test(a_changed_byte_under_zstd_is_refused_or_harmless),
        cmocka_unit_test(lengths_that_lie_take_no_memory),
        cmocka_unit_test(noise_is_refused),
        cmocka_unit_test(what_cannot_be_opened_is_no_input),
        cmocka_unit_test(plain_and_zstd_parts_concatenate_in_any_order),
        cmocka_unit_test(a_stream_may_come_byte_by_byte),
        cmocka_unit_test(several_files_are_one_stream),
        cmocka_unit_test(headers_that_disagree_are_refused),
        cmocka_unit_test(a_cut_part_is_noticed_where_the_next_begins),
        cmocka_unit_test(records_larger_than_any_buffer_survive),
        cmocka_unit_test(a_record_too_large_to_read_is_not_written),
        cmocka_unit_test(a_full_disk_is_an_output_error),
        cmocka_unit_test(an_output_file_appears_whole_or_not_at_all),
        cmocka_unit_test(flush_hands_on_whole_records_only),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(said);
    unlink(path);
    rmdir(folder);
    return failed;
}
