/* Task files, and the prompts that they lay out. */
#include "common/text/prompt.h"
#include "tests/fuzz/harness.h"

void fuzz_start(void)
{
}

static void lay_out(const struct task *t)
{
    struct buf out = {0};
    static const char text[] = "what a  film\n";
    for (size_t i = 0; i < t->n_instructions; i++) {
        out.len = 0;
        prompt_before(&out, t, i, NULL);
        limit_words(&out, (struct span){text, sizeof text - 1}, t->word_limit);
        prompt_opening(&out, t, i);
    }
    for (size_t c = 0; c < t->n_classes; c++)
        buf_addf(&out, "%s", task_answer(t, c));
    json_decref(task_answers_json(t));
    buf_free(&out);
}

void fuzz_one(const char *data, size_t size)
{
    struct task *t = task_read(fuzz_file("task.json", data, size));
    lay_out(t);
    task_for_student(t);
    lay_out(t);
    task_free(t);
}
