/* Expressions, from the loosest binding to the tightest, as jinja2/parser.py has them. */
#include "common/text/jinja_parser.h"

#include <string.h>

static struct jinja_node *parse_or(struct jinja_parser *p);
static struct jinja_node *parse_unary(struct jinja_parser *p, bool filters);

static struct jinja_node *pair(struct jinja_parser *p, enum jinja_node_kind kind, int line,
                               struct jinja_node *a, struct jinja_node *b)
{
    struct jinja_node *node = jinja_node(p, kind, line);
    node->a = a;
    node->b = b;
    return node;
}

/* ---- calls, filters, tests ---- */

static void parse_arguments(struct jinja_parser *p, struct jinja_node *node)
{
    jinja_expect_operator(p, '(');
    while (!jinja_at_operator(p, ')')) {
        if ((node->list.count || node->keywords.count)) {
            jinja_expect_operator(p, ',');
            if (jinja_at_operator(p, ')'))
                break;
        }
        if (jinja_at_operator(p, '*') || jinja_at_operator(p, JINJA_POWER))
            jinja_parse_fail(p, 0, "arguments with * or ** are not known here");
        if (p->token->kind == JINJA_NAME && p->token[1].kind == JINJA_OPERATOR &&
            p->token[1].op == '=') {
            struct jinja_node *keyword = jinja_node(p, NODE_KEYWORD, p->token->line);
            keyword->text = p->token->text;
            p->token += 2;
            keyword->a = jinja_parse_expression(p);
            jinja_node_add(p, &node->keywords, keyword);
        } else if (node->keywords.count) {
            jinja_parse_fail(p, 0, "an argument without a name stands behind one with a name");
        } else {
            jinja_node_add(p, &node->list, jinja_parse_expression(p));
        }
    }
    jinja_expect_operator(p, ')');
}

static struct jinja_node *parse_call(struct jinja_parser *p, struct jinja_node *of)
{
    struct jinja_node *node = jinja_node(p, NODE_CALL, p->token->line);
    node->a = of;
    parse_arguments(p, node);
    return node;
}

struct jinja_node *jinja_parse_filters(struct jinja_parser *p, struct jinja_node *of, bool inside)
{
    while (inside || jinja_skip_operator(p, '|')) {
        struct jinja_node *node = jinja_node(p, NODE_FILTER, p->token->line);
        node->a = of;
        node->text = jinja_expect_name(p);
        if (jinja_at_operator(p, '('))
            parse_arguments(p, node);
        of = node;
        inside = false;
    }
    return of;
}

static struct jinja_node *parse_postfix(struct jinja_parser *p, struct jinja_node *node);
static struct jinja_node *parse_primary(struct jinja_parser *p);

static bool begins_argument(const struct jinja_parser *p)
{
    if (p->token->kind == JINJA_NAME)
        return !jinja_at_name(p, "else") && !jinja_at_name(p, "or") && !jinja_at_name(p, "and");
    return p->token->kind == JINJA_LITERAL || jinja_at_operator(p, '[') ||
           jinja_at_operator(p, '{');
}

static struct jinja_node *parse_test(struct jinja_parser *p, struct jinja_node *of)
{
    int line = p->token->line;
    bool negative = jinja_skip_name(p, "not");
    struct jinja_node *node = jinja_node(p, NODE_TEST, line);
    node->a = of;
    node->text = jinja_expect_name(p);
    if (jinja_at_operator(p, '(')) {
        parse_arguments(p, node);
    } else if (begins_argument(p)) {
        if (jinja_at_name(p, "is"))
            jinja_parse_fail(p, 0, "two tests with 'is' behind one another");
        jinja_node_add(p, &node->list, parse_postfix(p, parse_primary(p)));
    }
    return negative ? pair(p, NODE_NOT, line, node, NULL) : node;
}

static struct jinja_node *parse_filters_and_tests(struct jinja_parser *p, struct jinja_node *node)
{
    for (;;) {
        if (jinja_at_operator(p, '|'))
            node = jinja_parse_filters(p, node, false);
        else if (jinja_skip_name(p, "is"))
            node = parse_test(p, node);
        else if (jinja_at_operator(p, '('))
            node = parse_call(p, node);
        else
            return node;
    }
}

/* ---- subscripts ---- */

/* What stands between "[" and "]". */
static struct jinja_node *parse_subscript(struct jinja_parser *p, struct jinja_node *of, int line)
{
    struct jinja_node *parts[3] = {0};
    size_t n = 0;
    bool slice = false;
    for (;;) {
        if (!jinja_at_operator(p, ':') && !jinja_at_operator(p, ']'))
            parts[n] = jinja_parse_expression(p);
        if (!jinja_skip_operator(p, ':') || ++n == 3)
            break;
        slice = true;
    }
    jinja_expect_operator(p, ']');
    if (!slice && !parts[0])
        jinja_parse_fail(p, line, "nothing stands between '[' and ']'");
    struct jinja_node *node = pair(p, slice ? NODE_SLICE : NODE_ITEM, line, of, parts[0]);
    for (size_t i = 0; slice && i < 3; i++)
        jinja_node_add(p, &node->list, parts[i]);
    return node;
}

static struct jinja_node *parse_postfix(struct jinja_parser *p, struct jinja_node *node)
{
    for (;;) {
        int line = p->token->line;
        if (jinja_skip_operator(p, '.')) {
            if (p->token->kind == JINJA_LITERAL && p->token->value.kind == JINJA_INT) {
                struct jinja_node *index = jinja_node(p, NODE_CONSTANT, line);
                index->value = (p->token++)->value;
                node = pair(p, NODE_ITEM, line, node, index);
            } else {
                node = pair(p, NODE_ATTRIBUTE, line, node, NULL);
                node->text = jinja_expect_name(p);
            }
        } else if (jinja_skip_operator(p, '[')) {
            node = parse_subscript(p, node, line);
        } else if (jinja_at_operator(p, '(')) {
            node = parse_call(p, node);
        } else {
            return node;
        }
    }
}

/* ---- names and literals ---- */

static bool constant_of(struct jinja_string name, struct jinja_value *value)
{
    static const char *const names[] = {"true", "True", "false", "False", "none", "None"};
    size_t i = 0;
    while (i < 6 && !jinja_same(name, jinja_text(names[i])))
        i++;
    *value = i < 4 ? jinja_bool(i < 2) : jinja_none;
    return i < 6;
}

static struct jinja_node *parse_name(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, NODE_NAME, p->token->line);
    node->text = jinja_expect_name(p);
    if (constant_of(node->text, &node->value))
        node->kind = NODE_CONSTANT;
    else
        node->name = jinja_name(p, node->text);
    return node;
}

/* Strings that stand side by side are one. */
static struct jinja_node *parse_literal(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, NODE_CONSTANT, p->token->line);
    node->value = (p->token++)->value;
    while (node->value.kind == JINJA_STRING && p->token->kind == JINJA_LITERAL &&
           p->token->value.kind == JINJA_STRING) {
        struct jinja_string left = node->value.string, right = (p->token++)->value.string;
        char *both = arena_take(&p->template->arena, left.len + right.len + 1);
        memcpy(both, left.s, left.len);
        memcpy(both + left.len, right.s, right.len);
        node->value.string = (struct jinja_string){both, NULL, left.len + right.len};
    }
    return node;
}

static struct jinja_node *parse_list(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, NODE_LIST, p->token->line);
    jinja_expect_operator(p, '[');
    while (!jinja_at_operator(p, ']')) {
        jinja_node_add(p, &node->list, jinja_parse_expression(p));
        if (!jinja_at_operator(p, ']'))
            jinja_expect_operator(p, ',');
    }
    jinja_expect_operator(p, ']');
    return node;
}

static struct jinja_node *parse_dict(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, NODE_DICT, p->token->line);
    jinja_expect_operator(p, '{');
    while (!jinja_at_operator(p, '}')) {
        jinja_node_add(p, &node->list, jinja_parse_expression(p));
        jinja_expect_operator(p, ':');
        jinja_node_add(p, &node->list, jinja_parse_expression(p));
        if (!jinja_at_operator(p, '}'))
            jinja_expect_operator(p, ',');
    }
    jinja_expect_operator(p, '}');
    return node;
}

static struct jinja_node *parse_primary(struct jinja_parser *p)
{
    struct jinja_node *node;
    jinja_parse_deeper(p);
    if (p->token->kind == JINJA_NAME) {
        node = parse_name(p);
    } else if (p->token->kind == JINJA_LITERAL) {
        node = parse_literal(p);
    } else if (jinja_at_operator(p, '[')) {
        node = parse_list(p);
    } else if (jinja_at_operator(p, '{')) {
        node = parse_dict(p);
    } else if (jinja_skip_operator(p, '(')) {
        if (jinja_at_operator(p, ')'))
            node = jinja_node(p, NODE_TUPLE, p->token->line);
        else
            node = jinja_parse_tuple(p, true, NULL);
        jinja_expect_operator(p, ')');
    } else {
        jinja_expected(p, "an expression");
    }
    p->depth--;
    return node;
}

/* ---- operators ---- */

static struct jinja_node *parse_unary(struct jinja_parser *p, bool filters)
{
    struct jinja_node *node;
    int line = p->token->line;
    jinja_parse_deeper(p);
    if (jinja_skip_operator(p, '-'))
        node = pair(p, NODE_NEGATIVE, line, parse_unary(p, false), NULL);
    else if (jinja_skip_operator(p, '+'))
        node = pair(p, NODE_POSITIVE, line, parse_unary(p, false), NULL);
    else
        node = parse_primary(p);
    node = parse_postfix(p, node);
    if (filters)
        node = parse_filters_and_tests(p, node);
    p->depth--;
    return node;
}

/* Operands of one kind and the operators between them, from the left. */
static struct jinja_node *parse_chain(struct jinja_parser *p, const int *operators, size_t n,
                                      struct jinja_node *(*operand)(struct jinja_parser *))
{
    struct jinja_node *left = operand(p);
    for (size_t i = 0; i < n; i++) {
        if (!jinja_at_operator(p, operators[i]))
            continue;
        int line = (p->token++)->line;
        left = pair(p, NODE_BINARY, line, left, operand(p));
        left->op = operators[i];
        i = (size_t)-1; /* look for all of them again */
    }
    return left;
}

static struct jinja_node *parse_filtered(struct jinja_parser *p)
{
    return parse_unary(p, true);
}

static struct jinja_node *parse_power(struct jinja_parser *p)
{
    return parse_chain(p, (const int[]){JINJA_POWER}, 1, parse_filtered);
}

static struct jinja_node *parse_product(struct jinja_parser *p)
{
    return parse_chain(p, (const int[]){'*', '/', JINJA_FLOORDIV, '%'}, 4, parse_power);
}

static struct jinja_node *parse_concat(struct jinja_parser *p)
{
    struct jinja_node *first = parse_product(p);
    if (!jinja_at_operator(p, '~'))
        return first;
    struct jinja_node *node = jinja_node(p, NODE_CONCAT, p->token->line);
    jinja_node_add(p, &node->list, first);
    while (jinja_skip_operator(p, '~'))
        jinja_node_add(p, &node->list, parse_product(p));
    return node;
}

static struct jinja_node *parse_sum(struct jinja_parser *p)
{
    return parse_chain(p, (const int[]){'+', '-'}, 2, parse_concat);
}

/* The comparison that stands here, 0 for none; goes past it. */
static int comparison(struct jinja_parser *p)
{
    static const int operators[] = {JINJA_EQ, JINJA_NE, JINJA_LE, JINJA_GE, '<', '>'};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (jinja_skip_operator(p, operators[i]))
            return operators[i];
    if (jinja_skip_name(p, "in"))
        return JINJA_IN;
    const struct jinja_token *next = p->token + 1;
    if (jinja_at_name(p, "not") && next->kind == JINJA_NAME &&
        jinja_same(next->text, jinja_text("in"))) {
        p->token += 2;
        return JINJA_NOT_IN;
    }
    return 0;
}

static struct jinja_node *parse_compare(struct jinja_parser *p)
{
    struct jinja_node *first = parse_sum(p), *node = NULL;
    int line = p->token->line;
    for (int op; (op = comparison(p));) {
        if (!node)
            node = pair(p, NODE_COMPARE, line, first, NULL);
        struct jinja_node *operand = jinja_node(p, NODE_OPERAND, line);
        operand->op = op;
        operand->a = parse_sum(p);
        jinja_node_add(p, &node->list, operand);
    }
    return node ? node : first;
}

static struct jinja_node *parse_not(struct jinja_parser *p)
{
    int line = p->token->line;
    if (!jinja_skip_name(p, "not"))
        return parse_compare(p);
    jinja_parse_deeper(p);
    struct jinja_node *node = pair(p, NODE_NOT, line, parse_not(p), NULL);
    p->depth--;
    return node;
}

static struct jinja_node *parse_and(struct jinja_parser *p)
{
    struct jinja_node *left = parse_not(p);
    for (int line = p->token->line; jinja_skip_name(p, "and"); line = p->token->line)
        left = pair(p, NODE_AND, line, left, parse_not(p));
    return left;
}

static struct jinja_node *parse_or(struct jinja_parser *p)
{
    struct jinja_node *left = parse_and(p);
    for (int line = p->token->line; jinja_skip_name(p, "or"); line = p->token->line)
        left = pair(p, NODE_OR, line, left, parse_and(p));
    return left;
}

struct jinja_node *jinja_parse_expression(struct jinja_parser *p)
{
    jinja_parse_deeper(p);
    struct jinja_node *node = parse_or(p);
    for (int line = p->token->line; jinja_skip_name(p, "if"); line = p->token->line) {
        node = pair(p, NODE_CONDITION, line, node, parse_or(p));
        if (jinja_skip_name(p, "else"))
            node->c = jinja_parse_expression(p);
    }
    p->depth--;
    return node;
}

/* ---- tuples and targets ---- */

static bool at_tuple_end(const struct jinja_parser *p, const char *end)
{
    return p->token->kind == JINJA_VARIABLE_END || p->token->kind == JINJA_BLOCK_END ||
           jinja_at_operator(p, ')') || (end && jinja_at_name(p, end));
}

struct jinja_node *jinja_parse_tuple(struct jinja_parser *p, bool conditions, const char *end)
{
    struct jinja_node *tuple = jinja_node(p, NODE_TUPLE, p->token->line);
    bool commas = false;
    while (!at_tuple_end(p, end)) {
        jinja_node_add(p, &tuple->list, conditions ? jinja_parse_expression(p) : parse_or(p));
        if (!jinja_skip_operator(p, ','))
            break;
        commas = true;
    }
    if (!tuple->list.count)
        jinja_expected(p, "an expression");
    return commas ? tuple : tuple->list.items[0];
}

static struct jinja_node *parse_target_name(struct jinja_parser *p)
{
    struct jinja_node *node = parse_name(p);
    if (node->kind == NODE_CONSTANT)
        jinja_parse_fail(p, node->line, "'%.*s' cannot be assigned to", (int)node->text.len,
                         node->text.s);
    return node;
}

struct jinja_node *jinja_parse_target(struct jinja_parser *p, bool attribute)
{
    bool bracket = jinja_skip_operator(p, '(');
    struct jinja_node *tuple = jinja_node(p, NODE_TUPLE, p->token->line);
    bool commas = bracket;
    do {
        if (tuple->list.count && (jinja_at_name(p, "in") || jinja_at_operator(p, '=')))
            break;
        struct jinja_node *name = parse_target_name(p);
        if (attribute && jinja_skip_operator(p, '.')) {
            name->kind = NODE_ATTRIBUTE;
            name->text = jinja_expect_name(p);
        }
        jinja_node_add(p, &tuple->list, name);
        commas |= jinja_at_operator(p, ',');
    } while (jinja_skip_operator(p, ','));
    if (bracket)
        jinja_expect_operator(p, ')');
    return commas ? tuple : tuple->list.items[0];
}
