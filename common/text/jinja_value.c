#include "common/text/jinja_value.h"

#include "common/text/jinja_run.h"
#include "common/text/unicode.h"
#include "common/util/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the rendering's memory and bounds ---- */

void jinja_fail(struct jinja_run *run, const char *format, ...)
{
    va_list args;
    char text[1024];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    free(run->message);
    run->message = xasprintf("line %d: %s", run->line, text);
    longjmp(run->failed, 1);
}

void jinja_work(struct jinja_run *run, size_t steps)
{
    run->steps += steps;
    if (run->running && run->steps > JINJA_MOST_STEPS)
        jinja_fail(run, "the template does not come to an end: %d steps were not enough",
                   JINJA_MOST_STEPS);
}

void jinja_deeper(struct jinja_run *run)
{
    jinja_work(run, 1);
    if (++run->depth > JINJA_DEEPEST)
        jinja_fail(run, "the template nests deeper than %d", JINJA_DEEPEST);
}

void *jinja_take(struct jinja_run *run, size_t count, size_t size)
{
    enum { BYTES_A_STEP = 64 };
    size_t bytes = count * size;
    if (run->running && (run->bytes > JINJA_MOST_BYTES || count > JINJA_MOST_BYTES / size ||
                         bytes > JINJA_MOST_BYTES - run->bytes))
        jinja_fail(run, "the template takes more than %d MiB", JINJA_MOST_BYTES >> 20);
    run->bytes += bytes;
    jinja_work(run, bytes / BYTES_A_STEP);
    return arena_take_aligned(&run->arena, bytes);
}

/* Room for one more element of `size` bytes. */
static void *grown(struct jinja_run *run, void *old, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return old;
    *capacity = *capacity ? *capacity * 2 : 4;
    void *room = jinja_take(run, *capacity, size);
    if (count)
        memcpy(room, old, count * size);
    return room;
}

/* ---- strings ---- */

struct jinja_string jinja_text(const char *s)
{
    return (struct jinja_string){s, NULL, strlen(s)};
}

struct jinja_string jinja_part(struct jinja_string s, size_t start, size_t end)
{
    return (struct jinja_string){s.s + start, s.marks ? s.marks + start : NULL, end - start};
}

bool jinja_same(struct jinja_string a, struct jinja_string b)
{
    return same_bytes(a.s, a.len, b.s, b.len);
}

void jinja_look(struct jinja_run *run, struct jinja_string s, size_t end)
{
    enum { BYTES_A_STEP = 64 };
    jinja_work(run, end / BYTES_A_STEP);
    for (size_t i = 0; s.marks && i < end; i++)
        run->looked |= s.marks[i];
}

struct jinja_string jinja_read(struct jinja_run *run, struct jinja_value v, const char *what)
{
    if (v.kind == JINJA_UNDEFINED)
        jinja_fail(run, "%s: '%s' is undefined", what, v.what);
    if (v.kind != JINJA_STRING)
        jinja_fail(run, "%s wants a string, not a value of the type %s", what, jinja_kind_name(v));
    jinja_look(run, v.string, v.string.len);
    return v.string;
}

/* Room for `extra` more bytes. */
static void reserve(struct jinja_builder *b, size_t extra)
{
    if (extra <= b->capacity - b->len)
        return;
    size_t wanted = b->len + extra;
    b->capacity = wanted < 2 * b->capacity ? 2 * b->capacity : wanted;
    char *s = jinja_take(b->run, b->capacity, 1);
    if (b->len)
        memcpy(s, b->s, b->len);
    b->s = s;
    if (!b->marks)
        return;
    unsigned char *marks = jinja_take(b->run, b->capacity, 1);
    memcpy(marks, b->marks, b->len);
    b->marks = marks;
}

static void need_marks(struct jinja_builder *b)
{
    if (b->marks)
        return;
    b->marks = jinja_take(b->run, b->capacity, 1);
    memset(b->marks, 0, b->len);
}

void jinja_add(struct jinja_builder *b, struct jinja_string s)
{
    if (!s.len)
        return;
    reserve(b, s.len);
    if (s.marks)
        need_marks(b);
    memcpy(b->s + b->len, s.s, s.len);
    if (s.marks)
        memcpy(b->marks + b->len, s.marks, s.len);
    else if (b->marks)
        memset(b->marks + b->len, 0, s.len);
    b->len += s.len;
}

void jinja_add_bytes(struct jinja_builder *b, const char *s, size_t len, unsigned char mark)
{
    size_t start = b->len;
    jinja_add(b, (struct jinja_string){s, NULL, len});
    if (!mark || !len)
        return;
    need_marks(b);
    memset(b->marks + start, mark, len);
}

struct jinja_string jinja_built(const struct jinja_builder *b)
{
    return (struct jinja_string){b->s ? b->s : "", b->marks, b->len};
}

/* ---- lists and dicts ---- */

struct jinja_value jinja_list_new(struct jinja_run *run, enum jinja_kind list_or_tuple)
{
    struct jinja_list *list = jinja_take(run, 1, sizeof *list);
    *list = (struct jinja_list){0};
    return (struct jinja_value){.kind = list_or_tuple, .list = list};
}

struct jinja_value jinja_dict_new(struct jinja_run *run)
{
    struct jinja_dict *dict = jinja_take(run, 1, sizeof *dict);
    *dict = (struct jinja_dict){0};
    return (struct jinja_value){.kind = JINJA_DICT, .dict = dict};
}

void jinja_list_add(struct jinja_run *run, struct jinja_list *list, struct jinja_value item)
{
    list->items = grown(run, list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = item;
}

static struct jinja_value *find(struct jinja_run *run, const struct jinja_dict *dict,
                                struct jinja_value key)
{
    if (key.kind > JINJA_STRING && key.kind != JINJA_TUPLE)
        jinja_fail(run, "a value of the type %s cannot be a key", jinja_kind_name(key));
    jinja_work(run, dict->count);
    for (size_t i = 0; i < dict->count; i++)
        if (jinja_equal(run, dict->pairs[i].key, key))
            return &dict->pairs[i].value;
    return NULL;
}

const struct jinja_value *jinja_dict_get(struct jinja_run *run, const struct jinja_dict *dict,
                                         struct jinja_value key)
{
    return find(run, dict, key);
}

void jinja_dict_set(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value key,
                    struct jinja_value value)
{
    struct jinja_value *old = find(run, dict, key);
    if (old) {
        *old = value;
        return;
    }
    dict->pairs = grown(run, dict->pairs, dict->count, &dict->capacity, sizeof *dict->pairs);
    dict->pairs[dict->count++] = (struct jinja_pair){key, value};
}

/* ---- what values are and have ---- */

const char *jinja_kind_name(struct jinja_value v)
{
    static const char *const names[] = {
        [JINJA_UNDEFINED] = "undefined", [JINJA_NONE] = "none",
        [JINJA_BOOL] = "bool",           [JINJA_INT] = "int",
        [JINJA_FLOAT] = "float",         [JINJA_STRING] = "string",
        [JINJA_LIST] = "list",           [JINJA_TUPLE] = "tuple",
        [JINJA_DICT] = "dict",           [JINJA_NAMESPACE] = "namespace",
        [JINJA_MACRO] = "macro",         [JINJA_FUNCTION] = "function",
        [JINJA_METHOD] = "method",       [JINJA_LOOP] = "loop",
    };
    return names[v.kind];
}

/* Whether there is a byte that marked text cannot take away. */
static bool string_truth(struct jinja_run *run, struct jinja_string s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!s.marks || !s.marks[i])
            return true;
    jinja_look(run, s, s.len);
    return s.len > 0;
}

bool jinja_truth(struct jinja_run *run, struct jinja_value v)
{
    switch (v.kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v.truth;
    case JINJA_INT:
        return v.integer != 0;
    case JINJA_FLOAT:
        return v.real != 0;
    case JINJA_STRING:
        return string_truth(run, v.string);
    case JINJA_LIST:
    case JINJA_TUPLE:
        return v.list->count > 0;
    case JINJA_DICT:
        return v.dict->count > 0;
    default:
        return true;
    }
}

size_t jinja_length(struct jinja_run *run, struct jinja_value v)
{
    size_t n = 0;
    switch (v.kind) {
    case JINJA_UNDEFINED:
        return 0;
    case JINJA_STRING:
        jinja_look(run, v.string, v.string.len);
        for (size_t i = 0; i < v.string.len; i++)
            n += ((unsigned char)v.string.s[i] & 0xC0) != 0x80;
        return n;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return v.list->count;
    case JINJA_DICT:
        return v.dict->count;
    default:
        jinja_fail(run, "a value of the type %s has no length", jinja_kind_name(v));
    }
}

struct jinja_list *jinja_items(struct jinja_run *run, struct jinja_value v)
{
    if (v.kind == JINJA_LIST || v.kind == JINJA_TUPLE)
        return v.list;
    struct jinja_list *items = jinja_list_new(run, JINJA_LIST).list;
    if (v.kind == JINJA_DICT) {
        for (size_t i = 0; i < v.dict->count; i++)
            jinja_list_add(run, items, v.dict->pairs[i].key);
    } else if (v.kind == JINJA_STRING) {
        struct jinja_string s = jinja_read(run, v, "a loop");
        for (size_t i = 0, n; i < s.len; i += n) {
            n = utf8_len((unsigned char)s.s[i]);
            jinja_list_add(run, items, jinja_str(jinja_part(s, i, i + n)));
        }
    } else if (v.kind != JINJA_UNDEFINED) {
        jinja_fail(run, "a value of the type %s has no items", jinja_kind_name(v));
    }
    return items;
}

/* ---- comparing ---- */

/* Looks no further than the first byte that differs. */
static bool equal_strings(struct jinja_run *run, struct jinja_string a, struct jinja_string b)
{
    if (!a.marks && !b.marks) {
        jinja_work(run, a.len == b.len ? a.len / 64 : 0);
        return jinja_same(a, b);
    }
    size_t same = 0, least = a.len < b.len ? a.len : b.len;
    while (same < least && a.s[same] == b.s[same])
        same++;
    jinja_look(run, a, same < least ? same + 1 : a.len);
    jinja_look(run, b, same < least ? same + 1 : b.len);
    return same == least && a.len == b.len;
}

static bool is_number(struct jinja_value v)
{
    return v.kind == JINJA_BOOL || v.kind == JINJA_INT || v.kind == JINJA_FLOAT;
}

static double as_real(struct jinja_value v)
{
    return v.kind == JINJA_FLOAT ? v.real
           : v.kind == JINJA_INT ? (double)v.integer
                                 : (double)v.truth;
}

static int64_t as_integer(struct jinja_value v)
{
    return v.kind == JINJA_INT ? v.integer : v.truth;
}

static int order_numbers(struct jinja_value a, struct jinja_value b)
{
    if (a.kind == JINJA_FLOAT || b.kind == JINJA_FLOAT) {
        double x = as_real(a), y = as_real(b);
        return (x > y) - (x < y);
    }
    int64_t x = as_integer(a), y = as_integer(b);
    return (x > y) - (x < y);
}

static bool equal_lists(struct jinja_run *run, const struct jinja_list *a,
                        const struct jinja_list *b)
{
    bool equal = a->count == b->count;
    jinja_deeper(run);
    for (size_t i = 0; equal && i < a->count; i++)
        equal = jinja_equal(run, a->items[i], b->items[i]);
    run->depth--;
    return equal;
}

static bool equal_dicts(struct jinja_run *run, const struct jinja_dict *a,
                        const struct jinja_dict *b)
{
    bool equal = a->count == b->count;
    jinja_deeper(run);
    for (size_t i = 0; equal && i < a->count; i++) {
        const struct jinja_value *other = jinja_dict_get(run, b, a->pairs[i].key);
        equal = other && jinja_equal(run, a->pairs[i].value, *other);
    }
    run->depth--;
    return equal;
}

bool jinja_equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    if (is_number(a) && is_number(b))
        return order_numbers(a, b) == 0 && as_real(a) == as_real(b);
    if (a.kind != b.kind)
        return false;
    switch (a.kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return true;
    case JINJA_STRING:
        return equal_strings(run, a.string, b.string);
    case JINJA_LIST:
    case JINJA_TUPLE:
        return equal_lists(run, a.list, b.list);
    case JINJA_DICT:
        return equal_dicts(run, a.dict, b.dict);
    default:
        return a.dict == b.dict; /* the same thing */
    }
}

int jinja_order(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    if (is_number(a) && is_number(b))
        return order_numbers(a, b);
    if (a.kind == JINJA_STRING && b.kind == JINJA_STRING) {
        struct jinja_string x = jinja_read(run, a, ""), y = jinja_read(run, b, "");
        size_t least = x.len < y.len ? x.len : y.len;
        int order = least ? memcmp(x.s, y.s, least) : 0;
        return order ? order : (x.len > y.len) - (x.len < y.len);
    }
    if (a.kind == b.kind && (a.kind == JINJA_LIST || a.kind == JINJA_TUPLE)) {
        size_t i = 0, n = a.list->count, m = b.list->count;
        jinja_deeper(run);
        while (i < n && i < m && jinja_equal(run, a.list->items[i], b.list->items[i]))
            i++;
        int order = i < n && i < m ? jinja_order(run, a.list->items[i], b.list->items[i])
                                   : (n > m) - (n < m);
        run->depth--;
        return order;
    }
    jinja_fail(run, "values of the types %s and %s have no order", jinja_kind_name(a),
               jinja_kind_name(b));
}
