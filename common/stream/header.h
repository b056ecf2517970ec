/* What streams' headers say, and where two of them have to say the same. */
#ifndef DUQ_STREAM_HEADER_H
#define DUQ_STREAM_HEADER_H

#include <jansson.h>
#include <stdbool.h>

/* What is done with two streams, for which their headers have to agree: each takes the keys that
 * header.c's table gives it. */
enum header_use {
    HEADER_JOINED = 1,      /* they are read one after another: records must mean the same */
    HEADER_WEIGHTS = 2,     /* prompts' weights that were fitted on one are applied to the other */
    HEADER_OTHER_TASK = 4,  /* the same, on purpose to another task's */
    HEADER_RULE = 8,        /* a rule that was fitted on one is applied to the other */
    HEADER_SAME_MODEL = 16, /* they are called predictions of the same model */
};

/* The first key in which the headers do not agree for this use; NULL where there is none. A key
 * that neither has is no difference. For weights and rules it may be one of the tasks that prompts
 * were made by ("asked"), such as "instructions". */
const char *header_difference(const json_t *a, const json_t *b, enum header_use use);

/* Puts whose texts they are, "task" and "classes", into another header, or an object of one, as far
 * as they are said. */
void header_copy_task(json_t *to, const json_t *from);

/* Whether a class may have this name. In a prompt it stands in a line of its own and ends a shot:
 * blanks at its ends and line breaks would change the layout without being seen. */
bool header_class_fits(const char *name);

#endif
