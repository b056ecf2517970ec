/* Streams and records: what is written is read back; cut, corrupted and joined streams. */
#include "common/stream/record.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static void write_scores(const char *to, bool compress, int n)
{
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
        stream_create(path, false, stream_header_from(NULL, "prediction", 0, NULL));
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

int main(void)
{
    snprintf(path, sizeof path, "/tmp/duq-test-stream.%ld", (long)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(scores_survive, NULL),
        {"scores_survive_zstd", scores_survive, NULL, NULL, path},
        cmocka_unit_test(prediction_keeps_members_and_nan),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
