/* Filters of lists and dicts. */
#include "common/text/jinja_call.h"
#include "common/text/jinja_lexer.h"

#define FILTER(name)                                                                               \
    static struct jinja_value name(struct jinja_run *run, struct jinja_value self,                 \
                                   const struct jinja_call *call)

FILTER(length)
{
    (void)call;
    return jinja_int((int64_t)jinja_length(run, self));
}

FILTER(default_value)
{
    bool missing = self.kind == JINJA_UNDEFINED ||
                   (jinja_bool_argument(run, call, 1, false) && !jinja_truth(run, self));
    if (!missing)
        return self;
    return call->given[0] ? call->values[0] : jinja_str(jinja_text(""));
}

FILTER(list)
{
    (void)call;
    return (struct jinja_value){.kind = JINJA_LIST, .list = jinja_items(run, self)};
}

FILTER(first)
{
    (void)call;
    const struct jinja_list *items = jinja_items(run, self);
    return items->count ? items->items[0] : jinja_undefined("the first item");
}

FILTER(last)
{
    (void)call;
    const struct jinja_list *items = jinja_items(run, self);
    return items->count ? items->items[items->count - 1] : jinja_undefined("the last item");
}

FILTER(reverse)
{
    (void)call;
    if (self.kind == JINJA_STRING)
        return jinja_slice(run, self, jinja_none, jinja_none, jinja_int(-1));
    const struct jinja_list *items = jinja_items(run, self);
    struct jinja_value result = jinja_list_new(run, JINJA_LIST);
    for (size_t i = items->count; i-- > 0;)
        jinja_list_add(run, result.list, items->items[i]);
    return result;
}

/* ---- dicts ---- */

FILTER(items)
{
    (void)call;
    if (self.kind == JINJA_UNDEFINED)
        return jinja_list_new(run, JINJA_LIST);
    if (self.kind != JINJA_DICT)
        jinja_fail(run, "items wants a dict, not a value of the type %s", jinja_kind_name(self));
    static const struct jinja_list nothing;
    static const struct jinja_dict no_names;
    const struct jinja_callable *method = jinja_find(jinja_dict_methods, jinja_text("items"));
    return jinja_apply(run, method, self, &nothing, &no_names);
}

/* What an item is sorted by: strings in lower case unless case counts. */
static struct jinja_value sort_key(struct jinja_run *run, struct jinja_value v, bool case_counts)
{
    if (case_counts || v.kind != JINJA_STRING)
        return v;
    return jinja_str(jinja_in_case(run, jinja_read(run, v, "sort"), JINJA_LOWER));
}

/* Stable; backwards, equal ones stay in their order, too. */
static void sort(struct jinja_run *run, struct jinja_list *items, struct jinja_value *keys,
                 bool backwards)
{
    for (size_t i = 1; i < items->count; i++) {
        struct jinja_value item = items->items[i], key = keys[i];
        size_t at = i;
        for (; at > 0; at--) {
            int order = jinja_order(run, keys[at - 1], key);
            if (backwards ? order >= 0 : order <= 0)
                break;
            jinja_work(run, 1);
            keys[at] = keys[at - 1];
            items->items[at] = items->items[at - 1];
        }
        keys[at] = key;
        items->items[at] = item;
    }
}

FILTER(dictsort)
{
    struct jinja_value pairs = items(run, self, call);
    bool case_counts = jinja_bool_argument(run, call, 0, false);
    struct jinja_string by = jinja_string_argument(run, call, 1, "key");
    bool by_key = jinja_same(by, jinja_text("key"));
    if (!by_key && !jinja_same(by, jinja_text("value")))
        jinja_fail(run, "dictsort sorts by 'key' or 'value'");
    struct jinja_value *keys = jinja_take(run, pairs.list->count + 1, sizeof *keys);
    for (size_t i = 0; i < pairs.list->count; i++)
        keys[i] = sort_key(run, pairs.list->items[i].list->items[!by_key], case_counts);
    sort(run, pairs.list, keys, jinja_bool_argument(run, call, 2, false));
    return pairs;
}

/* ---- by attribute ---- */

static bool is_number(struct jinja_string s)
{
    size_t i = 0;
    while (i < s.len && s.s[i] >= '0' && s.s[i] <= '9')
        i++;
    return s.len && i == s.len;
}

/* The item that a path of names and numbers with dots between leads to. */
static struct jinja_value at_path(struct jinja_run *run, struct jinja_value item,
                                  struct jinja_value path)
{
    if (path.kind == JINJA_INT)
        return jinja_item(run, item, path);
    struct jinja_string s = jinja_read(run, path, "an attribute"), dot = jinja_text(".");
    for (size_t start = 0, end; start <= s.len; start = end + 1) {
        end = jinja_find_string(s, dot, start);
        if (end > s.len)
            end = s.len;
        struct jinja_string name = jinja_part(s, start, end);
        if (is_number(name))
            jinja_fail(run, "attributes that are numbers are not known here");
        item = jinja_item(run, item, jinja_str(name));
    }
    return item;
}

FILTER(sorted)
{
    const struct jinja_list *unsorted = jinja_items(run, self);
    struct jinja_value result = jinja_list_new(run, JINJA_LIST);
    struct jinja_value *keys = jinja_take(run, unsorted->count + 1, sizeof *keys);
    bool backwards = jinja_bool_argument(run, call, 0, false);
    bool case_counts = jinja_bool_argument(run, call, 1, false);
    for (size_t i = 0; i < unsorted->count; i++) {
        struct jinja_value item = unsorted->items[i];
        jinja_list_add(run, result.list, item);
        keys[i] =
            sort_key(run, call->given[2] ? at_path(run, item, call->values[2]) : item, case_counts);
    }
    sort(run, result.list, keys, backwards);
    return result;
}

FILTER(unique)
{
    (void)call;
    const struct jinja_list *all = jinja_items(run, self);
    struct jinja_value result = jinja_list_new(run, JINJA_LIST);
    struct jinja_list *seen = jinja_list_new(run, JINJA_LIST).list;
    for (size_t i = 0; i < all->count; i++) {
        struct jinja_value key = sort_key(run, all->items[i], false);
        struct jinja_value before = {.kind = JINJA_LIST, .list = seen};
        if (jinja_compare(run, JINJA_IN, key, before))
            continue;
        jinja_list_add(run, seen, key);
        jinja_list_add(run, result.list, all->items[i]);
    }
    return result;
}

FILTER(join)
{
    struct jinja_builder b = {.run = run};
    const struct jinja_list *all = jinja_items(run, self);
    for (size_t i = 0; i < all->count; i++) {
        if (i && call->given[0])
            jinja_add_str(&b, call->values[0]);
        struct jinja_value item = all->items[i];
        jinja_add_str(&b, call->given[1] ? at_path(run, item, call->values[1]) : item);
    }
    return jinja_str(jinja_built(&b));
}

/* The arguments behind the first n. */
static struct jinja_list *rest(struct jinja_run *run, const struct jinja_list *list, size_t n)
{
    struct jinja_list *behind = jinja_list_new(run, JINJA_LIST).list;
    for (size_t i = n; i < list->count; i++)
        jinja_list_add(run, behind, list->items[i]);
    return behind;
}

/* What map() and the like go through: nothing of what is false, none and numbers included, which
 * have no items. */
static const struct jinja_list *items_if_true(struct jinja_run *run, struct jinja_value self)
{
    static const struct jinja_list nothing;
    return jinja_truth(run, self) ? jinja_items(run, self) : &nothing;
}

/* map(attribute=...), or map(filter, its arguments). */
FILTER(map)
{
    const struct jinja_list *all = items_if_true(run, self);
    struct jinja_value result = jinja_list_new(run, JINJA_LIST);
    const struct jinja_value *path =
        jinja_dict_get(run, call->keywords, jinja_str(jinja_text("attribute")));
    const struct jinja_value *otherwise =
        jinja_dict_get(run, call->keywords, jinja_str(jinja_text("default")));
    if (!path == !call->list->count)
        jinja_fail(run, "map wants a filter or an attribute");
    if (path && call->keywords->count > 1 + (otherwise != NULL))
        jinja_fail(run, "map takes no such argument here");
    for (size_t i = 0; i < all->count; i++) {
        struct jinja_value item = all->items[i];
        if (path) {
            item = at_path(run, item, *path);
            if (otherwise && item.kind == JINJA_UNDEFINED)
                item = *otherwise;
        } else {
            struct jinja_string name = jinja_read(run, call->list->items[0], "map");
            item = jinja_apply(run, jinja_find_filter(run, name), item, rest(run, call->list, 1),
                               call->keywords);
        }
        jinja_list_add(run, result.list, item);
    }
    return result;
}

/* The items of which a test, by default truth, is `wanted`: of the item itself, or of what stands
 * at a path in it. */
static struct jinja_value selected(struct jinja_run *run, struct jinja_value self,
                                   const struct jinja_call *call, bool by_path, bool wanted)
{
    const struct jinja_list *all = items_if_true(run, self);
    struct jinja_value result = jinja_list_new(run, JINJA_LIST);
    const struct jinja_callable *test = NULL;
    if (call->list->count < by_path)
        jinja_fail(run, "selectattr and rejectattr want an attribute");
    if (call->list->count > by_path)
        test = jinja_find_test(run, jinja_read(run, call->list->items[by_path], "a test's name"));
    struct jinja_list *arguments = rest(run, call->list, by_path + (size_t)1);
    for (size_t i = 0; i < all->count; i++) {
        struct jinja_value v = all->items[i];
        if (by_path)
            v = at_path(run, v, call->list->items[0]);
        if (test)
            v = jinja_apply(run, test, v, arguments, call->keywords);
        if (jinja_truth(run, v) == wanted)
            jinja_list_add(run, result.list, all->items[i]);
    }
    return result;
}

FILTER(select)
{
    return selected(run, self, call, false, true);
}

FILTER(reject)
{
    return selected(run, self, call, false, false);
}

FILTER(selectattr)
{
    return selected(run, self, call, true, true);
}

FILTER(rejectattr)
{
    return selected(run, self, call, true, false);
}

const struct jinja_callable jinja_list_filters[] = {
    {"length", length, {0}, 0, false},
    {"count", length, {0}, 0, false},
    {"default", default_value, {"default_value", "boolean"}, 0, false},
    {"d", default_value, {"default_value", "boolean"}, 0, false},
    {"list", list, {0}, 0, false},
    {"first", first, {0}, 0, false},
    {"last", last, {0}, 0, false},
    {"reverse", reverse, {0}, 0, false},
    {"items", items, {0}, 0, false},
    {"dictsort", dictsort, {"case_sensitive", "by", "reverse"}, 0, false},
    {"sort", sorted, {"reverse", "case_sensitive", "attribute"}, 0, false},
    {"unique", unique, {0}, 0, false},
    {"join", join, {"d", "attribute"}, 0, false},
    {"map", map, {0}, 0, true},
    {"select", select, {0}, 0, true},
    {"reject", reject, {0}, 0, true},
    {"selectattr", selectattr, {0}, 0, true},
    {"rejectattr", rejectattr, {0}, 0, true},
    {0},
};
