/* Filters of strings and numbers. */
#include "common/text/jinja_call.h"
#include "common/text/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILTER(name)                                                                               \
    static struct jinja_value name(struct jinja_run *run, struct jinja_value self,                 \
                                   const struct jinja_call *call)

/* str() of what is filtered, all of it looked at. */
static struct jinja_string text_of(struct jinja_run *run, struct jinja_value self)
{
    struct jinja_string s = jinja_to_str(run, self);
    jinja_look(run, s, s.len);
    return s;
}

FILTER(trim)
{
    struct jinja_string s = jinja_to_str(run, self);
    if (!call->given[0] || call->values[0].kind == JINJA_NONE)
        return jinja_str(jinja_strip(run, s, true, true, NULL));
    struct jinja_string characters = jinja_string_argument(run, call, 0, "");
    return jinja_str(jinja_strip(run, s, true, true, &characters));
}

FILTER(string)
{
    (void)call;
    return jinja_str(jinja_to_str(run, self));
}

/* Nothing is escaped in chat templates, so that nothing is to be marked as safe. */
FILTER(safe)
{
    (void)call;
    return jinja_str(jinja_to_str(run, self));
}

FILTER(upper)
{
    (void)call;
    return jinja_str(jinja_in_case(run, text_of(run, self), JINJA_UPPER));
}

FILTER(lower)
{
    (void)call;
    return jinja_str(jinja_in_case(run, text_of(run, self), JINJA_LOWER));
}

FILTER(capitalize)
{
    (void)call;
    return jinja_str(jinja_in_case(run, text_of(run, self), JINJA_CAPITALIZED));
}

static bool parts_words(uint32_t c)
{
    return unicode_is_split_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
}

/* Words begin behind white space and - ( { [ <. */
FILTER(title)
{
    (void)call;
    struct jinja_string s = text_of(run, self);
    struct jinja_builder b = {.run = run};
    for (size_t start = 0, end, n; start < s.len; start = end) {
        bool between = parts_words(utf8_get(s.s + start, &n));
        end = start + n;
        while (end < s.len && parts_words(utf8_get(s.s + end, &n)) == between)
            end += n;
        jinja_add(&b, jinja_in_case(run, jinja_part(s, start, end), JINJA_CAPITALIZED));
    }
    return jinja_str(jinja_built(&b));
}

FILTER(replace)
{
    return jinja_str(jinja_replace(run, text_of(run, self), text_of(run, call->values[0]),
                                   text_of(run, call->values[1]),
                                   jinja_int_argument(run, call, 2, -1)));
}

FILTER(indent)
{
    struct jinja_string s = text_of(run, self), by;
    struct jinja_builder spaces = {.run = run}, b = {.run = run};
    if (call->given[0] && call->values[0].kind == JINJA_STRING) {
        by = jinja_string_argument(run, call, 0, "");
    } else {
        for (int64_t i = jinja_int_argument(run, call, 0, 4); i > 0; i--)
            jinja_add_bytes(&spaces, " ", 1, 0);
        by = jinja_built(&spaces);
    }
    bool first = jinja_bool_argument(run, call, 1, false);
    bool blank = jinja_bool_argument(run, call, 2, false);
    for (size_t start = 0, end; start <= s.len; start = end + 1) {
        const char *line_end = start < s.len ? memchr(s.s + start, '\n', s.len - start) : NULL;
        end = line_end ? (size_t)(line_end - s.s) : s.len;
        if (start)
            jinja_add_bytes(&b, "\n", 1, 0);
        if (start ? (blank || end > start) : first)
            jinja_add(&b, by);
        jinja_add(&b, jinja_part(s, start, end));
    }
    return jinja_str(jinja_built(&b));
}

FILTER(tojson)
{
    int64_t indent = jinja_int_argument(run, call, 1, -1);
    if (indent > 100)
        jinja_fail(run, "tojson indents by at most 100");
    struct jinja_json_style style = {.indent = indent < 0 ? -1 : (int)indent,
                                     .ascii = jinja_bool_argument(run, call, 0, false),
                                     .sorted = jinja_bool_argument(run, call, 3, false),
                                     .between_items = jinja_text(indent < 0 ? ", " : ","),
                                     .after_key = jinja_text(": ")};
    if (call->given[2] && call->values[2].kind != JINJA_NONE) {
        const struct jinja_list *two = jinja_items(run, call->values[2]);
        if (two->count != 2)
            jinja_fail(run, "tojson takes two separators");
        style.between_items = jinja_read(run, two->items[0], "a separator");
        style.after_key = jinja_read(run, two->items[1], "a separator");
    }
    struct jinja_builder b = {.run = run};
    jinja_add_json(&b, self, &style);
    return jinja_str(jinja_built(&b));
}

/* ---- numbers ---- */

/* A number at the whole of a text, but for white space at its ends. */
static bool number_in(struct jinja_run *run, struct jinja_value v, double *number)
{
    char copy[64], *end;
    struct jinja_string s = jinja_strip(run, jinja_read(run, v, "int"), true, true, NULL);
    if (!s.len || s.len >= sizeof copy)
        return false;
    memcpy(copy, s.s, s.len);
    copy[s.len] = '\0';
    if (strspn(copy, "+-0123456789.eE") < s.len)
        return false;
    *number = strtod(copy, &end);
    return !*end;
}

FILTER(to_int)
{
    struct jinja_value otherwise = call->given[0] ? call->values[0] : jinja_int(0);
    double number = 0;
    if (self.kind == JINJA_INT)
        return self;
    if (self.kind == JINJA_BOOL)
        return jinja_int(self.truth);
    if (self.kind == JINJA_FLOAT)
        number = self.real;
    else if (self.kind != JINJA_STRING || !number_in(run, self, &number))
        return otherwise;
    if (!isfinite(number))
        return otherwise;
    if (fabs(number) >= 0x1p53)
        jinja_fail(run, "int: the number is too large");
    return jinja_int((int64_t)number);
}

FILTER(to_float)
{
    struct jinja_value otherwise = call->given[0] ? call->values[0] : jinja_float(0);
    double number = 0;
    if (self.kind == JINJA_FLOAT)
        return self;
    if (self.kind == JINJA_INT || self.kind == JINJA_BOOL)
        return jinja_float(self.kind == JINJA_INT ? (double)self.integer : self.truth);
    return self.kind == JINJA_STRING && number_in(run, self, &number) ? jinja_float(number)
                                                                      : otherwise;
}

FILTER(absolute)
{
    (void)call;
    bool negative = jinja_order(run, self, jinja_int(0)) < 0;
    return jinja_binary(run, negative ? '-' : '+', jinja_int(0), self);
}

const struct jinja_callable jinja_text_filters[] = {
    {"trim", trim, {"chars"}, 0, false},
    {"string", string, {0}, 0, false},
    {"safe", safe, {0}, 0, false},
    {"upper", upper, {0}, 0, false},
    {"lower", lower, {0}, 0, false},
    {"capitalize", capitalize, {0}, 0, false},
    {"title", title, {0}, 0, false},
    {"replace", replace, {"old", "new", "count"}, 2, false},
    {"indent", indent, {"width", "first", "blank"}, 0, false},
    {"tojson", tojson, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, false},
    {"int", to_int, {"default"}, 0, false},
    {"float", to_float, {"default"}, 0, false},
    {"abs", absolute, {0}, 0, false},
    {0},
};
