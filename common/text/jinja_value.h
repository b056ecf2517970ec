/* The values that templates compute with: Python's, as far as chat templates use them. They belong
 * to a rendering (struct jinja_run) and live until it is reset. */
#ifndef DUQ_TEXT_JINJA_VALUE_H
#define DUQ_TEXT_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jinja_run;

enum jinja_kind {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_MACRO,
    JINJA_FUNCTION,
    JINJA_METHOD,
    JINJA_LOOP,
};

/* UTF-8, not NUL-terminated. */
struct jinja_string {
    const char *s;
    const unsigned char *marks; /* [len]; NULL: all 0 */
    size_t len;
};

struct jinja_value {
    enum jinja_kind kind;
    union {
        bool truth;
        int64_t integer;
        double real;
        struct jinja_string string;
        const char *what; /* undefined: which name, for messages */
        struct jinja_list *list;
        struct jinja_dict *dict; /* namespaces, too */
        const struct jinja_macro *macro;
        const struct jinja_callable *function;
        const struct jinja_method *method;
        const struct jinja_loop *loop;
    };
};

struct jinja_list {
    struct jinja_value *items;
    size_t count, capacity;
};

struct jinja_pair {
    struct jinja_value key, value;
};

/* In the order of insertion. */
struct jinja_dict {
    struct jinja_pair *pairs;
    size_t count, capacity;
};

static const struct jinja_value jinja_none = {.kind = JINJA_NONE};

static inline struct jinja_value jinja_bool(bool truth)
{
    return (struct jinja_value){.kind = JINJA_BOOL, .truth = truth};
}

static inline struct jinja_value jinja_int(int64_t integer)
{
    return (struct jinja_value){.kind = JINJA_INT, .integer = integer};
}

static inline struct jinja_value jinja_float(double real)
{
    return (struct jinja_value){.kind = JINJA_FLOAT, .real = real};
}

static inline struct jinja_value jinja_str(struct jinja_string string)
{
    return (struct jinja_value){.kind = JINJA_STRING, .string = string};
}

static inline struct jinja_value jinja_undefined(const char *what)
{
    return (struct jinja_value){.kind = JINJA_UNDEFINED, .what = what};
}

/* An unmarked string of bytes that stay where they are. */
struct jinja_string jinja_text(const char *s);
/* From byte start to end. */
struct jinja_string jinja_part(struct jinja_string s, size_t start, size_t end);
bool jinja_same(struct jinja_string a, struct jinja_string b);

/* Empty ones. */
struct jinja_value jinja_list_new(struct jinja_run *run, enum jinja_kind list_or_tuple);
struct jinja_value jinja_dict_new(struct jinja_run *run);
void jinja_list_add(struct jinja_run *run, struct jinja_list *list, struct jinja_value item);
/* Replaces what the key had. Keys are strings or numbers. */
void jinja_dict_set(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value key,
                    struct jinja_value value);
/* NULL when there is none. */
const struct jinja_value *jinja_dict_get(struct jinja_run *run, const struct jinja_dict *dict,
                                         struct jinja_value key);

/* A string that is put together. Start from {run}. */
struct jinja_builder {
    struct jinja_run *run;
    char *s;
    unsigned char *marks; /* NULL: all 0 so far */
    size_t len, capacity;
};

void jinja_add(struct jinja_builder *b, struct jinja_string s);
/* All bytes get one mark. */
void jinja_add_bytes(struct jinja_builder *b, const char *s, size_t len, unsigned char mark);
struct jinja_string jinja_built(const struct jinja_builder *b);

#endif
