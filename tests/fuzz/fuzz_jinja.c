/* Chat templates: parsed, and rendered of a conversation. */
#include "common/text/jinja.h"
#include "common/util/diag.h"
#include "tests/fuzz/harness.h"

#include <stdlib.h>

static json_t *context;

void fuzz_start(void)
{
    context = json_loads("{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"},"
                         "{\"role\": \"user\", \"content\": \" Wie sch\\u00f6n, a film? \"},"
                         "{\"role\": \"assistant\", \"content\": \"positive\"},"
                         "{\"role\": \"user\", \"content\": \"1. negative\\n\\n2. x\"}],"
                         "\"add_generation_prompt\": true, \"enable_thinking\": false,"
                         "\"tools\": null, \"documents\": null, \"bos_token\": \"<s>\","
                         "\"eos_token\": \"</s>\", \"n\": 3, \"x\": 0.5, \"list\": [1, 2, [3]]}",
                         0, NULL);
}

void fuzz_one(const char *data, size_t size)
{
    static const struct tm date = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26, .tm_wday = 5};
    char *error;
    struct jinja_template *t = jinja_parse(data, size, &error);
    if (!t) {
        free(error);
        return;
    }
    struct jinja_run *run = jinja_run_new(t, &date);
    for (int i = 0; i < 2; i++) {
        const char *key, *why;
        json_t *value;
        struct jinja_result result;
        jinja_run_reset(run);
        json_object_foreach(context, key, value)
        {
            jinja_set(run, key, jinja_from_json(run, value));
        }
        jinja_render(run, &result, &why);
    }
    jinja_run_free(run);
    jinja_free(t);
}
