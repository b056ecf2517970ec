/* What operators, subscripts and slices do. */
#include "common/text/jinja_call.h"
#include "common/text/jinja_lexer.h"
#include "common/text/unicode.h"

#include <math.h>
#include <string.h>

/* ---- arithmetic ---- */

static bool is_whole(struct jinja_value v)
{
    return v.kind == JINJA_INT || v.kind == JINJA_BOOL;
}

static bool is_number(struct jinja_value v)
{
    return is_whole(v) || v.kind == JINJA_FLOAT;
}

static int64_t whole(struct jinja_value v)
{
    return v.kind == JINJA_INT ? v.integer : v.truth;
}

static double real(struct jinja_value v)
{
    return v.kind == JINJA_FLOAT ? v.real : (double)whole(v);
}

static const char *operator_name(int op)
{
    static const char *const names[] = {"+", "-", "*", "/", "%"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (op == names[i][0])
            return names[i];
    return op == JINJA_POWER ? "**" : "//";
}

/* Rounded down, as Python rounds. */
static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* b is 0 or more. False where the result is too large. */
static bool power(int64_t a, int64_t b, int64_t *result)
{
    if (a >= -1 && a <= 1 && b > 2)
        b = 2 - b % 2; /* the same for all odd ones, and for all even ones */
    *result = 1;
    for (int64_t i = 0; i < b; i++)
        if (__builtin_mul_overflow(*result, a, result))
            return false;
    return true;
}

static struct jinja_value whole_numbers(struct jinja_run *run, int op, int64_t a, int64_t b)
{
    int64_t result = 0;
    bool fits = true;
    if ((op == '/' || op == '%' || op == JINJA_FLOORDIV) && b == 0)
        jinja_fail(run, "division by zero");
    if (op == '/')
        return jinja_float((double)a / (double)b);
    if (op == JINJA_POWER && b < 0)
        return jinja_float(pow((double)a, (double)b));
    if (op == '+')
        fits = !__builtin_add_overflow(a, b, &result);
    else if (op == '-')
        fits = !__builtin_sub_overflow(a, b, &result);
    else if (op == '*')
        fits = !__builtin_mul_overflow(a, b, &result);
    else if (op == JINJA_POWER)
        fits = power(a, b, &result);
    else if (b == -1)
        fits = op == '%' || !__builtin_sub_overflow(0, a, &result);
    else
        result = op == '%' ? a - floor_divide(a, b) * b : floor_divide(a, b);
    if (!fits)
        jinja_fail(run, "a number is too large");
    return jinja_int(result);
}

/* a // b and a % b as Python has them: the remainder is exact and has the sign of b, and the
 * quotient is what goes with it. */
static double floor_divided(double a, double b, double *remainder)
{
    double r = fmod(a, b), quotient = (a - r) / b;
    if (r == 0) {
        r = copysign(0, b);
    } else if (signbit(r) != signbit(b)) {
        r += b;
        quotient--;
    }
    *remainder = r;
    return quotient == 0 ? copysign(0, a / b) : round(quotient);
}

static struct jinja_value real_power(struct jinja_run *run, double a, double b)
{
    double result = pow(a, b);
    if (isfinite(a) && isfinite(b) && !isfinite(result))
        jinja_fail(run, "%.17g ** %.17g is no number", a, b);
    return jinja_float(result);
}

static struct jinja_value real_numbers(struct jinja_run *run, int op, double a, double b)
{
    if ((op == '/' || op == '%' || op == JINJA_FLOORDIV) && b == 0)
        jinja_fail(run, "division by zero");
    double remainder;
    switch (op) {
    case '+':
        return jinja_float(a + b);
    case '-':
        return jinja_float(a - b);
    case '*':
        return jinja_float(a * b);
    case '/':
        return jinja_float(a / b);
    case '%':
        floor_divided(a, b, &remainder);
        return jinja_float(remainder);
    case JINJA_FLOORDIV:
        return jinja_float(floor_divided(a, b, &remainder));
    default:
        return real_power(run, a, b);
    }
}

static struct jinja_value repeat(struct jinja_run *run, struct jinja_value v, int64_t times)
{
    if (v.kind == JINJA_STRING) {
        struct jinja_builder b = {.run = run};
        for (int64_t i = 0; v.string.len && i < times; i++) {
            jinja_work(run, 1);
            jinja_add(&b, v.string);
        }
        return jinja_str(jinja_built(&b));
    }
    struct jinja_value result = jinja_list_new(run, v.kind);
    for (int64_t i = 0; v.list->count && i < times; i++)
        for (size_t k = 0; k < v.list->count; k++)
            jinja_list_add(run, result.list, v.list->items[k]);
    return result;
}

static struct jinja_value joined(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    if (a.kind == JINJA_STRING) {
        struct jinja_builder both = {.run = run};
        jinja_add(&both, a.string);
        jinja_add(&both, b.string);
        return jinja_str(jinja_built(&both));
    }
    struct jinja_value result = jinja_list_new(run, a.kind);
    for (size_t i = 0; i < a.list->count; i++)
        jinja_list_add(run, result.list, a.list->items[i]);
    for (size_t i = 0; i < b.list->count; i++)
        jinja_list_add(run, result.list, b.list->items[i]);
    return result;
}

static bool is_sequence(struct jinja_value v)
{
    return v.kind == JINJA_STRING || v.kind == JINJA_LIST || v.kind == JINJA_TUPLE;
}

struct jinja_value jinja_binary(struct jinja_run *run, int op, struct jinja_value a,
                                struct jinja_value b)
{
    if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED)
        jinja_fail(run, "'%s': '%s' is undefined", operator_name(op),
                   a.kind == JINJA_UNDEFINED ? a.what : b.what);
    if (is_whole(a) && is_whole(b))
        return whole_numbers(run, op, whole(a), whole(b));
    if (is_number(a) && is_number(b))
        return real_numbers(run, op, real(a), real(b));
    if (op == '+' && a.kind == b.kind && is_sequence(a))
        return joined(run, a, b);
    if (op == '*' && is_sequence(a) && is_whole(b))
        return repeat(run, a, whole(b));
    if (op == '*' && is_whole(a) && is_sequence(b))
        return repeat(run, b, whole(a));
    jinja_fail(run, "'%s' does not go with values of the types %s and %s here", operator_name(op),
               jinja_kind_name(a), jinja_kind_name(b));
}

/* ---- comparisons ---- */

static bool contains(struct jinja_run *run, struct jinja_value all, struct jinja_value one)
{
    if (all.kind == JINJA_STRING) {
        struct jinja_string wanted = jinja_read(run, one, "'in' a string");
        jinja_look(run, all.string, all.string.len);
        return jinja_find_string(all.string, wanted, 0) <= all.string.len;
    }
    if (all.kind == JINJA_DICT)
        return jinja_dict_get(run, all.dict, one) != NULL;
    struct jinja_list *items = jinja_items(run, all);
    for (size_t i = 0; i < items->count; i++) {
        jinja_work(run, 1);
        if (jinja_equal(run, items->items[i], one))
            return true;
    }
    return false;
}

bool jinja_compare(struct jinja_run *run, int op, struct jinja_value a, struct jinja_value b)
{
    switch (op) {
    case JINJA_EQ:
        return jinja_equal(run, a, b);
    case JINJA_NE:
        return !jinja_equal(run, a, b);
    case JINJA_IN:
        return contains(run, b, a);
    case JINJA_NOT_IN:
        return !contains(run, b, a);
    case '<':
        return jinja_order(run, a, b) < 0;
    case '>':
        return jinja_order(run, a, b) > 0;
    case JINJA_LE:
        return jinja_order(run, a, b) <= 0;
    default:
        return jinja_order(run, a, b) >= 0;
    }
}

/* ---- attributes and items ---- */

static struct jinja_value undefined(struct jinja_run *run, struct jinja_string name)
{
    char *copy = jinja_take(run, name.len + 1, 1);
    memcpy(copy, name.s, name.len);
    copy[name.len] = '\0';
    return jinja_undefined(copy);
}

static const struct jinja_callable *method_of(struct jinja_value v, struct jinja_string name)
{
    const struct jinja_callable *table = v.kind == JINJA_STRING ? jinja_string_methods
                                         : v.kind == JINJA_DICT ? jinja_dict_methods
                                         : v.kind == JINJA_LOOP ? jinja_loop_methods
                                                                : NULL;
    return table ? jinja_find(table, name) : NULL;
}

static struct jinja_value method_value(struct jinja_run *run, struct jinja_value self,
                                       const struct jinja_callable *callable)
{
    struct jinja_method *method = jinja_take(run, 1, sizeof *method);
    *method = (struct jinja_method){callable, self};
    return (struct jinja_value){.kind = JINJA_METHOD, .method = method};
}

/* A key's value, where v is a dict or namespace that has it. */
static const struct jinja_value *keyed(struct jinja_run *run, struct jinja_value v,
                                       struct jinja_value key)
{
    bool has_keys = v.kind == JINJA_DICT || v.kind == JINJA_NAMESPACE;
    return has_keys ? jinja_dict_get(run, v.dict, key) : NULL;
}

struct jinja_value jinja_attribute(struct jinja_run *run, struct jinja_value v,
                                   struct jinja_string name)
{
    if (v.kind == JINJA_UNDEFINED)
        jinja_fail(run, "'%s' is undefined", v.what);
    const struct jinja_callable *callable = method_of(v, name);
    if (callable)
        return method_value(run, v, callable);
    struct jinja_value of_loop;
    if (v.kind == JINJA_LOOP && jinja_loop_attribute(v.loop, name, &of_loop))
        return of_loop;
    const struct jinja_value *value = keyed(run, v, jinja_str(name));
    return value ? *value : undefined(run, name);
}

/* Where the character with this number begins; s.len for the one behind the last. */
static size_t character_at(struct jinja_string s, size_t number)
{
    size_t at = 0;
    while (number-- && at < s.len)
        at += utf8_len((unsigned char)s.s[at]);
    return at;
}

static struct jinja_value numbered(struct jinja_run *run, struct jinja_value v, int64_t index)
{
    int64_t n = (int64_t)jinja_length(run, v);
    if (index < 0)
        index += n;
    if (index < 0 || index >= n)
        return jinja_undefined("an item past the end");
    if (v.kind != JINJA_STRING)
        return v.list->items[index];
    size_t at = character_at(v.string, (size_t)index);
    return jinja_str(jinja_part(v.string, at, at + utf8_len((unsigned char)v.string.s[at])));
}

struct jinja_value jinja_item(struct jinja_run *run, struct jinja_value v, struct jinja_value key)
{
    if (v.kind == JINJA_UNDEFINED)
        jinja_fail(run, "'%s' is undefined", v.what);
    if (is_sequence(v) && is_whole(key))
        return numbered(run, v, whole(key));
    const struct jinja_value *value = keyed(run, v, key);
    if (value)
        return *value;
    if (key.kind == JINJA_STRING)
        return jinja_attribute(run, v, key.string);
    return jinja_undefined("an item that is not there");
}

/* ---- slices ---- */

/* Python's bounds of a slice of n items. */
static void slice_bounds(int64_t n, int64_t step, struct jinja_value low, struct jinja_value high,
                         int64_t *from, int64_t *to)
{
    int64_t least = step < 0 ? -1 : 0, most = step < 0 ? n - 1 : n;
    *from = step < 0 ? most : least;
    *to = step < 0 ? least : most;
    struct jinja_value given[2] = {low, high};
    int64_t *bounds[2] = {from, to};
    for (int i = 0; i < 2; i++) {
        if (given[i].kind == JINJA_NONE)
            continue;
        int64_t b = whole(given[i]);
        if (b < 0)
            b = b < -n ? least : b + n;
        *bounds[i] = b < least ? least : b > most ? most : b;
    }
}

static struct jinja_value slice_string(struct jinja_run *run, struct jinja_string s, int64_t from,
                                       int64_t to, int64_t step)
{
    if (step == 1) {
        size_t start = character_at(s, (size_t)from);
        size_t end = from < to ? character_at(s, (size_t)to) : start;
        return jinja_str(jinja_part(s, start, end));
    }
    struct jinja_list *characters = jinja_items(run, jinja_str(s));
    struct jinja_builder b = {.run = run};
    for (int64_t i = from; step > 0 ? i < to : i > to; i += step)
        jinja_add(&b, characters->items[i].string);
    return jinja_str(jinja_built(&b));
}

struct jinja_value jinja_slice(struct jinja_run *run, struct jinja_value v, struct jinja_value low,
                               struct jinja_value high, struct jinja_value step)
{
    enum { LONGEST_STEP = 1 << 30 };
    if (v.kind == JINJA_UNDEFINED)
        jinja_fail(run, "'%s' is undefined", v.what);
    if (!is_sequence(v))
        jinja_fail(run, "a value of the type %s has no slices", jinja_kind_name(v));
    struct jinja_value bounds[] = {low, high, step};
    for (int i = 0; i < 3; i++)
        if (bounds[i].kind != JINJA_NONE && !is_whole(bounds[i]))
            jinja_fail(run, "a slice's bound is a value of the type %s, no whole number",
                       jinja_kind_name(bounds[i]));
    int64_t by = step.kind == JINJA_NONE ? 1 : whole(step), from, to;
    if (by == 0 || by > LONGEST_STEP || by < -LONGEST_STEP)
        jinja_fail(run, "a slice's step is %s", by ? "too large" : "0");
    slice_bounds((int64_t)jinja_length(run, v), by, low, high, &from, &to);
    if (v.kind == JINJA_STRING)
        return slice_string(run, v.string, from, to, by);
    struct jinja_value result = jinja_list_new(run, v.kind);
    for (int64_t i = from; by > 0 ? i < to : i > to; i += by)
        jinja_list_add(run, result.list, v.list->items[i]);
    return result;
}
