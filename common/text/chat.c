#include "common/text/chat.h"

#include "common/text/prompt.h"
#include "common/text/unicode.h"
#include "common/util/diag.h"

#include <stdlib.h>
#include <string.h>

/* Marks of bytes. */
enum { LITERAL = 1, TEXT = 2 };

/* An instruction's prompts. */
struct frame {
    struct buf before, after; /* the text: what is the same for all of them */
    struct ids literal;       /* in before */
    bool fixed;               /* prompts are before, text, after */
    bool trimmed;             /* that holds for texts without white space at their ends alone */
};

struct chat {
    const struct chat_template *template;
    const struct task *task;
    const struct shots *shots; /* NULL: zero-shot */
    size_t first, past;
    struct jinja_run *run;
    struct frame *frames; /* by instruction */
    struct buf opening;   /* used again and again */
    char *open;
    bool said; /* that it is slower */
};

/* ---- conversations ---- */

static void add_turn(struct jinja_run *run, struct jinja_list *turns, const char *role,
                     struct jinja_string content)
{
    struct jinja_value turn = jinja_dict_new(run);
    jinja_dict_set(run, turn.dict, jinja_str(jinja_text("role")), jinja_str(jinja_text(role)));
    jinja_dict_set(run, turn.dict, jinja_str(jinja_text("content")), jinja_str(content));
    jinja_list_add(run, turns, turn);
}

/* A user's turn, in which the text's bytes have this mark. */
static void add_user(struct chat *c, struct jinja_list *turns, size_t instruction, struct span text,
                     unsigned char mark)
{
    struct jinja_builder b = {.run = c->run};
    c->opening.len = 0;
    prompt_opening(&c->opening, c->task, instruction);
    jinja_add_bytes(&b, c->opening.data, c->opening.len, 0);
    jinja_add_bytes(&b, text.data, text.len, mark);
    jinja_add_bytes(&b, c->task->after_text.data, c->task->after_text.len, 0);
    add_turn(c->run, turns, "user", jinja_built(&b));
}

static void add_shots(struct chat *c, struct jinja_list *turns, size_t instruction)
{
    const struct task *t = c->task;
    for (size_t i = 0; c->shots && i < t->shots; i++) {
        size_t shot = instruction * t->shots + i;
        const struct buf *text = &c->shots->texts[shot];
        add_user(c, turns, instruction, (struct span){text->data, text->len}, LITERAL);
        struct jinja_builder b = {.run = c->run};
        jinja_add(&b, jinja_text(t->reply));
        jinja_add(&b, jinja_text(task_answer(t, (size_t)c->shots->labels[shot])));
        add_turn(c->run, turns, "assistant", jinja_built(&b));
    }
}

/* The conversation of one text, rendered. NULL, or the template's error. */
static const char *render(struct chat *c, size_t instruction, struct span text,
                          struct jinja_result *result)
{
    const char *error;
    jinja_run_reset(c->run);
    struct jinja_value turns = jinja_list_new(c->run, JINJA_LIST);
    if (c->task->system)
        add_turn(c->run, turns.list, "system", jinja_text(c->task->system));
    add_shots(c, turns.list, instruction);
    add_user(c, turns.list, instruction, text, LITERAL | TEXT);
    const char *name;
    json_t *token;
    json_object_foreach(c->template->tokens, name, token)
    {
        if (json_is_string(token))
            jinja_set(c->run, name, jinja_from_json(c->run, token));
    }
    jinja_set(c->run, "messages", turns);
    jinja_set(c->run, "add_generation_prompt", jinja_bool(true));
    jinja_set(c->run, "enable_thinking", jinja_bool(false));
    jinja_set(c->run, "tools", jinja_none);
    jinja_set(c->run, "documents", jinja_none);
    return jinja_render(c->run, result, &error) ? NULL : error;
}

/* ---- frames ---- */

static unsigned char mark_at(struct jinja_string s, size_t i)
{
    return s.marks ? s.marks[i] : 0;
}

/* Where a string's literal parts begin and end, `at` bytes further on. */
static void add_literal(struct ids *out, struct jinja_string s, size_t at)
{
    bool inside = false;
    for (size_t i = 0; i <= s.len; i++) {
        bool literal = i < s.len && (mark_at(s, i) & LITERAL);
        if (literal != inside)
            ids_add(out, (int32_t)(at + i));
        inside = literal;
    }
}

static void lay_out(struct chat *c, size_t instruction)
{
    static const char probe[] = "x";
    enum { PROBE = sizeof probe - 1 };
    struct frame *f = &c->frames[instruction];
    struct jinja_result r;
    const char *error = render(c, instruction, (struct span){probe, PROBE}, &r);
    if (error)
        die(EX_DATAERR, "%s: %s", c->template->file, error);
    size_t first = 0, n = 0, end = 0;
    for (size_t i = 0; i < r.text.len; i++) {
        if (!(mark_at(r.text, i) & TEXT))
            continue;
        first = n++ ? first : i;
        end = i + 1;
    }
    if (!n)
        die(EX_DATAERR, "%s: it leaves out the user's last turn", c->template->file);
    buf_add(&f->before, r.text.s, first);
    add_literal(&f->literal, jinja_part(r.text, 0, first), 0);
    buf_add(&f->after, r.text.s + end, r.text.len - end);
    buf_addf(&f->after, "%s", c->task->reply);
    f->fixed = n == PROBE && !(r.looked & TEXT);
    f->trimmed = r.trimmed & TEXT;
    if (!f->fixed && !c->said)
        inform("%s: it looks into texts: prompts are rendered one by one", c->template->file);
    c->said |= !f->fixed;
}

static void check_open(struct chat *c)
{
    const struct buf *first = &c->frames[c->first].after;
    for (size_t i = c->first + 1; i < c->past; i++) {
        const struct buf *other = &c->frames[i].after;
        if (!same_bytes(other->data, other->len, first->data, first->len))
            return;
    }
    c->open = xasprintf("%.*s", (int)first->len, first->data);
}

struct chat *chat_new(const struct chat_template *template, const struct task *t,
                      const struct shots *shots, size_t first, size_t past, const struct tm *date)
{
    prompt_check_seam(t);
    struct chat *c = xcalloc(1, sizeof *c);
    *c = (struct chat){
        .template = template, .task = t, .shots = shots, .first = first, .past = past};
    c->run = jinja_run_new(template->template, date);
    c->frames = xcalloc(t->n_instructions, sizeof *c->frames);
    for (size_t i = first; i < past; i++)
        lay_out(c, i);
    check_open(c);
    return c;
}

void chat_free(struct chat *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->task->n_instructions; i++) {
        buf_free(&c->frames[i].before);
        buf_free(&c->frames[i].after);
        ids_free(&c->frames[i].literal);
    }
    free(c->frames);
    jinja_run_free(c->run);
    buf_free(&c->opening);
    free(c->open);
    free(c);
}

const char *chat_open(const struct chat *c)
{
    if (!c->open)
        die(EX_DATAERR,
            "%s: what it writes behind a text depends on the instruction, so that answers have no "
            "one place to be looked up at; name one --instruction",
            c->template->file);
    return c->open;
}

/* ---- prompts ---- */

static bool has_white_ends(struct span text)
{
    size_t n;
    if (!text.len)
        return true;
    size_t last = utf8_before(text.data, text.len);
    return unicode_is_split_space(utf8_get(text.data, &n)) ||
           unicode_is_split_space(utf8_get(text.data + last, &n));
}

/* Whether a rendering ends as those of other texts do, so that answers have one place. */
static bool ends_alike(const struct chat *c, const struct frame *f, struct jinja_string text)
{
    struct jinja_string end = {f->after.data, NULL, f->after.len - strlen(c->task->reply)};
    size_t behind = text.len;
    while (behind > 0 && !(mark_at(text, behind - 1) & TEXT))
        behind--;
    if (!behind) /* an empty text */
        behind = text.len > end.len ? text.len - end.len : 0;
    return jinja_same(jinja_part(text, behind, text.len), end);
}

const char *chat_prompt(struct chat *c, size_t instruction, struct span text, struct buf *out,
                        struct ids *literal)
{
    const struct frame *f = &c->frames[instruction];
    if (f->fixed && !(f->trimmed && has_white_ends(text))) {
        buf_add(out, f->before.data, f->before.len);
        buf_add(out, text.data, text.len);
        buf_add(out, f->after.data, f->after.len);
        ids_append(literal, f->literal.data, f->literal.len);
        if (text.len) {
            ids_add(literal, (int32_t)f->before.len);
            ids_add(literal, (int32_t)(f->before.len + text.len));
        }
        return NULL;
    }
    struct jinja_result r;
    const char *error = render(c, instruction, text, &r);
    if (error)
        return error;
    if (c->task->answers && !ends_alike(c, f, r.text))
        return "what the template writes behind this text is not what it writes behind others";
    buf_add(out, r.text.s, r.text.len);
    buf_addf(out, "%s", c->task->reply);
    add_literal(literal, r.text, 0);
    return NULL;
}
