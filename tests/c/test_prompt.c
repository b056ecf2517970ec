/* Words against Python's answers, and the task files of the four data sets. */
#include "common/text/prompt.h"
#include "common/util/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include <cmocka.h>

static struct span span(const char *s)
{
    return (struct span){s, strlen(s)};
}

/* Every Unicode character between two letters, with room for one word. */
static void words_end_at_the_characters_where_python_splits(void **state)
{
    (void)state;
    json_t *words = json_read_file("tests/data/prompt/words.json");
    const json_t *spaces = json_object_get(words, "spaces");
    size_t found = 0;
    struct buf out = {0};
    for (utf8proc_int32_t c = 1; c < 0x110000; c++) {
        char text[8] = "a";
        if (!utf8proc_codepoint_valid(c))
            continue;
        utf8proc_ssize_t n = utf8proc_encode_char(c, (utf8proc_uint8_t *)text + 1);
        text[n + 1] = 'b';
        out.len = 0;
        limit_words(&out, (struct span){text, (size_t)n + 2}, 1);
        if (out.len == 1)
            assert_int_equal(c, json_integer_value(json_array_get(spaces, found++)));
        else
            assert_int_equal(out.len, n + 2);
    }
    assert_int_equal(found, json_array_size(spaces));
    buf_free(&out);
    json_decref(words);
}

static void texts_are_cut_as_python_cuts_them(void **state)
{
    (void)state;
    json_t *words = json_read_file("tests/data/prompt/words.json");
    const json_t *cases = json_object_get(words, "cases");
    assert_true(json_array_size(cases) > 50);
    struct buf out = {0};
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        out.len = 0;
        buf_add(&out, "before ", 7);
        limit_words(&out, span(json_string_value(json_object_get(one, "text"))),
                    (size_t)json_integer_value(json_object_get(one, "limit")));
        assert_string_equal(buf_str(&out) + 7, json_string_value(json_object_get(one, "limited")));
    }
    buf_free(&out);
    json_decref(words);
}

static void each_data_set_has_nine_instructions_and_five_shots(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t classes;
    } tasks[] = {{"amazon", 2}, {"sst2", 2}, {"yahoo", 10}, {"youtube", 2}};
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        char path[64];
        snprintf(path, sizeof path, "pipelines/%s/task.json", tasks[i].name);
        struct task *t = task_read(path);
        assert_string_equal(t->name, tasks[i].name);
        assert_int_equal(t->n_classes, tasks[i].classes);
        assert_int_equal(t->n_instructions, 9);
        assert_int_equal(t->shots, 5);
        /* The open phrase: an answer, which brings its blank, can follow at once. */
        assert_true(t->after_text.data[t->after_text.len - 1] != ' ');
        for (size_t c = 0; c < t->n_classes; c++)
            assert_true(task_answer(t, c)[0] == ' ');
        task_free(t);
    }
}

/* What the published students are asked, by a task of the published layout. */
static void a_students_prompt_may_lack_list_and_blank_line(void **state)
{
    (void)state;
    struct task *t = task_read("pipelines/sst2/published.task.json");
    struct buf teacher = {0}, student = {0}, expected = {0};
    prompt_before(&teacher, t, 0, NULL);
    task_for_student(t);
    prompt_before(&student, t, 0, NULL);
    buf_addf(&expected, "%s\n1. negative\n2. positive\n\nreview: ", t->instructions[0]);
    assert_string_equal(buf_str(&teacher), buf_str(&expected));
    expected.len = 0;
    buf_addf(&expected, "%s\nreview: ", t->instructions[0]);
    assert_string_equal(buf_str(&student), buf_str(&expected));
    assert_true(t->after_text.data[t->after_text.len - 1] == ' ');
    buf_free(&teacher);
    buf_free(&student);
    buf_free(&expected);
    task_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_end_at_the_characters_where_python_splits),
        cmocka_unit_test(texts_are_cut_as_python_cuts_them),
        cmocka_unit_test(each_data_set_has_nine_instructions_and_five_shots),
        cmocka_unit_test(a_students_prompt_may_lack_list_and_blank_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
