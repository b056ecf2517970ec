/* A folder's chat template, parts "=== chat_template.jinja" and the like, and the prompts that it
 * lays out for a task, part "=== task.json". */
#include "common/text/chat.h"
#include "tests/fuzz/harness.h"

void fuzz_start(void)
{
}

void fuzz_one(const char *data, size_t size)
{
    static const char *const names[] = {"chat_template.jinja", "tokenizer_config.json",
                                        "chat_template.json", "special_tokens_map.json"};
    static const struct tm date = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26, .tm_wday = 5};
    static const char *const texts[] = {"", " a film ", "b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        fuzz_part_file(data, size, names[i]);
    struct fuzz_part part = fuzz_part(data, size, "task.json");
    if (!part.data)
        return;
    struct task *t = task_read(fuzz_file("task.json", part.data, part.size));
    if (t->n_instructions > 4) {
        task_free(t);
        return;
    }
    struct chat_template *template = chat_template_read(fuzz_folder());
    struct chat *c = chat_new(template, t, NULL, 0, t->n_instructions, &date);
    struct buf out = {0};
    struct ids literal = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        chat_prompt(c, 0, (struct span){texts[i], strlen(texts[i])}, &out, &literal);
    buf_free(&out);
    ids_free(&literal);
    chat_free(c);
    chat_template_free(template);
    task_free(t);
}
