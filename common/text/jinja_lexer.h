/* A template's source as tokens: text between tags, and what stands in tags. */
#ifndef DUQ_TEXT_JINJA_LEXER_H
#define DUQ_TEXT_JINJA_LEXER_H

#include "common/text/arena.h"
#include "common/text/jinja_value.h"

enum jinja_token_kind {
    JINJA_DATA, /* text between tags */
    JINJA_VARIABLE_BEGIN,
    JINJA_VARIABLE_END,
    JINJA_BLOCK_BEGIN,
    JINJA_BLOCK_END,
    JINJA_NAME,
    JINJA_LITERAL,
    JINJA_OPERATOR,
    JINJA_END, /* of the template */
};

enum jinja_operator {
    JINJA_POWER = 256, /* ** */
    JINJA_FLOORDIV,    /* // */
    JINJA_EQ,
    JINJA_NE,
    JINJA_LE,
    JINJA_GE,
    JINJA_IN, /* these two are names in the source */
    JINJA_NOT_IN,
}; /* the others are their characters */

struct jinja_token {
    enum jinja_token_kind kind;
    int line, op;
    struct jinja_string text; /* data, names */
    struct jinja_value value; /* literals */
};

struct jinja_tokens {
    struct jinja_token *data;
    size_t count, capacity;
    char *error; /* "line N: ...", and the tokens are then not to be used; the caller's to free */
};

/* The source is UTF-8 with newlines alone at line ends; tokens point into it, strings with escapes
 * into the arena. */
struct jinja_tokens jinja_tokens(const char *source, size_t len, struct arena *arena);

#endif
