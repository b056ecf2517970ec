/* What templates can call: functions, filters, tests and methods, rows of tables. */
#ifndef DUQ_TEXT_JINJA_CALL_H
#define DUQ_TEXT_JINJA_CALL_H

#include "common/text/jinja_run.h"

enum { JINJA_MOST_PARAMETERS = 4 };

/* The arguments of a call. */
struct jinja_call {
    struct jinja_value values[JINJA_MOST_PARAMETERS]; /* by parameter */
    bool given[JINJA_MOST_PARAMETERS];
    const struct jinja_list *list;     /* all as they were written: without a name */
    const struct jinja_dict *keywords; /* and with one */
};

/* self: what a filter, test or method is applied to. */
typedef struct jinja_value jinja_function(struct jinja_run *run, struct jinja_value self,
                                          const struct jinja_call *call);

/* A table of these ends with a row without a name. */
struct jinja_callable {
    const char *name;
    jinja_function *call;
    const char *parameters[JINJA_MOST_PARAMETERS];
    size_t required; /* parameters that must be given */
    bool any;        /* takes any arguments, as they were written */
};

struct jinja_method {
    const struct jinja_callable *callable;
    struct jinja_value self;
};

/* The variable `loop`. */
struct jinja_loop {
    const struct jinja_list *items;
    size_t index; /* from 0 */
};

extern const struct jinja_callable jinja_functions[];
extern const struct jinja_callable jinja_text_filters[];
extern const struct jinja_callable jinja_list_filters[];
extern const struct jinja_callable jinja_tests[];
extern const struct jinja_callable jinja_string_methods[];
extern const struct jinja_callable jinja_dict_methods[];
extern const struct jinja_callable jinja_loop_methods[];

/* NULL when the table has none of this name. */
const struct jinja_callable *jinja_find(const struct jinja_callable *table,
                                        struct jinja_string name);
const struct jinja_callable *jinja_find_filter(struct jinja_run *run, struct jinja_string name);
const struct jinja_callable *jinja_find_test(struct jinja_run *run, struct jinja_string name);

/* Gives each parameter its argument and calls. Fails at arguments that are missing or surplus. */
struct jinja_value jinja_apply(struct jinja_run *run, const struct jinja_callable *callable,
                               struct jinja_value self, const struct jinja_list *list,
                               const struct jinja_dict *keywords);

/* An argument's value, or what it is when it was not given. Fails at other kinds. */
int64_t jinja_int_argument(struct jinja_run *run, const struct jinja_call *call, size_t i,
                           int64_t otherwise);
bool jinja_bool_argument(struct jinja_run *run, const struct jinja_call *call, size_t i,
                         bool otherwise);
/* All of the string is looked at. */
struct jinja_string jinja_string_argument(struct jinja_run *run, const struct jinja_call *call,
                                          size_t i, const char *otherwise);

/* ---- strings; jinja_string.c ---- */

/* From byte start to end, without what Python's strip() takes at the ends that are asked for: white
 * space, or the characters of `strip` where there are some. */
struct jinja_string jinja_strip(struct jinja_run *run, struct jinja_string s, bool left, bool right,
                                const struct jinja_string *strip);
/* The first place of a string in another at or after `from`; s.len + 1 where there is none. */
size_t jinja_find_string(struct jinja_string s, struct jinja_string wanted, size_t from);
/* most < 0: all. */
struct jinja_string jinja_replace(struct jinja_run *run, struct jinja_string s,
                                  struct jinja_string old, struct jinja_string new, int64_t most);
enum jinja_case { JINJA_UPPER, JINJA_LOWER, JINJA_TITLE, JINJA_CAPITALIZED };
struct jinja_string jinja_in_case(struct jinja_run *run, struct jinja_string s, enum jinja_case c);

/* False where loops have no such attribute; jinja_methods.c. */
bool jinja_loop_attribute(const struct jinja_loop *loop, struct jinja_string name,
                          struct jinja_value *value);

/* ---- what operators do; jinja_operators.c ---- */

struct jinja_value jinja_attribute(struct jinja_run *run, struct jinja_value v,
                                   struct jinja_string name);
struct jinja_value jinja_item(struct jinja_run *run, struct jinja_value v, struct jinja_value key);
/* low, high, step: integers or none. */
struct jinja_value jinja_slice(struct jinja_run *run, struct jinja_value v, struct jinja_value low,
                               struct jinja_value high, struct jinja_value step);
struct jinja_value jinja_binary(struct jinja_run *run, int op, struct jinja_value a,
                                struct jinja_value b);
bool jinja_compare(struct jinja_run *run, int op, struct jinja_value a, struct jinja_value b);

#endif
