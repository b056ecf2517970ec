/* Templates in the language of Jinja, as far as chat templates use it
 * (jinja.palletsprojects.com 3.1, set up as transformers does: trim_blocks, lstrip_blocks, loop
 * controls, `generation`, a sandbox in which nothing is changed but namespaces). What is not known
 * here is refused by name, with its line.
 *
 * Every byte of a string carries a mark, which stays with it through whatever a template does to
 * the string. So the caller knows which bytes of the result come from where, and which of its
 * strings the template looked into.
 *
 * Templates are other people's programs: nesting, memory and work are bounded. */
#ifndef DUQ_TEXT_JINJA_H
#define DUQ_TEXT_JINJA_H

#include "common/text/jinja_value.h"
#include "common/util/mem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct jinja_template;

/* NULL at a template that is damaged or asks for what is not known; *error, "line N: ...", is then
 * the caller's to free. The source is copied. */
struct jinja_template *jinja_parse(const char *source, size_t len, char **error);
void jinja_free(struct jinja_template *t);
/* Whether a variable of this name stands anywhere in the template. */
bool jinja_names(const struct jinja_template *t, const char *name);

/* Renderings of a template, one after another. date: what strftime_now() takes for today. The
 * template stays in place. */
struct jinja_run *jinja_run_new(const struct jinja_template *t, const struct tm *date);
void jinja_run_free(struct jinja_run *run);

/* Forgets all values and variables: a new rendering. */
void jinja_run_reset(struct jinja_run *run);
void jinja_set(struct jinja_run *run, const char *name, struct jinja_value value);
/* Strings stay the JSON's. */
struct jinja_value jinja_from_json(struct jinja_run *run, const json_t *json);

struct jinja_result {
    struct jinja_string text;      /* lives until the reset */
    unsigned char looked, trimmed; /* marks of bytes on which more than their place in the text
                                      hangs, and of bytes that white space was stripped up to */
};

/* False at a template that fails or takes too much; the message, "line N: ...", lives until the
 * reset. */
bool jinja_render(struct jinja_run *run, struct jinja_result *result, const char **error);

#endif
