/* The functions that transformers gives to chat templates. */
#include "common/text/jinja_call.h"

#include <string.h>
#include <time.h>

#define FUNCTION(name)                                                                             \
    static struct jinja_value name(struct jinja_run *run, struct jinja_value self,                 \
                                   const struct jinja_call *call)

/* A dict of a dict (the one argument without a name) and of arguments with names. */
static struct jinja_value dict_of(struct jinja_run *run, const struct jinja_call *call)
{
    struct jinja_value v = jinja_dict_new(run);
    if (call->list->count > 1 || (call->list->count && call->list->items[0].kind != JINJA_DICT))
        jinja_fail(run, "dict and namespace take one dict and arguments with names here");
    const struct jinja_dict *parts[] = {call->list->count ? call->list->items[0].dict : NULL,
                                        call->keywords};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; parts[k] && i < parts[k]->count; i++)
            jinja_dict_set(run, v.dict, parts[k]->pairs[i].key, parts[k]->pairs[i].value);
    return v;
}

FUNCTION(new_dict)
{
    (void)self;
    return dict_of(run, call);
}

FUNCTION(new_namespace)
{
    (void)self;
    struct jinja_value v = dict_of(run, call);
    v.kind = JINJA_NAMESPACE;
    return v;
}

FUNCTION(range)
{
    (void)self;
    int64_t a = jinja_int_argument(run, call, 0, 0), from = call->given[1] ? a : 0;
    int64_t to = jinja_int_argument(run, call, 1, a), step = jinja_int_argument(run, call, 2, 1);
    struct jinja_value list = jinja_list_new(run, JINJA_LIST);
    if (step == 0)
        jinja_fail(run, "the step of a range is 0");
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
        if (list.list->count == JINJA_LONGEST_RANGE)
            jinja_fail(run, "a range has more than %d numbers", JINJA_LONGEST_RANGE);
        jinja_list_add(run, list.list, jinja_int(i));
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return list;
}

FUNCTION(raise_exception)
{
    (void)self;
    struct jinja_string message = jinja_to_str(run, call->values[0]);
    jinja_fail(run, "the template refuses: %.*s", message.len < 500 ? (int)message.len : 500,
               message.s);
}

FUNCTION(strftime_now)
{
    (void)self;
    struct jinja_string format = jinja_string_argument(run, call, 0, "");
    enum { LONGEST = 512 };
    char *pattern = jinja_take(run, format.len + 1, 1), *text = jinja_take(run, LONGEST, 1);
    memcpy(pattern, format.s, format.len);
    pattern[format.len] = '\0';
    size_t len = strftime(text, LONGEST, pattern, &run->date);
    if (!len && format.len)
        jinja_fail(run, "strftime_now: the date is empty or too long");
    return jinja_str((struct jinja_string){text, NULL, len});
}

const struct jinja_callable jinja_functions[] = {
    {"dict", new_dict, {0}, 0, true},
    {"namespace", new_namespace, {0}, 0, true},
    {"range", range, {"start", "stop", "step"}, 1, false},
    {"raise_exception", raise_exception, {"message"}, 1, false},
    {"strftime_now", strftime_now, {"format"}, 1, false},
    {0},
};
