/* Targets of an adapter that a regular expression names, as PEFT reads a 'target_modules' that is a
 * string: Python's re.fullmatch() of a module's whole name, here by PCRE2. */
#ifndef DUQ_MODEL_TARGET_PATTERN_H
#define DUQ_MODEL_TARGET_PATTERN_H

#include <stdbool.h>

struct target_pattern;

/* NULL where it is no regular expression, with why in *wrong, which the caller frees. */
struct target_pattern *target_pattern_open(const char *regex, char **wrong);
bool target_pattern_matches(const struct target_pattern *p, const char *module);
/* NULL is allowed. */
void target_pattern_free(struct target_pattern *p);

#endif
