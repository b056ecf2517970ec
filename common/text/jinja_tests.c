/* What may stand behind "is". */
#include "common/text/jinja_call.h"
#include "common/text/jinja_lexer.h"

#define TEST(name)                                                                                 \
    static struct jinja_value name(struct jinja_run *run, struct jinja_value self,                 \
                                   const struct jinja_call *call)

/* A test that asks for a value's kind alone. */
#define KIND_TEST(name, condition)                                                                 \
    TEST(name)                                                                                     \
    {                                                                                              \
        (void)run;                                                                                 \
        (void)call;                                                                                \
        return jinja_bool(condition);                                                              \
    }

KIND_TEST(is_defined, self.kind != JINJA_UNDEFINED)
KIND_TEST(is_undefined, self.kind == JINJA_UNDEFINED)
KIND_TEST(is_none, self.kind == JINJA_NONE)
KIND_TEST(is_boolean, self.kind == JINJA_BOOL)
KIND_TEST(is_true, self.kind == JINJA_BOOL && self.truth)
KIND_TEST(is_false, self.kind == JINJA_BOOL && !self.truth)
KIND_TEST(is_integer, self.kind == JINJA_INT)
KIND_TEST(is_float, self.kind == JINJA_FLOAT)
KIND_TEST(is_number, self.kind == JINJA_INT || self.kind == JINJA_FLOAT || self.kind == JINJA_BOOL)
KIND_TEST(is_string, self.kind == JINJA_STRING)
KIND_TEST(is_mapping, self.kind == JINJA_DICT)
KIND_TEST(is_sequence, self.kind == JINJA_STRING || self.kind == JINJA_LIST ||
                           self.kind == JINJA_TUPLE || self.kind == JINJA_DICT ||
                           self.kind == JINJA_UNDEFINED)
KIND_TEST(is_iterable, self.kind == JINJA_STRING || self.kind == JINJA_LIST ||
                           self.kind == JINJA_TUPLE || self.kind == JINJA_DICT ||
                           self.kind == JINJA_UNDEFINED || self.kind == JINJA_LOOP)
KIND_TEST(is_callable,
          self.kind == JINJA_FUNCTION || self.kind == JINJA_MACRO || self.kind == JINJA_METHOD)

/* A test that is an operator. */
#define OPERATOR_TEST(name, op)                                                                    \
    TEST(name)                                                                                     \
    {                                                                                              \
        return jinja_bool(jinja_compare(run, op, self, call->values[0]));                          \
    }

OPERATOR_TEST(is_equal, JINJA_EQ)
OPERATOR_TEST(is_not_equal, JINJA_NE)
OPERATOR_TEST(is_less, '<')
OPERATOR_TEST(is_at_most, JINJA_LE)
OPERATOR_TEST(is_greater, '>')
OPERATOR_TEST(is_at_least, JINJA_GE)
OPERATOR_TEST(is_in, JINJA_IN)

static struct jinja_value remainder_is(struct jinja_run *run, struct jinja_value self,
                                       struct jinja_value divisor, int64_t rest)
{
    return jinja_bool(jinja_equal(run, jinja_binary(run, '%', self, divisor), jinja_int(rest)));
}

TEST(is_odd)
{
    (void)call;
    return remainder_is(run, self, jinja_int(2), 1);
}

TEST(is_even)
{
    (void)call;
    return remainder_is(run, self, jinja_int(2), 0);
}

TEST(is_divisible)
{
    return remainder_is(run, self, call->values[0], 0);
}

const struct jinja_callable jinja_tests[] = {
    {"defined", is_defined, {0}, 0, false},
    {"undefined", is_undefined, {0}, 0, false},
    {"none", is_none, {0}, 0, false},
    {"boolean", is_boolean, {0}, 0, false},
    {"true", is_true, {0}, 0, false},
    {"false", is_false, {0}, 0, false},
    {"integer", is_integer, {0}, 0, false},
    {"float", is_float, {0}, 0, false},
    {"number", is_number, {0}, 0, false},
    {"string", is_string, {0}, 0, false},
    {"mapping", is_mapping, {0}, 0, false},
    {"sequence", is_sequence, {0}, 0, false},
    {"iterable", is_iterable, {0}, 0, false},
    {"callable", is_callable, {0}, 0, false},
    {"eq", is_equal, {"other"}, 1, false},
    {"equalto", is_equal, {"other"}, 1, false},
    {"==", is_equal, {"other"}, 1, false},
    {"ne", is_not_equal, {"other"}, 1, false},
    {"!=", is_not_equal, {"other"}, 1, false},
    {"lt", is_less, {"other"}, 1, false},
    {"lessthan", is_less, {"other"}, 1, false},
    {"<", is_less, {"other"}, 1, false},
    {"le", is_at_most, {"other"}, 1, false},
    {"<=", is_at_most, {"other"}, 1, false},
    {"gt", is_greater, {"other"}, 1, false},
    {"greaterthan", is_greater, {"other"}, 1, false},
    {">", is_greater, {"other"}, 1, false},
    {"ge", is_at_least, {"other"}, 1, false},
    {">=", is_at_least, {"other"}, 1, false},
    {"in", is_in, {"seq"}, 1, false},
    {"odd", is_odd, {0}, 0, false},
    {"even", is_even, {0}, 0, false},
    {"divisibleby", is_divisible, {"num"}, 1, false},
    {0},
};
