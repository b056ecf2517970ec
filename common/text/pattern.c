#include "common/text/pattern.h"

#include "common/text/regex_dialect.h"
#include "common/text/unicode.h"
#include "common/text/unicode_recent.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/pcre2_memory.h"

#include <stdlib.h>
#include <string.h>

struct pattern {
    char *source; /* as the file has it */
    size_t len;
    pcre2_code *code; /* NULL: a literal */
    pcre2_match_data *found;
    pcre2_match_context *context;
    pcre2_jit_stack *stack; /* NULL: not compiled to machine code, or no room to run that in */
    struct buf stand_in;    /* the text being searched, when it is not as it was given */
};

/* A text of a megabyte may need many steps; PCRE2's default limits are for web forms. */
enum { MATCH_LIMIT = 2000000000, JIT_STACK_FIRST = 1 << 15, JIT_STACK_MOST = 1 << 28 };

static struct pattern *new_pattern(const char *source, size_t len)
{
    struct pattern *p = xcalloc(1, sizeof *p);
    p->source = xmalloc(len + 1);
    memcpy(p->source, source, len);
    p->source[len] = '\0';
    p->len = len;
    return p;
}

struct pattern *pattern_literal(const char *s, size_t len)
{
    return new_pattern(s, len);
}

struct pattern *pattern_regex(const char *regex, const char *where)
{
    struct pattern *p = new_pattern(regex, strlen(regex));
    struct buf translated = {0};
    const char *problem = regex_from_oniguruma(regex, &translated);
    if (problem)
        die(EX_DATAERR, "%s: the pattern '%s' holds %s, which is not supported", where, regex,
            problem);
    pcre2_general_context *memory = pcre2_memory_new();
    pcre2_compile_context *compile = pcre2_compile_context_create(memory);
    pcre2_set_newline(compile, PCRE2_NEWLINE_LF);
    int error;
    PCRE2_SIZE at;
    p->code = pcre2_compile((PCRE2_SPTR)translated.data, translated.len,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &at, compile);
    pcre2_compile_context_free(compile);
    if (!p->code) {
        char text[256];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)text, sizeof text);
        die(EX_DATAERR, "%s: the pattern '%s' cannot be compiled: %s", where, regex, text);
    }
    buf_free(&translated);
    p->found = pcre2_match_data_create(1, memory);
    p->context = pcre2_match_context_create(memory);
    pcre2_set_match_limit(p->context, MATCH_LIMIT);
    pcre2_set_heap_limit(p->context, UINT32_MAX);
    /* Without JIT (some processors have none, and address space may be short) pcre2_match()
     * interprets. */
    if (pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0)
        p->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, memory);
    if (p->stack)
        pcre2_jit_stack_assign(p->context, NULL, p->stack);
    pcre2_general_context_free(memory);
    return p;
}

struct pattern *pattern_from_json(const json_t *value, const char *where)
{
    const json_t *string = json_object_get(value, "String"),
                 *regex = json_object_get(value, "Regex");
    if (json_is_string(string) && json_string_length(string))
        return pattern_literal(json_string_value(string), json_string_length(string));
    if (!json_is_string(regex) || strlen(json_string_value(regex)) != json_string_length(regex))
        die(EX_DATAERR, "%s: the pattern is neither a String nor a Regex", where);
    return pattern_regex(json_string_value(regex), where);
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    pcre2_code_free(p->code);
    pcre2_match_data_free(p->found);
    pcre2_match_context_free(p->context);
    pcre2_jit_stack_free(p->stack);
    buf_free(&p->stand_in);
    free(p->source);
    free(p);
}

/* The text with characters that PCRE2 may know otherwise replaced by others of the same length. */
static const char *with_stand_ins(struct pattern *p, const char *text, size_t len)
{
    bool changed = false;
    struct buf one = {0};
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t code = utf8_get(text + i, &n), other = unicode_stand_in(code);
        if (other == code)
            continue;
        if (!changed) {
            p->stand_in.len = 0;
            buf_add(&p->stand_in, text, len);
            changed = true;
        }
        one.len = 0;
        utf8_add(&one, other);
        memcpy(p->stand_in.data + i, one.data, n);
    }
    buf_free(&one);
    return changed ? p->stand_in.data : text;
}

struct pattern_search pattern_start(struct pattern *p, const char *text, size_t len)
{
    if (p->code)
        text = with_stand_ins(p, text, len);
    return (struct pattern_search){p, text, len, 0, false, 0};
}

static bool literal_next(struct pattern_search *s, size_t *start, size_t *end)
{
    const char *hit = s->len > s->at ? memmem(s->text + s->at, s->len - s->at, s->pattern->source,
                                              s->pattern->len)
                                     : NULL;
    if (!hit)
        return false;
    *start = (size_t)(hit - s->text);
    *end = s->at = *start + s->pattern->len;
    return true;
}

bool pattern_next(struct pattern_search *s, size_t *start, size_t *end)
{
    struct pattern *p = s->pattern;
    if (!p->code)
        return literal_next(s, start, end);
    while (s->at <= s->len) {
        int n = p->stack ? pcre2_jit_match(p->code, (PCRE2_SPTR)s->text, s->len, s->at, 0, p->found,
                                           p->context)
                         : pcre2_match(p->code, (PCRE2_SPTR)s->text, s->len, s->at,
                                       PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, p->found, p->context);
        if (n == PCRE2_ERROR_NOMATCH)
            return false;
        if (n < 0) {
            char text[256];
            pcre2_get_error_message(n, (PCRE2_UCHAR *)text, sizeof text);
            die(EX_DATAERR, "the pattern '%s' fails on a text of %zu bytes: %s", p->source, s->len,
                text);
        }
        const PCRE2_SIZE *where = pcre2_get_ovector_pointer(p->found);
        *start = where[0];
        *end = where[1];
        if (*start == *end && s->any && *end == s->last_end) {
            s->at += s->at < s->len ? utf8_len((unsigned char)s->text[s->at]) : 1;
            continue;
        }
        s->any = true;
        s->at = s->last_end = *end;
        return true;
    }
    return false;
}
