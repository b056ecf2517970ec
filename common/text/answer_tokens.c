#include "common/text/answer_tokens.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

struct answer {
    const char *text;
    size_t class;
    struct ids ids; /* without the open phrase's */
    size_t needed;  /* so many of them tell it from other classes' answers */
};

/* ---- the header ---- */

static _Noreturn void bad_header(const struct stream_reader *r, const char *key)
{
    die(EX_DATAERR,
        "%s: '%s' in the header is missing or not what prompt-expand writes (duq-stream(5)); make "
        "the stream anew",
        stream_name(r), key);
}

/* The answers of all classes, [*count]. */
static struct answer *read_answers(const struct stream_reader *r, size_t *count)
{
    const json_t *header = stream_header(r), *all = json_object_get(header, "answers");
    size_t classes = json_array_size(json_object_get(header, "classes"));
    if (!json_array_size(all) || json_array_size(all) != classes)
        bad_header(r, "answers");
    struct answer *answers = NULL;
    *count = 0;
    for (size_t c = 0; c < classes; c++) {
        const json_t *own = json_array_get(all, c);
        size_t n = json_array_size(own);
        answers = xreallocarray(answers, *count + n + 1, sizeof *answers);
        for (size_t i = 0; i < n; i++) {
            const char *text = json_string_value(json_array_get(own, i));
            if (!text || !*text)
                bad_header(r, "answers");
            answers[(*count)++] = (struct answer){.text = text, .class = c};
        }
        if (n == 0)
            bad_header(r, "answers");
    }
    return answers;
}

/* ---- tokens ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static _Noreturn void die_fused(const struct tokenizer *t, const struct stream_reader *r,
                                const char *open, const char *answer)
{
    size_t n = strlen(open);
    bool blank = n && is_blank(open[n - 1]) && !is_blank(answer[0]);
    const char *line = strrchr(open, '\n');
    if (line && line[1]) /* its end alone */
        open = line + 1;
    die(EX_DATAERR,
        "%s: key 'answers': '%s' has no tokens of its own after '%s', for %s joins the two; %s",
        stream_name(r), answer, open, tokenizer_path(t),
        blank ? "this tokenizer writes the blank with the word: end the task's 'content' without "
                "it and begin the answer with it"
              : "begin the answer with a blank, or end the task's 'content' otherwise");
}

/* The text that an answer follows: no tokenizer sees it at a text's beginning. */
static const char *context_of(const struct stream_reader *r)
{
    const char *open = json_string_value(json_object_get(stream_header(r), "open"));
    if (!open)
        bad_header(r, "open");
    return *open ? open : "a";
}

static void encode_answer(struct tokenizer *t, const struct stream_reader *r, struct answer *a)
{
    const char *open = context_of(r);
    struct ids before = {0}, all = {0};
    tokenizer_encode(t, open, strlen(open), false, &before);
    struct buf text = {0};
    buf_addf(&text, "%s%s", open, a->text);
    tokenizer_encode(t, text.data, text.len, false, &all);
    bool follows = all.len > before.len;
    for (size_t i = 0; follows && i < before.len; i++)
        follows = all.data[i] == before.data[i];
    if (!follows)
        die_fused(t, r, open, a->text);
    ids_append(&a->ids, all.data + before.len, all.len - before.len);
    buf_free(&text);
    ids_free(&before);
    ids_free(&all);
}

/* ---- how many of them ---- */

static bool begin_alike(const struct answer *a, const struct answer *b, size_t n)
{
    return a->ids.len >= n && b->ids.len >= n &&
           !memcmp(a->ids.data, b->ids.data, n * sizeof *a->ids.data);
}

/* Another class's answer that begins with the same n tokens, or NULL. */
static const struct answer *rival(const struct answer *answers, size_t count,
                                  const struct answer *a, size_t n)
{
    for (size_t i = 0; i < count; i++)
        if (answers[i].class != a->class && begin_alike(a, &answers[i], n))
            return &answers[i];
    return NULL;
}

static _Noreturn void die_alike(const struct tokenizer *t, const struct stream_reader *r,
                                const struct answer *a, const struct answer *b)
{
    const json_t *classes = json_object_get(stream_header(r), "classes");
    const char *x = json_string_value(json_array_get(classes, a->class));
    const char *y = json_string_value(json_array_get(classes, b->class));
    die(EX_DATAERR,
        "%s: key 'answers': '%s' (class '%s') and '%s' (class '%s') cannot be told apart: in the "
        "tokens of %s %s; write one of them otherwise",
        stream_name(r), a->text, x ? x : "", b->text, y ? y : "", tokenizer_path(t),
        a->ids.len == b->ids.len ? "they are the same" : "the second begins with the first");
}

static void count_needed(const struct tokenizer *t, const struct stream_reader *r,
                         struct answer *answers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct answer *a = &answers[i];
        const struct answer *other = NULL;
        for (a->needed = 1; a->needed <= a->ids.len; a->needed++)
            if (!(other = rival(answers, count, a, a->needed)))
                break;
        if (other)
            die_alike(t, r, a, other);
    }
}

/* Whether an answer before it of its class stands for it: all that begin so are the class's. */
static bool stood_for(const struct answer *answers, size_t i)
{
    const struct answer *a = &answers[i];
    for (size_t k = 0; k < i; k++)
        if (answers[k].class == a->class && begin_alike(a, &answers[k], a->needed))
            return true;
    return false;
}

/* ---- the result ---- */

json_t *answer_tokens(struct tokenizer *t, const struct stream_reader *r)
{
    size_t count;
    struct answer *answers = read_answers(r, &count);
    for (size_t i = 0; i < count; i++)
        encode_answer(t, r, &answers[i]);
    count_needed(t, r, answers, count);
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++) {
        if (json_array_size(all) <= answers[i].class)
            json_array_append_new(all, json_array());
        if (stood_for(answers, i))
            continue;
        json_t *tokens = json_array();
        for (size_t k = 0; k < answers[i].needed; k++)
            json_array_append_new(tokens, json_integer(answers[i].ids.data[k]));
        json_array_append_new(json_array_get(all, answers[i].class), tokens);
    }
    for (size_t i = 0; i < count; i++)
        ids_free(&answers[i].ids);
    free(answers);
    return all;
}

json_t *answer_class_tokens(const json_t *answer_tokens)
{
    json_t *tokens = json_array();
    size_t c;
    const json_t *own;
    json_array_foreach(answer_tokens, c, own)
    {
        const json_t *first = json_array_get(own, 0);
        if (json_array_size(own) != 1 || json_array_size(first) != 1) {
            json_decref(tokens);
            return NULL;
        }
        json_array_append(tokens, json_array_get(first, 0));
    }
    return tokens;
}
