/* lora-train's log, which dir-eval draws. */
#include "common/eval/training_log.h"
#include "tests/fuzz/harness.h"

void fuzz_start(void)
{
}

void fuzz_one(const char *data, size_t size)
{
    struct training_log log = training_log_read(NULL, fuzz_file("log.tsv", data, size));
    training_log_free(&log);
}
