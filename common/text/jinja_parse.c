/* Statements, and the whole template. */
#include "common/text/jinja.h"
#include "common/text/jinja_parser.h"
#include "common/util/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what both parsers use ---- */

void jinja_parse_fail(struct jinja_parser *p, int line, const char *format, ...)
{
    va_list args;
    char text[256];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    p->error = xasprintf("line %d: %s", line ? line : p->token->line, text);
    longjmp(p->failed, 1);
}

void jinja_expected(struct jinja_parser *p, const char *what)
{
    static const char *const kinds[] = {
        [JINJA_DATA] = "text",
        [JINJA_VARIABLE_BEGIN] = "'{{'",
        [JINJA_VARIABLE_END] = "'}}'",
        [JINJA_BLOCK_BEGIN] = "'{%'",
        [JINJA_BLOCK_END] = "'%}'",
        [JINJA_NAME] = "a name",
        [JINJA_LITERAL] = "a literal",
        [JINJA_OPERATOR] = "an operator",
        [JINJA_END] = "the template's end",
    };
    const struct jinja_token *t = p->token;
    if (t->kind == JINJA_NAME)
        jinja_parse_fail(p, 0, "%s is expected, not '%.*s'", what, (int)t->text.len, t->text.s);
    if (t->kind == JINJA_OPERATOR && t->op < 256)
        jinja_parse_fail(p, 0, "%s is expected, not '%c'", what, t->op);
    jinja_parse_fail(p, 0, "%s is expected, not %s", what, kinds[t->kind]);
}

void jinja_parse_deeper(struct jinja_parser *p)
{
    enum { DEEPEST = 500 };
    if (++p->depth > DEEPEST)
        jinja_parse_fail(p, 0, "the template nests too deeply");
}

struct jinja_node *jinja_node(struct jinja_parser *p, enum jinja_node_kind kind, int line)
{
    struct jinja_node *node = arena_take_aligned(&p->template->arena, sizeof *node);
    *node = (struct jinja_node){.kind = kind, .line = line};
    return node;
}

void jinja_node_add(struct jinja_parser *p, struct jinja_nodes *nodes, struct jinja_node *node)
{
    if (nodes->count == nodes->capacity) {
        nodes->capacity = nodes->capacity ? nodes->capacity * 2 : 2;
        void *room =
            arena_take_aligned(&p->template->arena, nodes->capacity * sizeof *nodes->items);
        if (nodes->count)
            memcpy(room, nodes->items, nodes->count * sizeof *nodes->items);
        nodes->items = room;
    }
    nodes->items[nodes->count++] = node;
}

int32_t jinja_name(struct jinja_parser *p, struct jinja_string name)
{
    struct string_table *names = p->template->names;
    int32_t number = string_table_find(names, name.s, name.len);
    if (number >= 0)
        return number;
    number = string_table_size(names);
    string_table_add(names, name.s, name.len, number);
    return number;
}

bool jinja_at_name(const struct jinja_parser *p, const char *name)
{
    return p->token->kind == JINJA_NAME && jinja_same(p->token->text, jinja_text(name));
}

bool jinja_at_operator(const struct jinja_parser *p, int op)
{
    return p->token->kind == JINJA_OPERATOR && p->token->op == op;
}

bool jinja_skip_name(struct jinja_parser *p, const char *name)
{
    bool there = jinja_at_name(p, name);
    p->token += there;
    return there;
}

bool jinja_skip_operator(struct jinja_parser *p, int op)
{
    bool there = jinja_at_operator(p, op);
    p->token += there;
    return there;
}

void jinja_expect_operator(struct jinja_parser *p, int op)
{
    char what[8];
    snprintf(what, sizeof what, "'%c'", op);
    if (!jinja_skip_operator(p, op))
        jinja_expected(p, what);
}

struct jinja_string jinja_expect_name(struct jinja_parser *p)
{
    if (p->token->kind != JINJA_NAME)
        jinja_expected(p, "a name");
    return (p->token++)->text;
}

/* ---- statements ---- */

static void parse_body(struct jinja_parser *p, const char *const *ends, int opened,
                       struct jinja_nodes *body);

static void expect_block_end(struct jinja_parser *p)
{
    if (p->token->kind != JINJA_BLOCK_END)
        jinja_expected(p, "'%}'");
    p->token++;
}

/* The statements up to a tag with one of the names (NULL ends them); the current token is then that
 * name. */
static void parse_block(struct jinja_parser *p, const char *const *ends, int opened,
                        struct jinja_nodes *body)
{
    expect_block_end(p);
    parse_body(p, ends, opened, body);
}

static void parse_block_to(struct jinja_parser *p, const char *end, int opened,
                           struct jinja_nodes *body)
{
    parse_block(p, (const char *const[]){end, NULL}, opened, body);
    p->token++;
}

static struct jinja_node *parse_set(struct jinja_parser *p, int line)
{
    struct jinja_node *node = jinja_node(p, NODE_SET, line);
    node->a = jinja_parse_target(p, true);
    if (jinja_skip_operator(p, '=')) {
        node->b = jinja_parse_tuple(p, true, NULL);
        return node;
    }
    node->kind = NODE_SET_BLOCK;
    node->b = jinja_parse_filters(p, NULL, false);
    parse_block_to(p, "endset", line, &node->body);
    return node;
}

static struct jinja_node *parse_if(struct jinja_parser *p, int line)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct jinja_node *node = jinja_node(p, NODE_IF, line);
    for (bool more = true; more;) {
        struct jinja_node *body = jinja_node(p, NODE_BODY, p->token->line);
        jinja_node_add(p, &node->list, jinja_parse_tuple(p, false, NULL));
        parse_block(p, ends, line, &body->body);
        jinja_node_add(p, &node->keywords, body);
        more = jinja_skip_name(p, "elif");
    }
    if (jinja_skip_name(p, "else")) {
        struct jinja_node *body = jinja_node(p, NODE_BODY, p->token->line);
        parse_block(p, ends + 2, line, &body->body);
        jinja_node_add(p, &node->list, NULL);
        jinja_node_add(p, &node->keywords, body);
    }
    p->token++;
    return node;
}

static struct jinja_node *parse_for(struct jinja_parser *p, int line)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    struct jinja_node *node = jinja_node(p, NODE_FOR, line);
    node->a = jinja_parse_target(p, false);
    if (!jinja_skip_name(p, "in"))
        jinja_expected(p, "'in'");
    node->b = jinja_parse_tuple(p, false, "recursive");
    if (jinja_skip_name(p, "if"))
        node->c = jinja_parse_expression(p);
    if (jinja_at_name(p, "recursive"))
        jinja_parse_fail(p, 0, "recursive loops are not known here");
    p->loops++;
    parse_block(p, ends, line, &node->body);
    p->loops--;
    if (jinja_skip_name(p, "else"))
        parse_block(p, ends + 1, line, &node->list);
    p->token++;
    return node;
}

static struct jinja_node *parse_macro(struct jinja_parser *p, int line)
{
    struct jinja_node *node = jinja_node(p, NODE_MACRO, line);
    node->text = jinja_expect_name(p);
    node->name = jinja_name(p, node->text);
    jinja_expect_operator(p, '(');
    while (!jinja_at_operator(p, ')')) {
        if (node->list.count)
            jinja_expect_operator(p, ',');
        struct jinja_node *parameter = jinja_node(p, NODE_KEYWORD, p->token->line);
        parameter->text = jinja_expect_name(p);
        parameter->name = jinja_name(p, parameter->text);
        if (jinja_skip_operator(p, '='))
            parameter->a = jinja_parse_expression(p);
        else if (node->list.count && node->list.items[node->list.count - 1]->a)
            jinja_parse_fail(p, parameter->line, "a parameter without a default behind one with");
        jinja_node_add(p, &node->list, parameter);
    }
    p->token++;
    size_t loops = p->loops;
    p->loops = 0;
    parse_block_to(p, "endmacro", line, &node->body);
    p->loops = loops;
    return node;
}

static struct jinja_node *parse_with(struct jinja_parser *p, int line)
{
    struct jinja_node *node = jinja_node(p, NODE_WITH, line);
    while (p->token->kind != JINJA_BLOCK_END) {
        if (node->list.count)
            jinja_expect_operator(p, ',');
        jinja_node_add(p, &node->list, jinja_parse_target(p, false));
        jinja_expect_operator(p, '=');
        jinja_node_add(p, &node->keywords, jinja_parse_expression(p));
    }
    parse_block_to(p, "endwith", line, &node->body);
    return node;
}

/* Marks what the model writes, for training by others; its text is text. */
static struct jinja_node *parse_generation(struct jinja_parser *p, int line)
{
    struct jinja_node *node = jinja_node(p, NODE_WITH, line);
    parse_block_to(p, "endgeneration", line, &node->body);
    return node;
}

static struct jinja_node *parse_filter_block(struct jinja_parser *p, int line)
{
    struct jinja_node *node = jinja_node(p, NODE_FILTER_BLOCK, line);
    node->b = jinja_parse_filters(p, NULL, true);
    parse_block_to(p, "endfilter", line, &node->body);
    return node;
}

static struct jinja_node *parse_jump(struct jinja_parser *p, int line)
{
    bool is_break = jinja_same(p->token[-1].text, jinja_text("break"));
    if (!p->loops)
        jinja_parse_fail(p, line, "'%s' stands outside of loops", is_break ? "break" : "continue");
    return jinja_node(p, is_break ? NODE_BREAK : NODE_CONTINUE, line);
}

static struct jinja_node *parse_statement(struct jinja_parser *p, int opened)
{
    static const struct {
        const char *name;
        struct jinja_node *(*parse)(struct jinja_parser *, int);
    } tags[] = {{"set", parse_set},
                {"if", parse_if},
                {"for", parse_for},
                {"macro", parse_macro},
                {"with", parse_with},
                {"generation", parse_generation},
                {"filter", parse_filter_block},
                {"break", parse_jump},
                {"continue", parse_jump}};
    int line = p->token->line;
    struct jinja_string tag = jinja_expect_name(p);
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (jinja_same(tag, jinja_text(tags[i].name)))
            return tags[i].parse(p, line);
    if (opened && tag.len > 3 && !memcmp(tag.s, "end", 3))
        jinja_parse_fail(p, line, "'%.*s' does not end the block of line %d", (int)tag.len, tag.s,
                         opened);
    jinja_parse_fail(p, line, "the tag '%.*s' is not known here", (int)tag.len, tag.s);
}

static void parse_output(struct jinja_parser *p, struct jinja_nodes *body)
{
    struct jinja_node *node = jinja_node(p, NODE_OUTPUT, p->token->line);
    p->token++;
    node->a = jinja_parse_tuple(p, true, NULL);
    if (p->token->kind != JINJA_VARIABLE_END)
        jinja_expected(p, "'}}'");
    p->token++;
    jinja_node_add(p, body, node);
}

static bool at_one_of(const struct jinja_parser *p, const char *const *names)
{
    for (; names && *names; names++)
        if (jinja_at_name(p, *names))
            return true;
    return false;
}

/* ends NULL: to the template's end. */
static void parse_body(struct jinja_parser *p, const char *const *ends, int opened,
                       struct jinja_nodes *body)
{
    jinja_parse_deeper(p);
    for (;;) {
        if (p->token->kind == JINJA_DATA) {
            struct jinja_node *node = jinja_node(p, NODE_DATA, p->token->line);
            node->text = (p->token++)->text;
            jinja_node_add(p, body, node);
        } else if (p->token->kind == JINJA_VARIABLE_BEGIN) {
            parse_output(p, body);
        } else if (p->token->kind == JINJA_BLOCK_BEGIN) {
            p->token++;
            if (at_one_of(p, ends))
                break;
            jinja_node_add(p, body, parse_statement(p, opened));
            expect_block_end(p);
        } else {
            break;
        }
    }
    if (ends && p->token->kind == JINJA_END)
        jinja_parse_fail(p, 0, "the block of line %d has no end", opened);
    p->depth--;
}

/* ---- the whole template ---- */

/* A copy with "\n" alone at line ends, and without the last one, as Jinja takes it. */
static char *normalized(const char *source, size_t *len)
{
    char *copy = xmalloc(*len + 1);
    size_t n = 0;
    for (size_t i = 0; i < *len; i++) {
        if (source[i] == '\r' && i + 1 < *len && source[i + 1] == '\n')
            continue;
        copy[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n && copy[n - 1] == '\n')
        n--;
    copy[n] = '\0';
    *len = n;
    return copy;
}

/* False at an error, which is then in p->error. */
static bool parse_all(struct jinja_parser *p)
{
    if (setjmp(p->failed))
        return false;
    parse_body(p, NULL, 0, &p->template->body);
    if (p->token->kind != JINJA_END)
        jinja_expected(p, "the template's end");
    return true;
}

struct jinja_template *jinja_parse(const char *source, size_t len, char **error)
{
    size_t bad = utf8_invalid_at(source, len);
    if (bad < len) {
        *error = xasprintf("not UTF-8 at byte %zu", bad);
        return NULL;
    }
    struct jinja_template *t = xcalloc(1, sizeof *t);
    t->source = normalized(source, &len);
    t->names = string_table_new();
    struct jinja_tokens tokens = jinja_tokens(t->source, len, &t->arena);
    struct jinja_parser p = {.template = t, .token = tokens.data, .error = tokens.error};
    bool parsed = !p.error && parse_all(&p);
    free(tokens.data);
    if (parsed)
        return t;
    *error = p.error;
    jinja_free(t);
    return NULL;
}

bool jinja_names(const struct jinja_template *t, const char *name)
{
    return string_table_find(t->names, name, strlen(name)) >= 0;
}

void jinja_free(struct jinja_template *t)
{
    if (!t)
        return;
    arena_free(&t->arena);
    string_table_free(t->names);
    free(t->source);
    free(t);
}
