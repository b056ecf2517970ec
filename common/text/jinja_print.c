/* Values as text: Python's str(), repr() and json.dumps(). */
#include "common/text/jinja_run.h"
#include "common/text/unicode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static void put(struct jinja_builder *b, const char *s)
{
    jinja_add(b, jinja_text(s));
}

static unsigned char mark_at(struct jinja_string s, size_t i)
{
    return s.marks ? s.marks[i] : 0;
}

/* ---- numbers ---- */

/* The fewest digits that mean the same number, without an exponent where Python has none. */
static void add_real(struct jinja_builder *b, double x, const char *inf, const char *nan)
{
    enum { DOUBLE_DIGITS = 17, LARGEST_PLAIN = 16, SMALLEST_PLAIN = -4 };
    if (isnan(x)) {
        put(b, nan);
        return;
    }
    if (x < 0 || (x == 0 && signbit(x)))
        put(b, "-");
    x = fabs(x);
    if (isinf(x)) {
        put(b, inf);
        return;
    }
    char scientific[40], plain[400];
    int digits = 0;
    do
        snprintf(scientific, sizeof scientific, "%.*e", digits, x);
    while (strtod(scientific, NULL) != x && ++digits < DOUBLE_DIGITS);
    int exponent = atoi(strchr(scientific, 'e') + 1);
    if (exponent < SMALLEST_PLAIN || exponent >= LARGEST_PLAIN) {
        put(b, scientific);
        return;
    }
    int after = digits - exponent;
    snprintf(plain, sizeof plain, "%.*f", after > 1 ? after : 1, x);
    put(b, plain);
}

static void add_integer(struct jinja_builder *b, int64_t x)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, x);
    put(b, text);
}

/* ---- str(), repr() ---- */

/* Whether repr() writes a character as it is. */
static bool printable(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    case UTF8PROC_CATEGORY_ZS:
        return c == ' ';
    default:
        return true;
    }
}

static void add_repr_character(struct jinja_builder *b, struct jinja_string s, size_t at, size_t n,
                               char quote)
{
    size_t len;
    uint32_t c = utf8_get(s.s + at, &len);
    char text[16];
    if (c == '\n' || c == '\r' || c == '\t')
        snprintf(text, sizeof text, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (c == (uint32_t)quote || c == '\\')
        snprintf(text, sizeof text, "\\%c", (char)c);
    else if (!printable(c))
        snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    else
        snprintf(text, sizeof text, "%.*s", (int)n, s.s + at);
    jinja_add_bytes(b, text, strlen(text), mark_at(s, at));
}

static void add_repr_string(struct jinja_builder *b, struct jinja_string s)
{
    jinja_look(b->run, s, s.len);
    char quote = memchr(s.s, '\'', s.len) && !memchr(s.s, '"', s.len) ? '"' : '\'';
    jinja_add_bytes(b, &quote, 1, 0);
    for (size_t i = 0, n; i < s.len; i += n) {
        n = utf8_len((unsigned char)s.s[i]);
        add_repr_character(b, s, i, n, quote);
        jinja_work(b->run, 1);
    }
    jinja_add_bytes(b, &quote, 1, 0);
}

static void add_repr_list(struct jinja_builder *b, struct jinja_value v)
{
    bool tuple = v.kind == JINJA_TUPLE;
    put(b, tuple ? "(" : "[");
    for (size_t i = 0; i < v.list->count; i++) {
        if (i)
            put(b, ", ");
        jinja_add_repr(b, v.list->items[i]);
    }
    put(b, !tuple ? "]" : v.list->count == 1 ? ",)" : ")");
}

static void add_repr_dict(struct jinja_builder *b, const struct jinja_dict *dict)
{
    put(b, "{");
    for (size_t i = 0; i < dict->count; i++) {
        if (i)
            put(b, ", ");
        jinja_add_repr(b, dict->pairs[i].key);
        put(b, ": ");
        jinja_add_repr(b, dict->pairs[i].value);
    }
    put(b, "}");
}

void jinja_add_repr(struct jinja_builder *b, struct jinja_value v)
{
    jinja_deeper(b->run);
    switch (v.kind) {
    case JINJA_UNDEFINED:
        put(b, "Undefined");
        break;
    case JINJA_NONE:
        put(b, "None");
        break;
    case JINJA_BOOL:
        put(b, v.truth ? "True" : "False");
        break;
    case JINJA_INT:
        add_integer(b, v.integer);
        break;
    case JINJA_FLOAT:
        add_real(b, v.real, "inf", "nan");
        break;
    case JINJA_STRING:
        add_repr_string(b, v.string);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        add_repr_list(b, v);
        break;
    case JINJA_DICT:
        add_repr_dict(b, v.dict);
        break;
    default:
        jinja_fail(b->run, "a value of the type %s is not text", jinja_kind_name(v));
    }
    b->run->depth--;
}

void jinja_add_str(struct jinja_builder *b, struct jinja_value v)
{
    if (v.kind == JINJA_STRING)
        jinja_add(b, v.string);
    else if (v.kind != JINJA_UNDEFINED)
        jinja_add_repr(b, v);
}

struct jinja_string jinja_to_str(struct jinja_run *run, struct jinja_value v)
{
    if (v.kind == JINJA_STRING)
        return v.string;
    struct jinja_builder b = {.run = run};
    jinja_add_str(&b, v);
    return jinja_built(&b);
}

/* ---- JSON ---- */

static void add_json_character(struct jinja_builder *b, struct jinja_string s, size_t at, size_t n,
                               bool ascii)
{
    static const char names[] = "\"\"\\\\\nn\rr\tt\bb\ff";
    size_t len;
    uint32_t c = utf8_get(s.s + at, &len);
    char text[16];
    const char *name = c && c < 0x80 ? strchr(names, (int)c) : NULL;
    if (name && (name - names) % 2 == 0)
        snprintf(text, sizeof text, "\\%c", name[1]);
    else if (c < 0x20 || (ascii && c > 0x7e && c < 0x10000))
        snprintf(text, sizeof text, "\\u%04x", c);
    else if (ascii && c >= 0x10000)
        snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
                 0xDC00 + ((c - 0x10000) & 0x3FF));
    else
        snprintf(text, sizeof text, "%.*s", (int)n, s.s + at);
    jinja_add_bytes(b, text, strlen(text), mark_at(s, at));
}

static void add_json_string(struct jinja_builder *b, struct jinja_string s, bool ascii)
{
    jinja_look(b->run, s, s.len);
    put(b, "\"");
    for (size_t i = 0, n; i < s.len; i += n) {
        n = utf8_len((unsigned char)s.s[i]);
        add_json_character(b, s, i, n, ascii);
        jinja_work(b->run, 1);
    }
    put(b, "\"");
}

static void add_json_break(struct jinja_builder *b, const struct jinja_json_style *j, int level)
{
    if (j->indent < 0)
        return;
    put(b, "\n");
    for (int i = 0; i < level * j->indent; i++)
        put(b, " ");
}

static void add_json(struct jinja_builder *b, struct jinja_value v,
                     const struct jinja_json_style *j, int level);

static void add_json_list(struct jinja_builder *b, const struct jinja_list *list,
                          const struct jinja_json_style *j, int level)
{
    put(b, "[");
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            jinja_add(b, j->between_items);
        add_json_break(b, j, level + 1);
        add_json(b, list->items[i], j, level + 1);
    }
    if (list->count)
        add_json_break(b, j, level);
    put(b, "]");
}

/* Positions of a dict's pairs, in the order in which they are written. */
static size_t *pair_order(struct jinja_run *run, const struct jinja_dict *dict, bool sorted)
{
    size_t *order = jinja_take(run, dict->count + 1, sizeof *order);
    for (size_t i = 0; i < dict->count; i++) {
        size_t at = i;
        while (sorted && at &&
               jinja_order(run, dict->pairs[order[at - 1]].key, dict->pairs[i].key) > 0) {
            order[at] = order[at - 1];
            at--;
        }
        jinja_work(run, i - at);
        order[at] = i;
    }
    return order;
}

static void add_json_dict(struct jinja_builder *b, const struct jinja_dict *dict,
                          const struct jinja_json_style *j, int level)
{
    size_t *order = pair_order(b->run, dict, j->sorted);
    put(b, "{");
    for (size_t i = 0; i < dict->count; i++) {
        const struct jinja_pair *pair = &dict->pairs[order[i]];
        if (i)
            jinja_add(b, j->between_items);
        add_json_break(b, j, level + 1);
        if (pair->key.kind == JINJA_STRING) {
            add_json(b, pair->key, j, level);
        } else {
            put(b, "\"");
            add_json(b, pair->key, j, level);
            put(b, "\"");
        }
        jinja_add(b, j->after_key);
        add_json(b, pair->value, j, level + 1);
    }
    if (dict->count)
        add_json_break(b, j, level);
    put(b, "}");
}

static void add_json(struct jinja_builder *b, struct jinja_value v,
                     const struct jinja_json_style *j, int level)
{
    jinja_deeper(b->run);
    switch (v.kind) {
    case JINJA_NONE:
        put(b, "null");
        break;
    case JINJA_BOOL:
        put(b, v.truth ? "true" : "false");
        break;
    case JINJA_INT:
        add_integer(b, v.integer);
        break;
    case JINJA_FLOAT:
        add_real(b, v.real, "Infinity", "NaN");
        break;
    case JINJA_STRING:
        add_json_string(b, v.string, j->ascii);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        add_json_list(b, v.list, j, level);
        break;
    case JINJA_DICT:
        add_json_dict(b, v.dict, j, level);
        break;
    default:
        jinja_fail(b->run, "tojson: a value of the type %s is not JSON", jinja_kind_name(v));
    }
    b->run->depth--;
}

void jinja_add_json(struct jinja_builder *b, struct jinja_value v, const struct jinja_json_style *j)
{
    add_json(b, v, j, 0);
}
