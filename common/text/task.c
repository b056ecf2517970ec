#include "common/text/task.h"

#include "common/stream/header.h"
#include "common/util/diag.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char *const task_keys[] = {
    "name",    "classes",   "answers", "instructions", "content", "shots",  "list",  "blank_line",
    "heading", "separator", "student", "word_limit",   "layout",  "system", "reply", NULL};
static const char *const student_keys[] = {"list", "blank_line", "word_limit", NULL};
/* Of a list, and of all classes' answers together: each is held against those before it. */
enum { MOST_ENTRIES = 1 << 14 };
static const char placeholder[] = "{text}", number_place[] = "{number}";

/* whose: "a task file's", "student's" */
static void check_keys(const char *file, const json_t *object, const char *const *known,
                       const char *whose)
{
    const char *key;
    json_t *value;
    struct buf names = {0};
    for (size_t i = 0; known[i]; i++)
        buf_addf(&names, "%s%s", i ? ", " : "", known[i]);
    json_object_foreach((json_t *)object, key, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(key, known[i]))
            i++;
        if (!known[i])
            die(EX_DATAERR, "%s: key '%s' is not one of %s (%s)", file, key, whose,
                buf_str(&names));
    }
    buf_free(&names);
}

static const char *text_of(const char *file, const json_t *task, const char *key)
{
    const char *s = json_string_value(json_object_get(task, key));
    if (!s)
        die(EX_DATAERR, "%s: key '%s' is missing or not a string", file, key);
    if (!*s)
        die(EX_DATAERR, "%s: key '%s' is empty", file, key);
    return s;
}

/* A list of different, non-empty strings. */
static const char **list_of(const char *file, const json_t *task, const char *key, size_t least,
                            size_t *count)
{
    const json_t *list = json_object_get(task, key);
    if (!json_is_array(list))
        die(EX_DATAERR, "%s: key '%s' is missing or not a list", file, key);
    size_t n = json_array_size(list);
    if (n < least)
        die(EX_DATAERR, "%s: key '%s' has %zu entries, at least %zu are needed", file, key, n,
            least);
    if (n > MOST_ENTRIES)
        die(EX_DATAERR, "%s: key '%s' has %zu entries, at most %d are possible", file, key, n,
            MOST_ENTRIES);
    const char **strings = xcalloc(n, sizeof *strings);
    for (size_t i = 0; i < n; i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (!s)
            die(EX_DATAERR, "%s: key '%s', entry %zu is not a string", file, key, i);
        if (!*s)
            die(EX_DATAERR, "%s: key '%s', entry %zu is empty", file, key, i);
        for (size_t j = 0; j < i; j++)
            if (!strcmp(strings[j], s))
                die(EX_DATAERR, "%s: key '%s', entries %zu and %zu are the same", file, key, j, i);
        strings[i] = s;
    }
    *count = n;
    return strings;
}

/* A whole number up to INT32_MAX. JSON Schema counts 5.0 as one, hence the reals. */
static size_t number_of(const char *file, const char *key, const json_t *value, int least)
{
    double v = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(v >= least && v <= INT32_MAX && v == floor(v)))
        die(EX_DATAERR, "%s: key '%s' is missing or not a whole number of %d or more", file, key,
            least);
    return (size_t)v;
}

static void check_class(const char *file, const char *name)
{
    if (!header_class_fits(name))
        die(EX_DATAERR, "%s: key 'classes': '%s' begins or ends with a blank or holds a line break",
            file, name);
}

/* ---- answers ---- */

static struct class_answers answers_of(const char *file, const json_t *entry, size_t class)
{
    bool list = json_is_array(entry);
    struct class_answers a = {.n = list ? json_array_size(entry) : 1};
    if (a.n == 0)
        die(EX_DATAERR, "%s: key 'answers', entry %zu has no answers", file, class);
    a.strings = xcalloc(a.n, sizeof *a.strings);
    for (size_t i = 0; i < a.n; i++) {
        a.strings[i] = json_string_value(list ? json_array_get(entry, i) : entry);
        if (!a.strings[i])
            die(EX_DATAERR, "%s: key 'answers', entry %zu is not a string or a list of strings",
                file, class);
        if (!*a.strings[i])
            die(EX_DATAERR, "%s: key 'answers', entry %zu holds an empty answer", file, class);
    }
    return a;
}

static void check_different(const struct task *t, size_t class, size_t answer)
{
    const char *s = t->answers[class].strings[answer];
    for (size_t c = 0; c <= class; c++)
        for (size_t i = 0; i < (c == class ? answer : t->answers[c].n); i++)
            if (!strcmp(t->answers[c].strings[i], s))
                die(EX_DATAERR, "%s: key 'answers', entries %zu and %zu both hold '%s'", t->file, c,
                    class, s);
}

static void read_answers(struct task *t)
{
    const json_t *list = json_object_get(t->json, "answers");
    if (!list)
        return;
    if (!json_is_array(list))
        die(EX_DATAERR, "%s: key 'answers' is not a list", t->file);
    if (json_array_size(list) != t->n_classes)
        die(EX_DATAERR, "%s: key 'answers' has %zu entries for %zu classes", t->file,
            json_array_size(list), t->n_classes);
    t->answers = xcalloc(t->n_classes, sizeof *t->answers);
    size_t all = 0;
    for (size_t c = 0; c < t->n_classes; c++) {
        t->answers[c] = answers_of(t->file, json_array_get(list, c), c);
        all += t->answers[c].n;
        if (all > MOST_ENTRIES)
            die(EX_DATAERR, "%s: key 'answers' holds more than %d answers", t->file, MOST_ENTRIES);
        for (size_t i = 0; i < t->answers[c].n; i++)
            check_different(t, c, i);
    }
}

const char *task_answer(const struct task *t, size_t label)
{
    return t->answers ? t->answers[label].strings[0] : t->classes[label];
}

json_t *task_answers_json(const struct task *t)
{
    json_t *all = t->answers ? json_array() : NULL;
    for (size_t c = 0; all && c < t->n_classes; c++) {
        json_t *own = json_array();
        for (size_t i = 0; i < t->answers[c].n; i++)
            json_array_append_new(own, json_string(t->answers[c].strings[i]));
        json_array_append_new(all, own);
    }
    return all;
}

static void split_content(const char *file, const char *content, struct task *t)
{
    const char *at = strstr(content, placeholder);
    if (!at)
        die(EX_DATAERR, "%s: key 'content' does not say where the text goes: put %s there", file,
            placeholder);
    const char *rest = at + strlen(placeholder);
    if (strstr(rest, placeholder))
        die(EX_DATAERR, "%s: key 'content' holds %s more than once", file, placeholder);
    t->before_text = (struct span){content, (size_t)(at - content)};
    t->after_text = (struct span){rest, strlen(rest)};
}

/* A string that chats alone have; NULL where it is not there. */
static const char *chat_text(const struct task *t, const char *key)
{
    const json_t *value = json_object_get(t->json, key);
    if (!value)
        return NULL;
    if (!json_is_string(value))
        die(EX_DATAERR, "%s: key '%s' is not a string", t->file, key);
    if (!t->chat)
        die(EX_DATAERR, "%s: key '%s' goes with \"layout\": \"chat\" alone", t->file, key);
    return json_string_value(value);
}

static void read_chat(struct task *t)
{
    const json_t *value = json_object_get(t->json, "layout");
    const char *layout = value ? json_string_value(value) : "plain";
    t->chat = layout && !strcmp(layout, "chat");
    if (!t->chat && (!layout || strcmp(layout, "plain")))
        die(EX_DATAERR, "%s: key 'layout' is neither \"plain\" nor \"chat\"", t->file);
    t->system = chat_text(t, "system");
    t->reply = chat_text(t, "reply");
    if (!t->reply)
        t->reply = "";
}

/* ---- layout ---- */

/* What the key says, of a task or of its student; what was said before, where it is not there. */
static bool flag_of(const char *file, const json_t *from, const char *key, bool before)
{
    const json_t *value = json_object_get(from, key);
    if (value && !json_is_boolean(value))
        die(EX_DATAERR, "%s: key '%s' is neither true nor false", file, key);
    return value ? json_is_true(value) : before;
}

/* What teacher and student may have each their own of. */
static void take_layout(struct task *t, const json_t *from)
{
    t->list = flag_of(t->file, from, "list", t->list);
    t->blank_line = flag_of(t->file, from, "blank_line", t->blank_line);
    const json_t *limit = json_object_get(from, "word_limit");
    if (limit)
        t->word_limit = json_is_null(limit) ? 0 : number_of(t->file, "word_limit", limit, 1);
}

/* A string that may be empty. */
static const char *string_of(const struct task *t, const char *key, const char *otherwise)
{
    const json_t *value = json_object_get(t->json, key);
    if (value && !json_is_string(value))
        die(EX_DATAERR, "%s: key '%s' is not a string", t->file, key);
    return value ? json_string_value(value) : otherwise;
}

/* What stands around a worked example. */
static void read_frame(struct task *t)
{
    static const char *const keys[] = {"heading", "separator"};
    for (size_t i = 0; t->chat && i < sizeof keys / sizeof *keys; i++)
        if (json_object_get(t->json, keys[i]))
            die(EX_DATAERR, "%s: key '%s' has no place in a chat, whose examples are turns",
                t->file, keys[i]);
    const char *heading = string_of(t, "heading", "EXAMPLE {number}:\n");
    const char *at = strstr(heading, number_place);
    t->separator = string_of(t, "separator", "\n\n");
    t->numbered = at != NULL;
    if (!at)
        at = heading + strlen(heading);
    const char *rest = at + (t->numbered ? strlen(number_place) : 0);
    if (strstr(rest, number_place))
        die(EX_DATAERR, "%s: key 'heading' holds %s more than once", t->file, number_place);
    t->before_number = (struct span){heading, (size_t)(at - heading)};
    t->after_number = (struct span){rest, strlen(rest)};
}

static void read_student(const struct task *t)
{
    const json_t *student = json_object_get(t->json, "student");
    if (student && !json_is_object(student))
        die(EX_DATAERR, "%s: key 'student' is not an object", t->file);
    check_keys(t->file, student, student_keys, "student's");
    struct task with_it = *t;
    take_layout(&with_it, student);
}

void task_for_student(struct task *t)
{
    take_layout(t, json_object_get(t->json, "student"));
}

json_t *task_as_asked(const struct task *t, bool shots)
{
    json_t *asked = json_deep_copy(t->json);
    json_object_del(asked, "student");
    if (t->answers)
        json_object_set_new(asked, "answers", task_answers_json(t));
    json_object_set_new(asked, "shots", json_integer(shots ? (json_int_t)t->shots : 0));
    json_object_set_new(asked, "list", json_boolean(t->list));
    json_object_set_new(asked, "blank_line", json_boolean(t->blank_line));
    json_object_set_new(asked, "word_limit",
                        t->word_limit ? json_integer((json_int_t)t->word_limit) : json_null());
    json_object_set_new(asked, "layout", json_string(t->chat ? "chat" : "plain"));
    if (t->chat)
        json_object_set_new(asked, "reply", json_string(t->reply));
    /* What stands around worked examples means nothing without them. */
    json_object_del(asked, "heading");
    json_object_del(asked, "separator");
    if (shots && !t->chat) {
        char *heading = xasprintf("%.*s%s%.*s", (int)t->before_number.len, t->before_number.data,
                                  t->numbered ? number_place : "", (int)t->after_number.len,
                                  t->after_number.data);
        json_object_set_new(asked, "heading", json_string(heading));
        json_object_set_new(asked, "separator", json_string(t->separator));
        free(heading);
    }
    return asked;
}

struct task *task_read(const char *path)
{
    struct task *t = xcalloc(1, sizeof *t);
    t->json = json_read_file(path);
    t->file = path;
    if (!json_is_object(t->json))
        die(EX_DATAERR, "%s: not a task file: a JSON object is wanted", path);
    check_keys(path, t->json, task_keys, "a task file's");
    t->name = text_of(path, t->json, "name");
    t->classes = list_of(path, t->json, "classes", 2, &t->n_classes);
    for (size_t i = 0; i < t->n_classes; i++)
        check_class(path, t->classes[i]);
    read_answers(t);
    t->instructions = list_of(path, t->json, "instructions", 1, &t->n_instructions);
    split_content(path, text_of(path, t->json, "content"), t);
    t->shots = number_of(path, "shots", json_object_get(t->json, "shots"), 0);
    read_chat(t);
    t->list = t->blank_line = true;
    take_layout(t, t->json);
    read_frame(t);
    read_student(t);
    return t;
}

void task_free(struct task *t)
{
    for (size_t c = 0; t->answers && c < t->n_classes; c++)
        free(t->answers[c].strings);
    free(t->answers);
    free(t->classes);
    free(t->instructions);
    json_decref(t->json);
    free(t);
}

void task_check_classes(const struct task *t, const struct stream_reader *r)
{
    const json_t *theirs = json_object_get(stream_header(r), "classes");
    const json_t *ours = json_object_get(t->json, "classes");
    if (!theirs || json_equal(theirs, ours))
        return;
    char *their_text = json_text(theirs, JSON_COMPACT);
    char *our_text = json_text(ours, JSON_COMPACT);
    die(EX_DATAERR, "%s: the header names the classes %s, %s names %s: make the two agree",
        stream_name(r), their_text, t->file, our_text);
}
