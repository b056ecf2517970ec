/* Records as lines of JSON. */
#include "common/stream/json_records.h"
#include "common/stream/schema.h"
#include "tests/fuzz/harness.h"

void fuzz_start(void)
{
    static const char *const types[] = {"header",  "example",    "prompt",  "tokens", "scores",
                                        "weights", "prediction", "metrics", "rule",   "decision"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        schema_find(types[i]);
}

void fuzz_one(const char *data, size_t size)
{
    struct json_records *j = json_records_open(fuzz_file("in.jsonl", data, size));
    const char *bytes;
    size_t len;
    while (json_records_next(j, &bytes, &len))
        ;
    json_records_close(j);
}
