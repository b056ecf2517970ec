/* Patterns of a tokenizer file: a literal string, or a regular expression in the dialect that
 * `tokenizers` reads (Oniguruma, Ruby syntax, Unicode), matched by PCRE2. */
#ifndef DUQ_TEXT_PATTERN_H
#define DUQ_TEXT_PATTERN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct pattern;

/* where: the file and the part of it, for the message when PCRE2 cannot stand in for Oniguruma
 * (EX_DATAERR). */
struct pattern *pattern_regex(const char *regex, const char *where);
struct pattern *pattern_literal(const char *s, size_t len);
/* {"String": S} or {"Regex": R}. */
struct pattern *pattern_from_json(const json_t *value, const char *where);
void pattern_free(struct pattern *p);

/* One search through one text. */
struct pattern_search {
    struct pattern *pattern;
    const char *text;
    size_t len, at;
    bool any;        /* a match was found before, */
    size_t last_end; /* and ended here */
};
/* text is UTF-8. One search at a time per pattern. */
struct pattern_search pattern_start(struct pattern *p, const char *text, size_t len);
/* The next match that does not overlap those before; an empty one never directly after another
 * match. False when there are no more. */
bool pattern_next(struct pattern_search *s, size_t *start, size_t *end);

#endif
