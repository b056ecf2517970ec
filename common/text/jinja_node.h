/* A template as a tree. */
#ifndef DUQ_TEXT_JINJA_NODE_H
#define DUQ_TEXT_JINJA_NODE_H

#include "common/text/arena.h"
#include "common/text/jinja_value.h"
#include "common/text/string_table.h"

#include <stddef.h>
#include <stdint.h>

enum jinja_node_kind {
    /* expressions */
    NODE_CONSTANT,  /* value */
    NODE_NAME,      /* name, text */
    NODE_LIST,      /* list */
    NODE_TUPLE,     /* list */
    NODE_DICT,      /* list: key, value, key, value ... */
    NODE_ATTRIBUTE, /* a.text; as a target: of the namespace `name` */
    NODE_ITEM,      /* a[b] */
    NODE_SLICE,     /* a[list[0]:list[1]:list[2]], NULL where nothing stands */
    NODE_CALL,      /* a(list, keywords) */
    NODE_FILTER,    /* a | text(list, keywords); a is NULL for what a block holds */
    NODE_TEST,      /* a is text(list, keywords) */
    NODE_KEYWORD,   /* text=a */
    NODE_NOT,       /* a */
    NODE_NEGATIVE,  /* a */
    NODE_POSITIVE,  /* a */
    NODE_BINARY,    /* a op b */
    NODE_AND,       /* a, b */
    NODE_OR,        /* a, b */
    NODE_CONCAT,    /* list */
    NODE_COMPARE,   /* a, and list: NODE_OPERAND (op, a) */
    NODE_OPERAND,
    NODE_CONDITION, /* a if b else c; c may be NULL */
    /* statements */
    NODE_DATA,         /* text */
    NODE_OUTPUT,       /* a */
    NODE_SET,          /* target a, b */
    NODE_SET_BLOCK,    /* target a, filter b or NULL, body */
    NODE_IF,           /* list: tests, NULL the last for else; keywords: NODE_BODY for each */
    NODE_BODY,         /* body */
    NODE_FOR,          /* target a in b if c (or NULL), body, list: else */
    NODE_MACRO,        /* name, list: parameters NODE_KEYWORD (name, a default or NULL), body */
    NODE_FILTER_BLOCK, /* filter b, body */
    NODE_WITH,         /* list: targets, keywords: values, body; `generation` has none */
    NODE_BREAK,
    NODE_CONTINUE,
};

struct jinja_nodes {
    struct jinja_node **items;
    size_t count, capacity;
};

struct jinja_node {
    enum jinja_node_kind kind;
    int line, op;
    int32_t name; /* number of a variable's name */
    struct jinja_string text;
    struct jinja_value value;
    struct jinja_node *a, *b, *c;
    struct jinja_nodes list, keywords, body;
};

struct jinja_template {
    char *source;
    struct arena arena; /* the nodes */
    struct string_table *names;
    struct jinja_nodes body;
};

#endif
