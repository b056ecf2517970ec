/* How texts were asked, as a header of tokens says it ('asked': the task, and the date where a
 * template knows one): are two streams' prompts of one kind? */
#ifndef DUQ_STREAM_ASKED_H
#define DUQ_STREAM_ASKED_H

#include <jansson.h>
#include <stdbool.h>

/* The first key in which two layouts differ, with both values as text, all three for the caller to
 * free; NULL: they are one. A layout is all of the task but its name and its instructions, of which
 * a text is asked by one. */
char *asked_difference(const json_t *then, const json_t *now, char **before, char **after);

/* Whether one of the instructions with these numbers has this text. */
bool asked_by(const json_t *asked, const json_t *numbers, const json_t *text);

/* The text of instruction `number`, or NULL. */
const json_t *asked_instruction(const json_t *asked, size_t number);

#endif
