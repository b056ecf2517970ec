/* Statements, and whole renderings. */
#include "common/text/jinja.h"
#include "common/text/jinja_call.h"
#include "common/text/jinja_eval.h"

#include <stdlib.h>
#include <string.h>

/* How statements end: at their end, or at a tag that leaves a loop or its turn. */
enum ending { AT_END, AT_BREAK, AT_CONTINUE };

static enum ending execute_all(struct jinja_run *run, const struct jinja_nodes *nodes);

/* ---- assignments ---- */

static void assign_attribute(struct jinja_run *run, const struct jinja_node *target,
                             struct jinja_value value)
{
    const struct jinja_node name = {.kind = NODE_NAME, .line = target->line, .name = target->name};
    struct jinja_value namespace = jinja_eval(run, &name);
    if (namespace.kind != JINJA_NAMESPACE)
        jinja_fail(run, "an attribute of a value of the type %s cannot be set",
                   jinja_kind_name(namespace));
    if (target->text.s[0] == '_')
        jinja_fail(run, "an attribute that begins with '_' cannot be set");
    jinja_dict_set(run, namespace.dict, jinja_str(target->text), value);
}

static void assign(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value)
{
    if (target->kind == NODE_NAME) {
        jinja_assign(run, target->name, value);
    } else if (target->kind == NODE_ATTRIBUTE) {
        assign_attribute(run, target, value);
    } else {
        const struct jinja_list *items = jinja_items(run, value);
        if (items->count != target->list.count)
            jinja_fail(run, "%zu values for %zu names", items->count, target->list.count);
        for (size_t i = 0; i < items->count; i++)
            assign(run, target->list.items[i], items->items[i]);
    }
}

/* What the statements write. *ending: how they ended. */
static struct jinja_value captured(struct jinja_run *run, const struct jinja_nodes *body,
                                   enum ending *ending)
{
    struct jinja_builder text = {.run = run}, *outer = run->out;
    run->out = &text;
    *ending = execute_all(run, body);
    run->out = outer;
    return jinja_str(jinja_built(&text));
}

/* What a block renders, in a scope of its own, through the block's filters. */
static struct jinja_value block_text(struct jinja_run *run, const struct jinja_node *node,
                                     enum ending *ending)
{
    struct jinja_scope *outer = run->scope;
    jinja_open_scope(run, outer);
    struct jinja_value text = captured(run, &node->body, ending);
    run->scope = outer;
    if (!node->b)
        return text;
    run->held = text;
    return jinja_eval(run, node->b);
}

static enum ending execute_set_block(struct jinja_run *run, const struct jinja_node *node)
{
    enum ending ending;
    assign(run, node->a, block_text(run, node, &ending));
    return ending;
}

static enum ending execute_filter_block(struct jinja_run *run, const struct jinja_node *node)
{
    enum ending ending;
    jinja_add_str(run->out, block_text(run, node, &ending));
    return ending;
}

static enum ending execute_with(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_list *values = jinja_list_new(run, JINJA_LIST).list;
    for (size_t i = 0; i < node->keywords.count; i++)
        jinja_list_add(run, values, jinja_eval(run, node->keywords.items[i]));
    struct jinja_scope *outer = run->scope;
    jinja_open_scope(run, outer);
    for (size_t i = 0; i < values->count; i++)
        assign(run, node->list.items[i], values->items[i]);
    enum ending ending = execute_all(run, &node->body);
    run->scope = outer;
    return ending;
}

/* ---- macros ---- */

static const struct jinja_value *macro_argument(struct jinja_run *run, const struct jinja_node *p,
                                                size_t i, const struct jinja_list *list,
                                                const struct jinja_dict *keywords)
{
    const struct jinja_value *named = jinja_dict_get(run, keywords, jinja_str(p->text));
    if (named && i < list->count)
        jinja_fail(run, "the argument '%.*s' is given twice", (int)p->text.len, p->text.s);
    return i < list->count ? &list->items[i] : named;
}

static void bind_parameters(struct jinja_run *run, const struct jinja_node *node,
                            const struct jinja_list *list, const struct jinja_dict *keywords)
{
    size_t named = 0;
    for (size_t i = 0; i < node->list.count; i++) {
        const struct jinja_node *p = node->list.items[i];
        const struct jinja_value *value = macro_argument(run, p, i, list, keywords);
        named += value && i >= list->count;
        if (value)
            jinja_assign(run, p->name, *value);
        else
            jinja_assign(
                run, p->name,
                p->a ? jinja_eval(run, p->a)
                     : jinja_undefined(string_table_get(run->template->names, p->name, NULL)));
    }
    if (list->count > node->list.count || named < keywords->count)
        jinja_fail(run, "the macro '%.*s' has no parameter for an argument", (int)node->text.len,
                   node->text.s);
}

struct jinja_value jinja_call_macro(struct jinja_run *run, const struct jinja_macro *macro,
                                    const struct jinja_list *list,
                                    const struct jinja_dict *keywords)
{
    enum ending ending;
    struct jinja_scope *outer = run->scope;
    jinja_deeper(run);
    jinja_open_scope(run, macro->scope);
    bind_parameters(run, macro->node, list, keywords);
    struct jinja_value text = captured(run, &macro->node->body, &ending);
    run->scope = outer;
    run->depth--;
    return text;
}

static void define_macro(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_macro *macro = jinja_take(run, 1, sizeof *macro);
    *macro = (struct jinja_macro){node, run->scope};
    jinja_assign(run, node->name, (struct jinja_value){.kind = JINJA_MACRO, .macro = macro});
}

/* ---- control ---- */

static enum ending execute_if(struct jinja_run *run, const struct jinja_node *node)
{
    for (size_t i = 0; i < node->list.count; i++) {
        const struct jinja_node *test = node->list.items[i];
        if (!test || jinja_truth(run, jinja_eval(run, test)))
            return execute_all(run, &node->keywords.items[i]->body);
    }
    return AT_END;
}

/* The items that pass a loop's own test. */
static const struct jinja_list *loop_items(struct jinja_run *run, const struct jinja_node *node)
{
    const struct jinja_list *all = jinja_items(run, jinja_eval(run, node->b));
    if (!node->c)
        return all;
    struct jinja_list *passed = jinja_list_new(run, JINJA_LIST).list;
    struct jinja_scope *outer = run->scope;
    jinja_open_scope(run, outer);
    for (size_t i = 0; i < all->count; i++) {
        assign(run, node->a, all->items[i]);
        if (jinja_truth(run, jinja_eval(run, node->c)))
            jinja_list_add(run, passed, all->items[i]);
    }
    run->scope = outer;
    return passed;
}

static enum ending execute_for(struct jinja_run *run, const struct jinja_node *node)
{
    const struct jinja_list *items = loop_items(run, node);
    struct jinja_scope *outer = run->scope;
    struct jinja_loop *loop = jinja_take(run, 1, sizeof *loop);
    *loop = (struct jinja_loop){items, 0};
    enum ending ending = AT_END;
    bool whole = false; /* a turn came to its end */
    jinja_open_scope(run, outer);
    for (size_t i = 0; i < items->count && ending != AT_BREAK; i++) {
        run->scope->count = 0;
        loop->index = i;
        jinja_assign(run, run->loop_name, (struct jinja_value){.kind = JINJA_LOOP, .loop = loop});
        assign(run, node->a, items->items[i]);
        ending = execute_all(run, &node->body);
        whole = whole || ending == AT_END;
    }
    run->scope = outer;
    return whole ? AT_END : execute_all(run, &node->list);
}

static enum ending execute(struct jinja_run *run, const struct jinja_node *node)
{
    switch (node->kind) {
    case NODE_DATA:
        jinja_add(run->out, node->text);
        return AT_END;
    case NODE_OUTPUT:
        jinja_add_str(run->out, jinja_eval(run, node->a));
        return AT_END;
    case NODE_SET:
        assign(run, node->a, jinja_eval(run, node->b));
        return AT_END;
    case NODE_SET_BLOCK:
        return execute_set_block(run, node);
    case NODE_FILTER_BLOCK:
        return execute_filter_block(run, node);
    case NODE_IF:
        return execute_if(run, node);
    case NODE_FOR:
        return execute_for(run, node);
    case NODE_WITH:
        return execute_with(run, node);
    case NODE_MACRO:
        define_macro(run, node);
        return AT_END;
    default:
        return node->kind == NODE_BREAK ? AT_BREAK : AT_CONTINUE;
    }
}

static enum ending execute_all(struct jinja_run *run, const struct jinja_nodes *nodes)
{
    enum ending ending = AT_END;
    jinja_deeper(run);
    for (size_t i = 0; i < nodes->count && ending == AT_END; i++) {
        run->line = nodes->items[i]->line;
        jinja_work(run, 1);
        ending = execute(run, nodes->items[i]);
    }
    run->depth--;
    return ending;
}

/* ---- renderings ---- */

struct jinja_run *jinja_run_new(const struct jinja_template *t, const struct tm *date)
{
    struct jinja_run *run = xcalloc(1, sizeof *run);
    run->template = t;
    run->date = *date;
    run->loop_name = string_table_find(t->names, "loop", 4);
    jinja_open_scope(run, NULL);
    return run;
}

void jinja_run_free(struct jinja_run *run)
{
    if (!run)
        return;
    arena_free(&run->arena);
    free(run->message);
    free(run);
}

void jinja_run_reset(struct jinja_run *run)
{
    arena_reset(&run->arena);
    run->bytes = run->steps = 0;
    run->looked = run->trimmed = 0;
    jinja_open_scope(run, NULL);
}

void jinja_set(struct jinja_run *run, const char *name, struct jinja_value value)
{
    int32_t number = string_table_find(run->template->names, name, strlen(name));
    if (number >= 0) /* otherwise nothing asks for it */
        jinja_assign(run, number, value);
}

struct jinja_value jinja_from_json(struct jinja_run *run, const json_t *json)
{
    const char *key;
    const json_t *item;
    size_t i;
    struct jinja_value v;
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        v = jinja_dict_new(run);
        json_object_foreach((json_t *)json, key, item)
        {
            jinja_dict_set(run, v.dict, jinja_str(jinja_text(key)), jinja_from_json(run, item));
        }
        return v;
    case JSON_ARRAY:
        v = jinja_list_new(run, JINJA_LIST);
        json_array_foreach(json, i, item)
        {
            jinja_list_add(run, v.list, jinja_from_json(run, item));
        }
        return v;
    case JSON_STRING:
        return jinja_str(
            (struct jinja_string){json_string_value(json), NULL, json_string_length(json)});
    case JSON_INTEGER:
        return jinja_int(json_integer_value(json));
    case JSON_REAL:
        return jinja_float(json_real_value(json));
    case JSON_NULL:
        return jinja_none;
    default:
        return jinja_bool(json_is_true(json));
    }
}

/* False where it failed. */
static bool render(struct jinja_run *run, struct jinja_builder *text)
{
    run->depth = 0;
    run->running = true;
    run->out = text;
    if (setjmp(run->failed))
        return false;
    execute_all(run, &run->template->body);
    return true;
}

bool jinja_render(struct jinja_run *run, struct jinja_result *result, const char **error)
{
    struct jinja_builder text = {.run = run};
    bool rendered = render(run, &text);
    run->running = false;
    *result = (struct jinja_result){jinja_built(&text), run->looked, run->trimmed};
    *error = run->message;
    return rendered;
}
