#include "common/model/target_pattern.h"

#include "common/util/mem.h"
#include "common/util/pcre2_memory.h"

#include <stdlib.h>

struct target_pattern {
    pcre2_code *code;
    pcre2_match_data *found;
};

struct target_pattern *target_pattern_open(const char *regex, char **wrong)
{
    int error;
    PCRE2_SIZE at;
    pcre2_general_context *memory = pcre2_memory_new();
    pcre2_compile_context *compile = pcre2_compile_context_create(memory);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED,
                                     PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF | PCRE2_UCP,
                                     &error, &at, compile);
    pcre2_match_data *found = pcre2_match_data_create(1, memory);
    pcre2_compile_context_free(compile);
    pcre2_general_context_free(memory);
    if (!code) {
        pcre2_match_data_free(found);
        char text[256];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)text, sizeof text);
        *wrong = xasprintf("'%s' is no regular expression: %s, at %zu", regex, text, (size_t)at);
        return NULL;
    }
    struct target_pattern *p = xcalloc(1, sizeof *p);
    *p = (struct target_pattern){code, found};
    return p;
}

bool target_pattern_matches(const struct target_pattern *p, const char *module)
{
    return pcre2_match(p->code, (PCRE2_SPTR)module, PCRE2_ZERO_TERMINATED, 0, 0, p->found, NULL) >=
           0;
}

void target_pattern_free(struct target_pattern *p)
{
    if (!p)
        return;
    pcre2_match_data_free(p->found);
    pcre2_code_free(p->code);
    free(p);
}
