/* prompt-expand: texts and a task file to prompts, one per text and instruction. */
#include "common/stream/record.h"
#include "common/text/chat.h"
#include "common/text/class_tokens.h"
#include "common/text/prompt.h"
#include "common/text/task.h"
#include "common/text/tokenizer_match.h"
#include "common/util/diag.h"
#include "common/util/options.h"
#include "common/util/outfile.h"
#include "common/util/progress.h"
#include "common/util/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct settings {
    struct common_options common;
    const char *task, *shots, *instruction, *model;
    struct tm date;
    bool zero_shot, student, show;
    const char *show_id; /* NULL: the first text */
};

static void take_date(void *target, const char *option, const char *value)
{
    struct tm *date = target;
    const char *end = strptime(value, "%Y-%m-%d", date);
    struct tm same = *date;
    if (!end || *end || timegm(&same) == -1 || same.tm_mday != date->tm_mday)
        usage_error("%s %s: a date is wanted, such as 2024-07-26", option, value);
}

static const struct option_row rows[] = {
    {"task", 0, "FILE", "the task file (duq-task(5))", OPTION_TEXT(struct settings, task)},
    {"shots", 0, "FILE", "labelled examples; each instruction takes its own from the front",
     OPTION_TEXT(struct settings, shots)},
    {"zero-shot", 0, NULL, "prompts without worked examples",
     OPTION_SET(struct settings, zero_shot)},
    {"student", 0, NULL, "a student's prompts: no worked examples, the task's layout for students",
     OPTION_SET(struct settings, student)},
    {"instruction", 0, "N", "only instruction N, counted from 0 as in the records",
     OPTION_TEXT(struct settings, instruction)},
    {"instruction", 0, "best:FILE", "only the one with the highest weight in FILE (bpe-fit's)",
     OPTION_WORDS},
    {"model", 'm', "DIR", "the model, a folder or a GGUF file: for layout chat, and for --show",
     OPTION_TEXT(struct settings, model)},
    {"date", 0, "DATE", "the day a chat template takes for today (default 2024-07-26)",
     OPTION_OWN(struct settings, date, take_date)},
    {"show", 0, "[=ID]", "print the prompts of the first text (of text ID), for people",
     OPTION_TEXT(struct settings, show_id), OPTION_GIVEN(struct settings, show)},
    OPTIONS_END};

static const struct program program = {
    .name = "prompt-expand",
    .about =
        "usage: prompt-expand --task TASK (--shots FILE | --zero-shot | --student) [-o FILE] [FILE "
        "...]\n"
        "Turns a stream of texts into a stream of prompts, one per text and instruction.\n"
        "\n"
        "  prompt-expand --task pipelines/sst2/task.json --shots shots.mp val.mp >prompts.mp\n"
        "  prompt-expand --task pipelines/sst2/task.json --instruction best:weights.mp \\\n"
        "      --student train.mp >student.mp\n"
        "  prompt-expand --task pipelines/sst2/task.json --shots shots.mp --show val.mp | less\n"
        "\n",
    .rows = rows,
    .name_column = 6,
    .help_column = 28};

/* What is the same for all texts. */
struct layout {
    struct task *task;
    struct shots *shots; /* NULL: zero-shot */
    size_t first, past;  /* the instructions asked for */
    struct buf *before;  /* the plain layout: by instruction */
    struct chat_template *template;
    struct chat *chat;  /* the model's own layout, or NULL */
    struct buf prompt;  /* used again and again */
    struct ids literal; /* too */
};

static void check_options(const struct settings *s)
{
    if (!s->task)
        usage_error("--task FILE is missing: the classes and instructions come from there");
    if (s->shots && (s->zero_shot || s->student))
        usage_error("--shots and %s exclude each other", s->student ? "--student" : "--zero-shot");
    if (s->show && s->common.compress)
        usage_error("--show prints plain text, which is not compressed");
}

static void choose_instructions(struct layout *l, const char *choice)
{
    l->past = l->task->n_instructions;
    if (!choice)
        return;
    if (!strncmp(choice, "best:", 5))
        l->first = best_instruction(choice + 5, l->task);
    else
        l->first =
            (size_t)option_long("--instruction", choice, 0, (long)l->task->n_instructions - 1);
    l->past = l->first + 1;
}

static struct layout lay_out(const struct settings *s, struct task *task)
{
    if (s->student)
        task_for_student(task);
    else if (task->shots && !s->shots && !s->zero_shot)
        usage_error("%s asks for %zu shots per instruction: give %zu labelled examples with "
                    "--shots FILE, or ask for --zero-shot or --student",
                    s->task, task->shots, task->shots * task->n_instructions);
    if (task->chat && !s->model)
        usage_error("%s has \"layout\": \"chat\": give the model's folder, whose chat template "
                    "writes the prompts, with --model DIR",
                    s->task);
    if (!task->shots && s->shots)
        usage_error("%s has \"shots\": 0, so --shots has nothing to give to", s->task);
    struct layout l = {.task = task};
    choose_instructions(&l, s->instruction);
    if (s->shots)
        l.shots = shots_read(s->shots, task);
    if (task->chat) {
        l.template = chat_template_read(s->model);
        l.chat = chat_new(l.template, task, l.shots, l.first, l.past, &s->date);
    } else {
        l.before = xcalloc(task->n_instructions, sizeof *l.before);
        for (size_t i = l.first; i < l.past; i++)
            prompt_before(&l.before[i], task, i, l.shots);
    }
    return l;
}

static void check_example(const struct layout *l, const struct stream_reader *r,
                          const struct example *e)
{
    size_t n = l->task->n_classes, end = utf8_invalid_at(e->text.data, e->text.len);
    if (e->label != NO_LABEL && (size_t)e->label >= n)
        stream_bad_record(r, e->id, "label %d, but %s has %zu classes (0 to %zu)", e->label,
                          l->task->file, n, n - 1);
    if (end < e->text.len)
        stream_bad_record(r, e->id, "the text is not UTF-8 at byte %zu", end);
}

/* The prompt of one instruction, in l->prompt, and its literal parts. */
static struct span one_prompt(struct layout *l, size_t instruction, const struct stream_reader *r,
                              const char *id, const struct buf *text)
{
    struct buf *out = &l->prompt;
    out->len = l->literal.len = 0;
    if (l->chat) {
        struct span whole = {text->data, text->len};
        const char *error = chat_prompt(l->chat, instruction, whole, out, &l->literal);
        if (error)
            stream_bad_record(r, id, "%s: %s", l->template->file, error);
    } else {
        buf_add(out, l->before[instruction].data, l->before[instruction].len);
        buf_add(out, text->data, text->len);
        buf_add(out, l->task->after_text.data, l->task->after_text.len);
    }
    return (struct span){out->data, out->len};
}

static void show(struct layout *l, const char *output, const struct stream_reader *r,
                 const char *id, const struct buf *text)
{
    struct outfile *file = outfile_open(output);
    for (size_t i = l->first; i < l->past; i++) {
        struct buf shown = {0};
        if (l->past - l->first > 1)
            buf_addf(&shown, "%s==> text %s, instruction %zu <==\n", i > l->first ? "\n" : "", id,
                     i);
        struct span prompt = one_prompt(l, i, r, id, text);
        buf_add(&shown, prompt.data, prompt.len);
        buf_addc(&shown, '\n');
        outfile_write_text(file, shown.data, shown.len);
        buf_free(&shown);
    }
    outfile_finish(file);
}

/* All that shapes the prompts, beside the texts and the worked examples themselves. */
static json_t *asked(const struct settings *s, const struct layout *l)
{
    json_t *asked = json_pack("{s:o}", "task", task_as_asked(l->task, l->shots != NULL));
    char date[sizeof "2024-07-26"];
    if (l->chat && strftime(date, sizeof date, "%Y-%m-%d", &s->date))
        json_object_set_new(asked, "date", json_string(date));
    return asked;
}

/* What a header says of classes and their answers. */
static void add_classes(json_t *header, const struct layout *l)
{
    const struct task *task = l->task;
    json_object_set(header, "classes", json_object_get(task->json, "classes"));
    if (!task->answers)
        return;
    json_object_set_new(header, "answers", task_answers_json(task));
    json_object_set_new(header, "open",
                        l->chat ? json_string(chat_open(l->chat))
                                : json_stringn(task->after_text.data, task->after_text.len));
}

/* What tok would say of these answers, where the model's folder has a tokenizer. */
static void check_answers(const struct settings *s, const struct layout *l)
{
    char *digest = s->model ? tokenizer_file_digest(s->model) : NULL;
    if (!digest)
        return;
    struct tokenizer *t = tokenizer_open(s->model);
    json_t *header = json_object();
    add_classes(header, l);
    header_set_class_tokens(t, header, s->task);
    json_decref(header);
    tokenizer_free(t);
    free(digest);
}

static struct stream_writer *create(const struct settings *s, const struct layout *l,
                                    const struct stream_reader *r, int argc, char **argv)
{
    const struct task *task = l->task;
    json_t *header = stream_header_from(stream_header(r), "prompt", argc, argv);
    json_object_set_new(header, "task", json_string(task->name));
    add_classes(header, l);
    json_object_set_new(header, "prompts", json_integer((json_int_t)task->n_instructions));
    json_object_set_new(header, "asked", asked(s, l));
    if (l->chat) {
        char *digest = tokenizer_file_digest(s->model);
        json_object_set_new(header, "layout", json_string("chat"));
        if (digest)
            json_object_set_new(header, "tokenizer", json_string(digest));
        free(digest);
    }
    return stream_create(s->common.output, s->common.compress, header);
}

/* All prompts of one text. */
static void expand(struct layout *l, const struct stream_reader *r, const struct example *e,
                   const struct buf *text, struct stream_writer *w)
{
    for (size_t i = l->first; i < l->past; i++) {
        struct span prompt = one_prompt(l, i, r, e->id, text);
        prompt_write(w, &(struct prompt){.id = e->id,
                                         .prompt = (int)i,
                                         .text = prompt,
                                         .label = e->label,
                                         .literal = l->literal.len ? l->literal.data : NULL,
                                         .n_literal = l->literal.len});
    }
}

struct tally {
    unsigned long read, leaks, empty; /* leaks: texts that are shots too */
    char *first_leak;
    bool shown;
};

/* All texts; under --show up to the one to be shown. w is NULL under --show. */
static void expand_all(const struct settings *s, struct layout *l, struct stream_reader *r,
                       struct stream_writer *w, struct tally *n)
{
    struct buf text = {0};
    struct example e;
    size_t shot;
    while (!n->shown && example_read(r, &e)) {
        check_example(l, r, &e);
        progress_update(++n->read);
        if (s->show_id && strcmp(s->show_id, e.id))
            continue;
        n->empty += text_is_blank(e.text.data, e.text.len);
        if (l->shots && id_index_find(l->shots->ids, e.id, &shot) && n->leaks++ == 0)
            n->first_leak = xstrdup(e.id);
        text.len = 0;
        limit_words(&text, e.text, l->task->word_limit);
        if (w)
            expand(l, r, &e, &text, w);
        else
            show(l, s->common.output, r, e.id, &text);
        n->shown = !w;
    }
    buf_free(&text);
}

static void free_layout(struct layout *l)
{
    for (size_t i = 0; l->before && i < l->task->n_instructions; i++)
        buf_free(&l->before[i]);
    free(l->before);
    chat_free(l->chat);
    chat_template_free(l->template);
    buf_free(&l->prompt);
    ids_free(&l->literal);
    shots_free(l->shots);
    task_free(l->task);
}

int main(int argc, char **argv)
{
    struct settings s = {
        .date = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26, .tm_wday = 5, .tm_yday = 207}};
    program_start(&program, argc, argv);
    int first = options_parse(&program, rows, argc, argv, &s.common);
    check_options(&s);
    struct layout l = lay_out(&s, task_read(s.task));
    struct stream_reader *r = stream_open_all(argv + first, argc - first, "example");
    task_check_classes(l.task, r);
    struct stream_writer *w = s.show ? NULL : create(&s, &l, r, argc, argv);
    struct tally n = {0};
    progress_start("texts", 0);
    expand_all(&s, &l, r, w, &n);
    progress_end();
    if (n.empty)
        warn("%lu of %lu texts are empty: their prompts ask about nothing; leave them out", n.empty,
             n.read);
    if (n.leaks)
        warn("%s: %lu of the texts are shots too (the first: id %s): prompts hold their answers; "
             "keep shots and texts apart",
             s.shots, n.leaks, n.first_leak);
    if (s.show_id && !n.shown)
        die(EX_DATAERR, "no text has the id '%s'", s.show_id);
    if (s.show)
        check_answers(&s, &l);
    closing_count(n.read, w ? stream_written(w) : 0, 0);
    if (w)
        stream_finish(w);
    stream_close(r);
    free(n.first_leak);
    free_layout(&l);
    return EX_OK;
}
