#include "common/decide/rule.h"

#include "common/stream/header.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {
    [RULE_RISK] = "risk", [RULE_EXPECTED_RISK] = "expected-risk", [RULE_SET] = "set", NULL};
static const char *const certainties[] = {[BY_UNSAID] = "",
                                          [BY_TOTAL] = "total",
                                          [BY_ALEATORIC] = "aleatoric",
                                          [BY_EPISTEMIC] = "epistemic",
                                          [BY_CONFIDENCE] = "confidence",
                                          [BY_MARGIN] = "margin",
                                          NULL};
static const char *const scores[] = {
    [SCORE_UNSAID] = "", [SCORE_LAC] = "lac", [SCORE_APS] = "aps", NULL};

const char *rule_kind_name(enum rule_kind kind)
{
    return kinds[kind];
}

const char *certainty_name(enum certainty by)
{
    return certainties[by];
}

const char *set_score_name(enum set_score score)
{
    return scores[score];
}

/* The number of the word that the "fit" has under this key. */
static int word(const char *path, const json_t *fit, const char *key, const char *const *words)
{
    const char *value = json_string_value(json_object_get(fit, key));
    for (int i = 0; value && *value && words[i]; i++)
        if (!strcmp(value, words[i]))
            return i;
    die(EX_DATAERR, "%s: no rule that this version of decide knows: '%s' is '%s'", path, key,
        value ? value : "missing");
}

static void read_fit(struct rule *rule, const char *path, const json_t *fit)
{
    rule->kind = (enum rule_kind)word(path, fit, "kind", kinds);
    if (rule->kind == RULE_SET)
        rule->score = (enum set_score)word(path, fit, "score", scores);
    else
        rule->by = (enum certainty)word(path, fit, "by", certainties);
    const json_t *temperature = json_object_get(fit, "temperature");
    rule->temperature = 1;
    if (!temperature)
        return;
    rule->temperature = json_number_value(json_object_get(temperature, "value"));
    if (!(rule->temperature > 0 && isfinite(rule->temperature)))
        die(EX_DATAERR, "%s: the temperature in the header is not a number above 0", path);
    if (rule->by == BY_ALEATORIC || rule->by == BY_EPISTEMIC)
        die(EX_DATAERR, "%s: a temperature does not go with '%s'", path, certainty_name(rule->by));
}

/* A risk rule has one limit. A set rule has one, or one for each class in their order. */
static void check_limit(struct stream_reader *r, const struct rule *rule,
                        const struct rule_limit *l)
{
    bool set = rule->kind == RULE_SET;
    size_t i = rule->n_limits - 1;
    if (i > 0 && rule->limits[0].label == NO_LABEL)
        stream_bad_record(r, NULL, "a second limit where the first one is for all classes");
    if (l->label != NO_LABEL && !set)
        stream_bad_record(r, NULL, "a limit on the uncertainty is not for one class");
    if (l->label != NO_LABEL && (size_t)l->label != i)
        stream_bad_record(r, NULL, "class %d where class %zu was to come", l->label, i);
    if (i > 0 && l->label == NO_LABEL)
        stream_bad_record(r, NULL, "a limit for all classes behind one for class 0");
    if (l->take == (set ? TAKE_BELOW : TAKE_AT_MOST))
        stream_bad_record(r, NULL, "such a limit is not one of '%s' rules",
                          rule_kind_name(rule->kind));
}

struct rule rule_read(const char *path, const struct stream_reader *predictions, json_t **fit)
{
    struct stream_reader *r = stream_open(path, "rule");
    const char *key = header_difference(stream_header(r), stream_header(predictions), HEADER_RULE);
    if (key)
        die(EX_DATAERR,
            "%s: fitted on predictions with another '%s' than those of %s; fit a rule on labelled "
            "predictions by the same model for the same task",
            path, key, stream_name(predictions));
    struct rule rule = {0};
    *fit = json_deep_copy(json_object_get(stream_header(r), "fit"));
    read_fit(&rule, path, *fit);
    struct rule_limit l;
    while (rule_limit_read(r, &l)) {
        rule.limits = xreallocarray(rule.limits, ++rule.n_limits, sizeof *rule.limits);
        rule.limits[rule.n_limits - 1] = l;
        check_limit(r, &rule, &l);
    }
    if (rule.n_limits == 0)
        die(EX_DATAERR, "%s: the rule has no limit", path);
    stream_close(r);
    return rule;
}

void rule_free(struct rule *r)
{
    free(r->limits);
    *r = (struct rule){0};
}
