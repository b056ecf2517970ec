/* What a student learns from: parts "=== tokens" and "=== teacher"; without a teacher, labels. */
#include "common/train/training_set.h"
#include "tests/fuzz/harness.h"

static struct config *config;

void fuzz_start(void)
{
    config = config_read("tests/data/engine/llama-tied");
}

void fuzz_one(const char *data, size_t size)
{
    struct fuzz_part tokens = fuzz_part(data, size, "tokens");
    struct fuzz_part teacher = fuzz_part(data, size, "teacher");
    if (!tokens.data)
        return;
    const char *path = fuzz_stream("tokens.mp", tokens.data, tokens.size);
    const char *of_teacher =
        teacher.data ? fuzz_stream("teacher.mp", teacher.data, teacher.size) : NULL;
    struct stream_reader *r = stream_open(path, "tokens");
    enum loss_kind loss = !of_teacher ? LOSS_LABELS : *data == 'd' ? LOSS_DIRICHLET : LOSS_SOFTMAX;
    struct training_set *t = training_set_read(r, of_teacher, config, loss, "--loss");
    stream_close(r);
    training_set_free(t);
}
