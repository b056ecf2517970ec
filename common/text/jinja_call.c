#include "common/text/jinja_call.h"

#include <string.h>

const struct jinja_callable *jinja_find(const struct jinja_callable *table,
                                        struct jinja_string name)
{
    for (; table->name; table++)
        if (jinja_same(name, jinja_text(table->name)))
            return table;
    return NULL;
}

const struct jinja_callable *jinja_find_filter(struct jinja_run *run, struct jinja_string name)
{
    const struct jinja_callable *filter = jinja_find(jinja_text_filters, name);
    if (!filter)
        filter = jinja_find(jinja_list_filters, name);
    if (!filter)
        jinja_fail(run, "the filter '%.*s' is not known here", (int)name.len, name.s);
    return filter;
}

const struct jinja_callable *jinja_find_test(struct jinja_run *run, struct jinja_string name)
{
    const struct jinja_callable *test = jinja_find(jinja_tests, name);
    if (!test)
        jinja_fail(run, "the test '%.*s' is not known here", (int)name.len, name.s);
    return test;
}

static size_t count_parameters(const struct jinja_callable *c)
{
    size_t n = 0;
    while (n < JINJA_MOST_PARAMETERS && c->parameters[n])
        n++;
    return n;
}

static void bind_keyword(struct jinja_run *run, const struct jinja_callable *c,
                         const struct jinja_pair *keyword, struct jinja_call *call)
{
    struct jinja_string name = keyword->key.string;
    size_t n = count_parameters(c), i = 0;
    while (i < n && !jinja_same(name, jinja_text(c->parameters[i])))
        i++;
    if (i == n || call->given[i])
        jinja_fail(run, "'%s' takes no argument '%.*s'%s", c->name, (int)name.len, name.s,
                   i == n ? " here" : " twice");
    call->values[i] = keyword->value;
    call->given[i] = true;
}

struct jinja_value jinja_apply(struct jinja_run *run, const struct jinja_callable *c,
                               struct jinja_value self, const struct jinja_list *list,
                               const struct jinja_dict *keywords)
{
    struct jinja_call *call = jinja_take(run, 1, sizeof *call);
    *call = (struct jinja_call){.list = list, .keywords = keywords};
    if (!c->any) {
        size_t n = count_parameters(c);
        if (list->count > n)
            jinja_fail(run, "'%s' takes at most %zu arguments here", c->name, n);
        for (size_t i = 0; i < list->count; i++) {
            call->values[i] = list->items[i];
            call->given[i] = true;
        }
        for (size_t i = 0; i < keywords->count; i++)
            bind_keyword(run, c, &keywords->pairs[i], call);
        for (size_t i = 0; i < c->required; i++)
            if (!call->given[i])
                jinja_fail(run, "'%s' wants the argument '%s'", c->name, c->parameters[i]);
    }
    return c->call(run, self, call);
}

int64_t jinja_int_argument(struct jinja_run *run, const struct jinja_call *call, size_t i,
                           int64_t otherwise)
{
    if (!call->given[i] || call->values[i].kind == JINJA_NONE)
        return otherwise;
    if (call->values[i].kind != JINJA_INT)
        jinja_fail(run, "an argument is a value of the type %s, no whole number",
                   jinja_kind_name(call->values[i]));
    return call->values[i].integer;
}

bool jinja_bool_argument(struct jinja_run *run, const struct jinja_call *call, size_t i,
                         bool otherwise)
{
    return call->given[i] ? jinja_truth(run, call->values[i]) : otherwise;
}

struct jinja_string jinja_string_argument(struct jinja_run *run, const struct jinja_call *call,
                                          size_t i, const char *otherwise)
{
    return call->given[i] ? jinja_read(run, call->values[i], "an argument") : jinja_text(otherwise);
}
