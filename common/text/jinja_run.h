/* One rendering at work: its memory, its bounds, its errors, what it looked at. Inside of
 * jinja_*.c; others use jinja.h. */
#ifndef DUQ_TEXT_JINJA_RUN_H
#define DUQ_TEXT_JINJA_RUN_H

#include "common/text/arena.h"
#include "common/text/jinja_value.h"

#include <setjmp.h>
#include <time.h>

enum {
    JINJA_DEEPEST = 1000,        /* expressions, statements and calls inside one another */
    JINJA_MOST_STEPS = 20000000, /* some seconds */
    JINJA_MOST_BYTES = 1 << 26,
    JINJA_LONGEST_RANGE = 100000, /* as Jinja's sandbox has it */
};

struct jinja_variable {
    int32_t name;
    struct jinja_value value;
};

struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_variable *variables;
    size_t count, capacity;
};

struct jinja_run {
    const struct jinja_template *template;
    struct arena arena;
    size_t bytes, steps;
    int depth, line;
    bool running;
    jmp_buf failed;
    char *message;
    struct jinja_scope *scope; /* the innermost */
    int32_t loop_name;         /* the variable `loop` */
    struct jinja_value held;   /* what a block holds, for its filters */
    struct jinja_builder *out; /* where output goes: the text, or a macro's or block's */
    unsigned char looked, trimmed;
    struct tm date;
};

/* Ends the rendering: "line N: ..." with the line of the node at work. It jumps out of whatever is
 * nested, and all memory is the arena's, so that nothing is left behind. */
_Noreturn void jinja_fail(struct jinja_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Memory that lives until the reset, aligned for any value. */
void *jinja_take(struct jinja_run *run, size_t count, size_t size);
/* Counts work and ends a rendering that does not end by itself. */
void jinja_work(struct jinja_run *run, size_t steps);

/* ---- what hangs on marked bytes ---- */

/* Something hangs on the bytes before `end`. */
void jinja_look(struct jinja_run *run, struct jinja_string s, size_t end);
/* A value's string, all of which is looked at. Fails at other kinds; `what` wants it. */
struct jinja_string jinja_read(struct jinja_run *run, struct jinja_value v, const char *what);

/* One expression, statement, call or value deeper; run->depth-- goes back. */
void jinja_deeper(struct jinja_run *run);

/* ---- values; jinja_value.c, jinja_print.c ---- */

const char *jinja_kind_name(struct jinja_value v);
bool jinja_truth(struct jinja_run *run, struct jinja_value v);
bool jinja_equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b);
/* The sign of a - b. Fails where the two have no order. */
int jinja_order(struct jinja_run *run, struct jinja_value a, struct jinja_value b);
/* What a loop goes over: a list's items, a dict's keys, a string's characters. Fails at others. */
struct jinja_list *jinja_items(struct jinja_run *run, struct jinja_value v);
size_t jinja_length(struct jinja_run *run, struct jinja_value v);
/* Python's str() and repr(). */
void jinja_add_str(struct jinja_builder *b, struct jinja_value v);
void jinja_add_repr(struct jinja_builder *b, struct jinja_value v);
struct jinja_string jinja_to_str(struct jinja_run *run, struct jinja_value v);
/* Python's json.dumps() */
struct jinja_json_style {
    int indent; /* -1: in one line */
    bool ascii, sorted;
    struct jinja_string between_items, after_key;
};
void jinja_add_json(struct jinja_builder *b, struct jinja_value v,
                    const struct jinja_json_style *j);

#endif
