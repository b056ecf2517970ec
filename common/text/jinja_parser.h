/* What the parsers of expressions and of statements share. */
#ifndef DUQ_TEXT_JINJA_PARSER_H
#define DUQ_TEXT_JINJA_PARSER_H

#include "common/text/jinja_lexer.h"
#include "common/text/jinja_node.h"

#include <setjmp.h>

struct jinja_parser {
    struct jinja_template *template;
    const struct jinja_token *token; /* the current one */
    int depth;
    size_t loops; /* open ones */
    jmp_buf failed;
    char *error;
};

/* Ends parsing; line 0 is the current token's. */
_Noreturn void jinja_parse_fail(struct jinja_parser *p, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Fails with what was expected and what stands there. */
_Noreturn void jinja_expected(struct jinja_parser *p, const char *what);

/* One bracket, block or sign deeper; p->depth-- goes back. */
void jinja_parse_deeper(struct jinja_parser *p);

struct jinja_node *jinja_node(struct jinja_parser *p, enum jinja_node_kind kind, int line);
void jinja_node_add(struct jinja_parser *p, struct jinja_nodes *nodes, struct jinja_node *node);
/* The number of a variable's name. */
int32_t jinja_name(struct jinja_parser *p, struct jinja_string name);

bool jinja_at_name(const struct jinja_parser *p, const char *name);
bool jinja_at_operator(const struct jinja_parser *p, int op);
/* These go past the token where it is there. */
bool jinja_skip_name(struct jinja_parser *p, const char *name);
bool jinja_skip_operator(struct jinja_parser *p, int op);
void jinja_expect_operator(struct jinja_parser *p, int op);
struct jinja_string jinja_expect_name(struct jinja_parser *p);

/* ---- expressions; jinja_parse_expression.c ---- */

struct jinja_node *jinja_parse_expression(struct jinja_parser *p);
/* Several with commas between are a tuple. conditions: "a if b" may stand here. Ends at tag ends,
 * at
 * ")" and at a name `end` (or NULL). */
struct jinja_node *jinja_parse_tuple(struct jinja_parser *p, bool conditions, const char *end);
/* One filter and those behind it; the first without its "|" when `inside` a tag's name. */
struct jinja_node *jinja_parse_filters(struct jinja_parser *p, struct jinja_node *of, bool inside);
/* What is assigned to: names, in tuples; a namespace's attribute where `attribute`. */
struct jinja_node *jinja_parse_target(struct jinja_parser *p, bool attribute);

#endif
