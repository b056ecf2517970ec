/* A model's config.json, and what a plan makes of it. */
#include "common/plan/plan.h"
#include "tests/fuzz/harness.h"

#include <stdio.h>

static FILE *nowhere;

void fuzz_start(void)
{
    static char room[BUFSIZ];
    nowhere = fopen("/dev/null", "w");
    setvbuf(nowhere, room, _IOFBF, sizeof room);
}

void fuzz_one(const char *data, size_t size)
{
    const char *path = fuzz_file("config.json", data, size);
    struct config *c = config_read_file(path);
    bool small = c->layers <= 8 && c->heads <= 256;
    json_decref(config_json(c));
    config_free(c);
    if (!small)
        return;
    int32_t tokens[] = {0, 0, 0}, classes[] = {0, 0};
    const struct sequence sequences[] = {{tokens, 3}, {tokens, 2}};
    struct plan_settings s = {.stage = PLAN_SCORE,
                              .compute = F32,
                              .score = {.batch_tokens = 64, .share = true},
                              .batch = 1,
                              .accumulate = 1,
                              .epochs = 1};
    struct machine machine = {.name = "any", .memory = 1e10, .bandwidth = 1e12};
    struct plan *p = plan_make(path, &machine, &s, sequences, 2, classes, 2);
    plan_print(p, nowhere);
    plan_free(p);
}
