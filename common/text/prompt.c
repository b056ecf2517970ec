#include "common/text/prompt.h"

#include "common/stream/asked.h"
#include "common/text/unicode.h"
#include "common/util/diag.h"
#include "common/util/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- words ---- */

/* Length of the character at p, of n bytes, and whether it is a space; 0 where it is not UTF-8. */
static size_t character(const char *p, size_t n, bool *space)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)p, (utf8proc_ssize_t)n, &c);
    *space = len > 0 && unicode_is_split_space((uint32_t)c);
    return len > 0 ? (size_t)len : 0;
}

/* Finds the next word at or after *at; false when there is none. */
static bool next_word(struct span text, size_t *at, struct span *word)
{
    size_t begin = text.len, i = *at, len;
    bool space;
    for (; i < text.len; i += len) {
        if (!(len = character(text.data + i, text.len - i, &space)))
            die(EX_SOFTWARE, "limit_words: the text is not UTF-8");
        if (!space && begin == text.len)
            begin = i;
        else if (space && begin < text.len)
            break;
    }
    *at = i;
    *word = (struct span){text.data + begin, i - begin};
    return begin < text.len;
}

void limit_words(struct buf *out, struct span text, size_t limit)
{
    size_t start = out->len, at = 0, words = 0;
    struct span word;
    while (limit && next_word(text, &at, &word)) {
        if (words++ == limit)
            return;
        if (words > 1)
            buf_addc(out, ' ');
        buf_add(out, word.data, word.len);
    }
    out->len = start;
    buf_add(out, text.data, text.len);
}

/* ---- shots ---- */

struct shots *shots_read(const char *path, const struct task *t)
{
    size_t needed = t->n_instructions * t->shots;
    struct shots *s = xcalloc(1, sizeof *s);
    s->ids = id_index_new();
    struct stream_reader *r = stream_open(path, "example");
    task_check_classes(t, r);
    struct example e;
    /* On to the end, past what is needed: a stream that was cut off must not serve as a whole one.
     */
    while (example_read(r, &e)) {
        if (s->count == needed)
            continue;
        if (e.label == NO_LABEL)
            stream_bad_record(r, e.id, "a shot needs a label, this one has none");
        if ((size_t)e.label >= t->n_classes)
            stream_bad_record(r, e.id, "label %d, but %s has %zu classes (0 to %zu)", e.label,
                              t->file, t->n_classes, t->n_classes - 1);
        size_t end = utf8_invalid_at(e.text.data, e.text.len);
        if (end < e.text.len)
            stream_bad_record(r, e.id, "the text is not UTF-8 at byte %zu", end);
        bool added;
        id_index_add(s->ids, e.id, &added);
        if (!added)
            stream_bad_record(r, e.id, "another shot has the same id");
        if ((s->count & (s->count + 1)) == 0) { /* 2^k - 1: full */
            s->texts = xreallocarray(s->texts, 2 * s->count + 1, sizeof *s->texts);
            s->labels = xreallocarray(s->labels, 2 * s->count + 1, sizeof *s->labels);
        }
        s->texts[s->count] = (struct buf){0};
        limit_words(&s->texts[s->count], e.text, t->word_limit);
        s->labels[s->count] = e.label;
        s->count++;
    }
    if (s->count < needed)
        die(EX_DATAERR,
            "%s: %zu shots are needed (%zu for each of the %zu instructions), %zu were found",
            stream_name(r), needed, t->shots, t->n_instructions, s->count);
    if (stream_record_number(r) > needed)
        inform("%s: the first %zu of %llu examples serve as shots", stream_name(r), needed,
               (unsigned long long)stream_record_number(r));
    stream_close(r);
    return s;
}

void shots_free(struct shots *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        buf_free(&s->texts[i]);
    id_index_free(s->ids);
    free(s->texts);
    free(s->labels);
    free(s);
}

/* ---- layout ---- */

void prompt_opening(struct buf *out, const struct task *t, size_t instruction)
{
    buf_addf(out, "%s\n", t->instructions[instruction]);
    for (size_t i = 0; t->list && i < t->n_classes; i++)
        buf_addf(out, "%zu. %s\n", i + 1, t->classes[i]);
    if (t->blank_line)
        buf_addc(out, '\n');
    buf_add(out, t->before_text.data, t->before_text.len);
}

static bool is_letter_or_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

void prompt_check_seam(const struct task *t)
{
    struct span end = t->chat ? (struct span){t->reply, strlen(t->reply)} : t->after_text;
    if (end.len ? !is_letter_or_digit(end.data[end.len - 1]) : t->chat)
        return;
    for (size_t c = 0; c < t->n_classes; c++)
        if (is_letter_or_digit(*task_answer(t, c)))
            die(EX_DATAERR,
                "%s: key '%s' ends in %s without a blank, and %s the answer '%s' stands right "
                "behind it: end it in a blank, or begin the answers with one",
                t->file, t->chat ? "reply" : "content", end.len ? "a word" : "{text}",
                t->chat ? "in a chat" : "in a shot", task_answer(t, c));
}

static void add_heading(struct buf *out, const struct task *t, size_t number)
{
    buf_add(out, t->before_number.data, t->before_number.len);
    if (t->numbered)
        buf_addf(out, "%zu", number);
    buf_add(out, t->after_number.data, t->after_number.len);
}

void prompt_before(struct buf *out, const struct task *t, size_t instruction,
                   const struct shots *shots)
{
    if (shots) {
        prompt_check_seam(t);
        for (size_t i = 0; i < t->shots; i++) {
            size_t shot = instruction * t->shots + i;
            add_heading(out, t, i + 1);
            prompt_opening(out, t, instruction);
            buf_add(out, shots->texts[shot].data, shots->texts[shot].len);
            buf_add(out, t->after_text.data, t->after_text.len);
            buf_addf(out, "%s%s", task_answer(t, (size_t)shots->labels[shot]), t->separator);
        }
        add_heading(out, t, t->shots + 1);
    }
    prompt_opening(out, t, instruction);
}

/* ---- choosing an instruction ---- */

size_t best_instruction(const char *path, const struct task *t)
{
    struct stream_reader *r = stream_open(path, "weights");
    task_check_classes(t, r);
    const char *task = json_string_value(json_object_get(stream_header(r), "task"));
    if (task && strcmp(task, t->name))
        die(EX_DATAERR, "%s: holds the weights of task '%s', %s is task '%s'", stream_name(r), task,
            t->file, t->name);
    struct prompt_weight w, best = {.weight = -1};
    while (weight_read(r, &w)) {
        if ((size_t)w.prompt >= t->n_instructions)
            stream_bad_record(r, NULL, "prompt %d, but %s has %zu instructions (0 to %zu)",
                              w.prompt, t->file, t->n_instructions, t->n_instructions - 1);
        if (w.weight > best.weight)
            best = w;
    }
    if (best.weight < 0)
        die(EX_DATAERR, "%s: holds no weights; make them with bpe-fit", stream_name(r));
    const char *own = json_string_value(
        asked_instruction(json_object_get(stream_header(r), "asked"), (size_t)best.prompt));
    if (own && strcmp(own, t->instructions[best.prompt]) != 0)
        die(EX_DATAERR,
            "%s: prompt %d, of the highest weight, was the instruction '%s', in %s it is '%s'; fit "
            "weights on prompts of this task file",
            stream_name(r), best.prompt, own, t->file, t->instructions[best.prompt]);
    inform("%s: prompt %d has the highest weight, %g", stream_name(r), best.prompt, best.weight);
    stream_close(r);
    return (size_t)best.prompt;
}
