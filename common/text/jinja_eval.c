#include "common/text/jinja_eval.h"

#include "common/text/jinja_call.h"
#include "common/text/string_table.h"

#include <string.h>

/* ---- variables ---- */

void jinja_open_scope(struct jinja_run *run, struct jinja_scope *parent)
{
    struct jinja_scope *scope = jinja_take(run, 1, sizeof *scope);
    *scope = (struct jinja_scope){.parent = parent};
    run->scope = scope;
}

void jinja_assign(struct jinja_run *run, int32_t name, struct jinja_value value)
{
    struct jinja_scope *s = run->scope;
    for (size_t i = 0; i < s->count; i++) {
        if (s->variables[i].name == name) {
            s->variables[i].value = value;
            return;
        }
    }
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 4;
        struct jinja_variable *room = jinja_take(run, s->capacity, sizeof *room);
        if (s->count)
            memcpy(room, s->variables, s->count * sizeof *room);
        s->variables = room;
    }
    s->variables[s->count++] = (struct jinja_variable){name, value};
}

static struct jinja_value variable(struct jinja_run *run, const struct jinja_node *node)
{
    for (const struct jinja_scope *s = run->scope; s; s = s->parent) {
        jinja_work(run, 1);
        for (size_t i = 0; i < s->count; i++)
            if (s->variables[i].name == node->name)
                return s->variables[i].value;
    }
    const struct jinja_callable *function = jinja_find(jinja_functions, node->text);
    if (function)
        return (struct jinja_value){.kind = JINJA_FUNCTION, .function = function};
    return jinja_undefined(string_table_get(run->template->names, node->name, NULL));
}

/* ---- literals ---- */

static struct jinja_value eval_list(struct jinja_run *run, const struct jinja_nodes *nodes,
                                    enum jinja_kind kind)
{
    struct jinja_value v = jinja_list_new(run, kind);
    for (size_t i = 0; i < nodes->count; i++)
        jinja_list_add(run, v.list, jinja_eval(run, nodes->items[i]));
    return v;
}

static struct jinja_value eval_dict(struct jinja_run *run, const struct jinja_nodes *nodes)
{
    struct jinja_value v = jinja_dict_new(run);
    for (size_t i = 0; i < nodes->count; i += 2) {
        struct jinja_value key = jinja_eval(run, nodes->items[i]);
        jinja_dict_set(run, v.dict, key, jinja_eval(run, nodes->items[i + 1]));
    }
    return v;
}

static struct jinja_value eval_concat(struct jinja_run *run, const struct jinja_nodes *nodes)
{
    struct jinja_builder b = {.run = run};
    for (size_t i = 0; i < nodes->count; i++)
        jinja_add_str(&b, jinja_eval(run, nodes->items[i]));
    return jinja_str(jinja_built(&b));
}

/* ---- calls ---- */

static struct jinja_dict *eval_keywords(struct jinja_run *run, const struct jinja_nodes *nodes)
{
    struct jinja_dict *keywords = jinja_dict_new(run).dict;
    for (size_t i = 0; i < nodes->count; i++) {
        struct jinja_value name = jinja_str(nodes->items[i]->text);
        if (jinja_dict_get(run, keywords, name))
            jinja_fail(run, "the argument '%.*s' stands twice", (int)name.string.len,
                       name.string.s);
        jinja_dict_set(run, keywords, name, jinja_eval(run, nodes->items[i]->a));
    }
    return keywords;
}

static _Noreturn void fail_call(struct jinja_run *run, const struct jinja_node *node,
                                struct jinja_value callee)
{
    const struct jinja_node *name = node->a;
    bool method = name->kind == NODE_ATTRIBUTE;
    if (callee.kind == JINJA_UNDEFINED && (method || name->kind == NODE_NAME))
        jinja_fail(run, "the %s '%.*s' is not known here", method ? "method" : "function",
                   (int)name->text.len, name->text.s);
    jinja_fail(run, "a value of the type %s cannot be called", jinja_kind_name(callee));
}

static struct jinja_value eval_call(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value callee = jinja_eval(run, node->a);
    run->line = node->line;
    if (callee.kind != JINJA_FUNCTION && callee.kind != JINJA_METHOD && callee.kind != JINJA_MACRO)
        fail_call(run, node, callee);
    struct jinja_list *list = eval_list(run, &node->list, JINJA_LIST).list;
    struct jinja_dict *keywords = eval_keywords(run, &node->keywords);
    run->line = node->line;
    if (callee.kind == JINJA_MACRO)
        return jinja_call_macro(run, callee.macro, list, keywords);
    if (callee.kind == JINJA_METHOD)
        return jinja_apply(run, callee.method->callable, callee.method->self, list, keywords);
    return jinja_apply(run, callee.function, jinja_none, list, keywords);
}

static struct jinja_value eval_filter(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value self = node->a ? jinja_eval(run, node->a) : run->held;
    struct jinja_list *list = eval_list(run, &node->list, JINJA_LIST).list;
    struct jinja_dict *keywords = eval_keywords(run, &node->keywords);
    run->line = node->line;
    return jinja_apply(run, jinja_find_filter(run, node->text), self, list, keywords);
}

static struct jinja_value eval_test(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value self = jinja_eval(run, node->a);
    struct jinja_list *list = eval_list(run, &node->list, JINJA_LIST).list;
    struct jinja_dict *keywords = eval_keywords(run, &node->keywords);
    run->line = node->line;
    return jinja_apply(run, jinja_find_test(run, node->text), self, list, keywords);
}

/* ---- operators ---- */

static struct jinja_value eval_compare(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value left = jinja_eval(run, node->a);
    for (size_t i = 0; i < node->list.count; i++) {
        struct jinja_value right = jinja_eval(run, node->list.items[i]->a);
        run->line = node->line;
        if (!jinja_compare(run, node->list.items[i]->op, left, right))
            return jinja_bool(false);
        left = right;
    }
    return jinja_bool(true);
}

static struct jinja_value eval_binary(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value a = jinja_eval(run, node->a), b = jinja_eval(run, node->b);
    run->line = node->line;
    return jinja_binary(run, node->op, a, b);
}

static struct jinja_value eval_item(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value v = jinja_eval(run, node->a), key = jinja_eval(run, node->b);
    run->line = node->line;
    return jinja_item(run, v, key);
}

static struct jinja_value eval_slice(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value v = jinja_eval(run, node->a), bounds[3];
    for (size_t i = 0; i < 3; i++)
        bounds[i] = node->list.items[i] ? jinja_eval(run, node->list.items[i]) : jinja_none;
    run->line = node->line;
    return jinja_slice(run, v, bounds[0], bounds[1], bounds[2]);
}

static struct jinja_value eval_attribute(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value v = jinja_eval(run, node->a);
    run->line = node->line;
    return jinja_attribute(run, v, node->text);
}

static struct jinja_value eval_sign(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value v = jinja_eval(run, node->a);
    run->line = node->line;
    if (v.kind == JINJA_FLOAT)
        return jinja_float(node->kind == NODE_NEGATIVE ? -v.real
                                                       : v.real); /* -0.0 is not 0 - 0.0 */
    return jinja_binary(run, node->kind == NODE_NEGATIVE ? '-' : '+', jinja_int(0), v);
}

/* One of two expressions, or the value of a test that decides which. */
static struct jinja_value eval_choice(struct jinja_run *run, const struct jinja_node *node)
{
    if (node->kind == NODE_CONDITION) {
        if (jinja_truth(run, jinja_eval(run, node->b)))
            return jinja_eval(run, node->a);
        return node->c ? jinja_eval(run, node->c) : jinja_undefined("an 'if' without 'else'");
    }
    struct jinja_value a = jinja_eval(run, node->a);
    bool decided = jinja_truth(run, a) == (node->kind == NODE_OR);
    return decided ? a : jinja_eval(run, node->b);
}

static struct jinja_value eval_kind(struct jinja_run *run, const struct jinja_node *node)
{
    switch (node->kind) {
    case NODE_CONSTANT:
        return node->value;
    case NODE_NAME:
        return variable(run, node);
    case NODE_LIST:
        return eval_list(run, &node->list, JINJA_LIST);
    case NODE_TUPLE:
        return eval_list(run, &node->list, JINJA_TUPLE);
    case NODE_DICT:
        return eval_dict(run, &node->list);
    case NODE_ATTRIBUTE:
        return eval_attribute(run, node);
    case NODE_ITEM:
        return eval_item(run, node);
    case NODE_SLICE:
        return eval_slice(run, node);
    case NODE_CALL:
        return eval_call(run, node);
    case NODE_FILTER:
        return eval_filter(run, node);
    case NODE_TEST:
        return eval_test(run, node);
    case NODE_NOT:
        return jinja_bool(!jinja_truth(run, jinja_eval(run, node->a)));
    case NODE_NEGATIVE:
    case NODE_POSITIVE:
        return eval_sign(run, node);
    case NODE_BINARY:
        return eval_binary(run, node);
    case NODE_CONCAT:
        return eval_concat(run, &node->list);
    case NODE_COMPARE:
        return eval_compare(run, node);
    default:
        return eval_choice(run, node);
    }
}

struct jinja_value jinja_eval(struct jinja_run *run, const struct jinja_node *node)
{
    jinja_deeper(run);
    run->line = node->line;
    struct jinja_value v = eval_kind(run, node);
    run->depth--;
    return v;
}
