/* Working out expressions, and what statements and expressions need of one another. */
#ifndef DUQ_TEXT_JINJA_EVAL_H
#define DUQ_TEXT_JINJA_EVAL_H

#include "common/text/jinja_node.h"
#include "common/text/jinja_run.h"

struct jinja_macro {
    const struct jinja_node *node;
    struct jinja_scope *scope; /* where it stands */
};

/* ---- jinja_eval.c ---- */

struct jinja_value jinja_eval(struct jinja_run *run, const struct jinja_node *node);

/* Variables of an inner scope hide those of outer ones. */
void jinja_open_scope(struct jinja_run *run, struct jinja_scope *parent);
void jinja_assign(struct jinja_run *run, int32_t name, struct jinja_value value);

/* ---- jinja_execute.c ---- */

struct jinja_value jinja_call_macro(struct jinja_run *run, const struct jinja_macro *macro,
                                    const struct jinja_list *list,
                                    const struct jinja_dict *keywords);

#endif
