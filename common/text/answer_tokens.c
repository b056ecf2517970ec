#include "common/text/answer_tokens.h"

#include "common/text/class_tokens.h"
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

static _Noreturn void bad_header(const char *name, const char *key)
{
    die(EX_DATAERR,
        "%s: '%s' in the header is missing or not what prompt-expand writes (duq-stream(5)); make "
        "the stream anew",
        name, key);
}

/* The answers of all classes, [*count]. */
static struct answer *read_answers(const json_t *header, const char *name, size_t *count)
{
    const json_t *all = json_object_get(header, "answers");
    size_t classes = json_array_size(json_object_get(header, "classes"));
    if (!json_array_size(all) || json_array_size(all) != classes)
        bad_header(name, "answers");
    struct answer *answers = NULL;
    *count = 0;
    for (size_t c = 0; c < classes; c++) {
        const json_t *own = json_array_get(all, c);
        size_t n = json_array_size(own);
        answers = xreallocarray(answers, *count + n + 1, sizeof *answers);
        for (size_t i = 0; i < n; i++) {
            const char *text = json_string_value(json_array_get(own, i));
            if (!text || !*text)
                bad_header(name, "answers");
            answers[(*count)++] = (struct answer){.text = text, .class = c};
        }
        if (n == 0)
            bad_header(name, "answers");
    }
    return answers;
}

/* ---- tokens ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static _Noreturn void die_fused(const struct tokenizer *t, const char *name, const char *open,
                                const char *answer)
{
    size_t n = strlen(open);
    bool blank = n && is_blank(open[n - 1]) && !is_blank(answer[0]);
    const char *line = strrchr(open, '\n');
    if (line && line[1]) /* its end alone */
        open = line + 1;
    die(EX_DATAERR,
        "%s: key 'answers': '%s' has no tokens of its own after '%s', for %s joins the two; %s",
        name, answer, open, tokenizer_path(t),
        blank ? "this tokenizer writes the blank with the word: end the task's 'content' without "
                "it and begin the answer with it"
              : "begin the answer with a blank, or end the task's 'content' otherwise");
}

/* The text that an answer follows: no tokenizer sees it at a text's beginning. */
static const char *context_of(const json_t *header, const char *name)
{
    const char *open = json_string_value(json_object_get(header, "open"));
    if (!open)
        bad_header(name, "open");
    return *open ? open : "a";
}

/* open: the text that it follows */
static void encode_answer(struct tokenizer *t, const char *name, const char *open, struct answer *a)
{
    struct ids before = {0}, all = {0};
    tokenizer_encode(t, open, strlen(open), false, &before);
    struct buf text = {0};
    buf_addf(&text, "%s%s", open, a->text);
    tokenizer_encode(t, text.data, text.len, false, &all);
    bool follows = all.len > before.len;
    for (size_t i = 0; follows && i < before.len; i++)
        follows = all.data[i] == before.data[i];
    if (!follows)
        die_fused(t, name, open, a->text);
    ids_append(&a->ids, ids_from(&all, before.len), all.len - before.len);
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

static _Noreturn void die_alike(const struct tokenizer *t, const json_t *header, const char *name,
                                const struct answer *a, const struct answer *b)
{
    const json_t *classes = json_object_get(header, "classes");
    const char *x = json_string_value(json_array_get(classes, a->class));
    const char *y = json_string_value(json_array_get(classes, b->class));
    die(EX_DATAERR,
        "%s: key 'answers': '%s' (class '%s') and '%s' (class '%s') cannot be told apart: in the "
        "tokens of %s %s; write one of them otherwise",
        name, a->text, x ? x : "", b->text, y ? y : "", tokenizer_path(t),
        a->ids.len == b->ids.len ? "they are the same" : "the second begins with the first");
}

static void count_needed(const struct tokenizer *t, const json_t *header, const char *name,
                         struct answer *answers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct answer *a = &answers[i];
        const struct answer *other = NULL;
        for (a->needed = 1; a->needed <= a->ids.len; a->needed++)
            if (!(other = rival(answers, count, a, a->needed)))
                break;
        if (other)
            die_alike(t, header, name, a, other);
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

static void warn_of_pieces(struct tokenizer *t, const struct answer *answers, size_t count)
{
    struct buf text = {0};
    const char *piece = NULL;
    for (size_t i = 0; i < count && !piece; i++) {
        const struct answer *a = &answers[i];
        if ((piece = piece_of_word(t, a->text, a->ids.data, a->needed, &text)))
            warn("the answer '%s' is read at '%s', a piece of the word, with which other words "
                 "begin, too: choose words that the model writes whole (duq-task(5))",
                 a->text, piece);
    }
    buf_free(&text);
}

json_t *answer_tokens(struct tokenizer *t, const json_t *header, const char *name)
{
    size_t count;
    struct answer *answers = read_answers(header, name, &count);
    for (size_t i = 0; i < count; i++)
        encode_answer(t, name, context_of(header, name), &answers[i]);
    count_needed(t, header, name, answers, count);
    warn_of_pieces(t, answers, count);
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
