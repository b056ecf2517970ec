/* The methods of strings, dicts and loops. */
#include "common/text/jinja_call.h"
#include "common/text/unicode.h"

#include <string.h>

#define METHOD(name)                                                                               \
    static struct jinja_value name(struct jinja_run *run, struct jinja_value self,                 \
                                   const struct jinja_call *call)

/* ---- ends and parts ---- */

static struct jinja_value stripped(struct jinja_run *run, struct jinja_value self,
                                   const struct jinja_call *call, bool left, bool right)
{
    if (!call->given[0] || call->values[0].kind == JINJA_NONE)
        return jinja_str(jinja_strip(run, self.string, left, right, NULL));
    struct jinja_string characters = jinja_string_argument(run, call, 0, "");
    return jinja_str(jinja_strip(run, self.string, left, right, &characters));
}

METHOD(strip)
{
    return stripped(run, self, call, true, true);
}

METHOD(lstrip)
{
    return stripped(run, self, call, true, false);
}

METHOD(rstrip)
{
    return stripped(run, self, call, false, true);
}

/* Whether a string begins (or ends) so, looking no further than the first byte that differs. */
static bool has_end(struct jinja_run *run, struct jinja_string s, struct jinja_string wanted,
                    bool at_start)
{
    size_t same = 0, least = s.len < wanted.len ? s.len : wanted.len;
    while (same < least && (at_start ? s.s[same] == wanted.s[same]
                                     : s.s[s.len - 1 - same] == wanted.s[wanted.len - 1 - same]))
        same++;
    size_t seen = same < least ? same + 1 : least;
    jinja_look(run, at_start ? s : jinja_part(s, s.len - seen, s.len), seen);
    return same == wanted.len;
}

/* One string, or a tuple of which one will do. */
static struct jinja_value has_one_end(struct jinja_run *run, struct jinja_value self,
                                      const struct jinja_call *call, bool at_start)
{
    struct jinja_value wanted = call->values[0];
    if (wanted.kind != JINJA_TUPLE) {
        struct jinja_string s = jinja_read(run, wanted, "startswith or endswith");
        return jinja_bool(has_end(run, self.string, s, at_start));
    }
    for (size_t i = 0; i < wanted.list->count; i++) {
        struct jinja_string s = jinja_read(run, wanted.list->items[i], "startswith or endswith");
        if (has_end(run, self.string, s, at_start))
            return jinja_bool(true);
    }
    return jinja_bool(false);
}

METHOD(startswith)
{
    return has_one_end(run, self, call, true);
}

METHOD(endswith)
{
    return has_one_end(run, self, call, false);
}

METHOD(removeprefix)
{
    struct jinja_string s = self.string, end = jinja_string_argument(run, call, 0, "");
    return jinja_str(has_end(run, s, end, true) ? jinja_part(s, end.len, s.len) : s);
}

METHOD(removesuffix)
{
    struct jinja_string s = self.string, end = jinja_string_argument(run, call, 0, "");
    return jinja_str(has_end(run, s, end, false) ? jinja_part(s, 0, s.len - end.len) : s);
}

static struct jinja_value split_at_space(struct jinja_run *run, struct jinja_string s, int64_t most)
{
    struct jinja_value parts = jinja_list_new(run, JINJA_LIST);
    size_t n, at = 0;
    for (;;) {
        while (at < s.len && unicode_is_split_space(utf8_get(s.s + at, &n)))
            at += n;
        if (at == s.len)
            return parts;
        size_t start = at;
        if (most-- == 0) {
            jinja_list_add(run, parts.list, jinja_str(jinja_part(s, start, s.len)));
            return parts;
        }
        while (at < s.len && !unicode_is_split_space(utf8_get(s.s + at, &n)))
            at += n;
        jinja_list_add(run, parts.list, jinja_str(jinja_part(s, start, at)));
    }
}

static struct jinja_string separator(struct jinja_run *run, const struct jinja_call *call)
{
    struct jinja_string between = jinja_string_argument(run, call, 0, "");
    if (!between.len)
        jinja_fail(run, "the string to split at is empty");
    return between;
}

METHOD(split)
{
    struct jinja_string s = jinja_read(run, self, "split");
    int64_t most = jinja_int_argument(run, call, 1, -1);
    if (!call->given[0] || call->values[0].kind == JINJA_NONE)
        return split_at_space(run, s, most);
    struct jinja_string between = separator(run, call);
    struct jinja_value parts = jinja_list_new(run, JINJA_LIST);
    size_t at = 0;
    for (size_t found; most-- != 0 && (found = jinja_find_string(s, between, at)) <= s.len;) {
        jinja_list_add(run, parts.list, jinja_str(jinja_part(s, at, found)));
        at = found + between.len;
    }
    jinja_list_add(run, parts.list, jinja_str(jinja_part(s, at, s.len)));
    return parts;
}

/* The last place of a string before `end`; s.len + 1 where there is none. */
static size_t find_last(struct jinja_run *run, struct jinja_string s, struct jinja_string wanted,
                        size_t end)
{
    jinja_work(run, end / 16);
    for (size_t at = end >= wanted.len ? end - wanted.len + 1 : 0; at-- > 0;)
        if (!memcmp(s.s + at, wanted.s, wanted.len))
            return at;
    return s.len + 1;
}

METHOD(rsplit)
{
    struct jinja_string s = jinja_read(run, self, "rsplit"), between = separator(run, call);
    int64_t most = jinja_int_argument(run, call, 1, -1);
    struct jinja_list *backwards = jinja_list_new(run, JINJA_LIST).list;
    size_t end = s.len;
    for (size_t found; most-- != 0 && (found = find_last(run, s, between, end)) <= s.len;) {
        jinja_list_add(run, backwards, jinja_str(jinja_part(s, found + between.len, end)));
        end = found;
    }
    jinja_list_add(run, backwards, jinja_str(jinja_part(s, 0, end)));
    struct jinja_value parts = jinja_list_new(run, JINJA_LIST);
    for (size_t i = backwards->count; i-- > 0;)
        jinja_list_add(run, parts.list, backwards->items[i]);
    return parts;
}

static bool ends_line(uint32_t c)
{
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

METHOD(splitlines)
{
    struct jinja_string s = jinja_read(run, self, "splitlines");
    bool keep = jinja_bool_argument(run, call, 0, false);
    struct jinja_value parts = jinja_list_new(run, JINJA_LIST);
    size_t start = 0, n;
    for (size_t at = 0; at < s.len; at += n) {
        uint32_t c = utf8_get(s.s + at, &n);
        if (!ends_line(c))
            continue;
        if (c == '\r' && at + 1 < s.len && s.s[at + 1] == '\n')
            n = 2;
        jinja_list_add(run, parts.list, jinja_str(jinja_part(s, start, keep ? at + n : at)));
        start = at + n;
    }
    if (start < s.len)
        jinja_list_add(run, parts.list, jinja_str(jinja_part(s, start, s.len)));
    return parts;
}

/* ---- whole strings ---- */

METHOD(upper)
{
    (void)call;
    return jinja_str(jinja_in_case(run, jinja_read(run, self, "upper"), JINJA_UPPER));
}

METHOD(lower)
{
    (void)call;
    return jinja_str(jinja_in_case(run, jinja_read(run, self, "lower"), JINJA_LOWER));
}

METHOD(title)
{
    (void)call;
    return jinja_str(jinja_in_case(run, jinja_read(run, self, "title"), JINJA_TITLE));
}

METHOD(capitalize)
{
    (void)call;
    return jinja_str(jinja_in_case(run, jinja_read(run, self, "capitalize"), JINJA_CAPITALIZED));
}

METHOD(replace)
{
    struct jinja_string s = jinja_read(run, self, "replace");
    return jinja_str(jinja_replace(run, s, jinja_string_argument(run, call, 0, ""),
                                   jinja_string_argument(run, call, 1, ""),
                                   jinja_int_argument(run, call, 2, -1)));
}

METHOD(count)
{
    struct jinja_string s = jinja_read(run, self, "count"), wanted = separator(run, call);
    int64_t n = 0;
    for (size_t at = 0; (at = jinja_find_string(s, wanted, at)) <= s.len; at += wanted.len)
        n++;
    return jinja_int(n);
}

static struct jinja_value place(struct jinja_run *run, struct jinja_string s, size_t found)
{
    if (found > s.len)
        return jinja_int(-1);
    return jinja_int((int64_t)jinja_length(run, jinja_str(jinja_part(s, 0, found))));
}

METHOD(find)
{
    struct jinja_string s = jinja_read(run, self, "find");
    return place(run, s, jinja_find_string(s, jinja_string_argument(run, call, 0, ""), 0));
}

METHOD(rfind)
{
    struct jinja_string s = jinja_read(run, self, "rfind");
    return place(run, s, find_last(run, s, jinja_string_argument(run, call, 0, ""), s.len));
}

METHOD(join)
{
    struct jinja_builder b = {.run = run};
    const struct jinja_list *items = jinja_items(run, call->values[0]);
    for (size_t i = 0; i < items->count; i++) {
        if (items->items[i].kind != JINJA_STRING)
            jinja_fail(run, "join wants strings, not a value of the type %s",
                       jinja_kind_name(items->items[i]));
        if (i)
            jinja_add(&b, self.string);
        jinja_add(&b, items->items[i].string);
    }
    return jinja_str(jinja_built(&b));
}

METHOD(all_digits)
{
    (void)call;
    struct jinja_string s = jinja_read(run, self, "isdigit");
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.s[i] >= 0x80)
            jinja_fail(run, "isdigit is known for ASCII alone here");
        if (s.s[i] < '0' || s.s[i] > '9')
            return jinja_bool(false);
    }
    return jinja_bool(s.len > 0);
}

const struct jinja_callable jinja_string_methods[] = {
    {"strip", strip, {"chars"}, 0, false},
    {"lstrip", lstrip, {"chars"}, 0, false},
    {"rstrip", rstrip, {"chars"}, 0, false},
    {"startswith", startswith, {"prefix"}, 1, false},
    {"endswith", endswith, {"suffix"}, 1, false},
    {"removeprefix", removeprefix, {"prefix"}, 1, false},
    {"removesuffix", removesuffix, {"suffix"}, 1, false},
    {"split", split, {"sep", "maxsplit"}, 0, false},
    {"rsplit", rsplit, {"sep", "maxsplit"}, 1, false},
    {"splitlines", splitlines, {"keepends"}, 0, false},
    {"upper", upper, {0}, 0, false},
    {"lower", lower, {0}, 0, false},
    {"title", title, {0}, 0, false},
    {"capitalize", capitalize, {0}, 0, false},
    {"replace", replace, {"old", "new", "count"}, 2, false},
    {"count", count, {"sub"}, 1, false},
    {"find", find, {"sub"}, 1, false},
    {"rfind", rfind, {"sub"}, 1, false},
    {"join", join, {"iterable"}, 1, false},
    {"isdigit", all_digits, {0}, 0, false},
    {0},
};

/* ---- dicts ---- */

METHOD(get)
{
    const struct jinja_value *value = jinja_dict_get(run, self.dict, call->values[0]);
    return value ? *value : call->given[1] ? call->values[1] : jinja_none;
}

METHOD(items)
{
    (void)call;
    struct jinja_value list = jinja_list_new(run, JINJA_LIST);
    for (size_t i = 0; i < self.dict->count; i++) {
        struct jinja_value pair = jinja_list_new(run, JINJA_TUPLE);
        jinja_list_add(run, pair.list, self.dict->pairs[i].key);
        jinja_list_add(run, pair.list, self.dict->pairs[i].value);
        jinja_list_add(run, list.list, pair);
    }
    return list;
}

METHOD(keys)
{
    (void)call;
    return (struct jinja_value){.kind = JINJA_LIST, .list = jinja_items(run, self)};
}

METHOD(values)
{
    (void)call;
    struct jinja_value list = jinja_list_new(run, JINJA_LIST);
    for (size_t i = 0; i < self.dict->count; i++)
        jinja_list_add(run, list.list, self.dict->pairs[i].value);
    return list;
}

const struct jinja_callable jinja_dict_methods[] = {
    {"get", get, {"key", "default"}, 1, false},
    {"items", items, {0}, 0, false},
    {"keys", keys, {0}, 0, false},
    {"values", values, {0}, 0, false},
    {0},
};

/* ---- loops ---- */

METHOD(cycle)
{
    (void)run;
    size_t n = call->list->count;
    return n ? call->list->items[self.loop->index % n] : jinja_undefined("cycle()");
}

const struct jinja_callable jinja_loop_methods[] = {{"cycle", cycle, {0}, 0, true}, {0}};

bool jinja_loop_attribute(const struct jinja_loop *loop, struct jinja_string name,
                          struct jinja_value *value)
{
    int64_t i = (int64_t)loop->index, n = (int64_t)loop->items->count;
    const struct {
        const char *name;
        struct jinja_value value;
    } attributes[] = {
        {"index", jinja_int(i + 1)},
        {"index0", jinja_int(i)},
        {"revindex", jinja_int(n - i)},
        {"revindex0", jinja_int(n - i - 1)},
        {"first", jinja_bool(i == 0)},
        {"last", jinja_bool(i == n - 1)},
        {"length", jinja_int(n)},
        {"depth", jinja_int(1)}, /* of recursive loops, which are not known here */
        {"depth0", jinja_int(0)},
        {"previtem", i ? loop->items->items[i - 1] : jinja_undefined("previtem")},
        {"nextitem", i < n - 1 ? loop->items->items[i + 1] : jinja_undefined("nextitem")},
    };
    for (size_t k = 0; k < sizeof attributes / sizeof *attributes; k++) {
        if (!jinja_same(name, jinja_text(attributes[k].name)))
            continue;
        *value = attributes[k].value;
        return true;
    }
    return false;
}
