/* decide without --apply: labelled predictions to a rule. */
#include "cmd/decide/decide.h"

#include "common/decide/decide.h"
#include "common/decide/temperature.h"
#include "common/eval/metrics.h"
#include "common/eval/prediction_set.h"
#include "common/stream/header.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* The fitting texts as a rule of this temperature sees them. */
struct fitting {
    const struct settings *settings;
    struct prediction_set *set;
    double temperature;
    size_t wrong; /* whose top class is not the label */
};

static void need_labels(const struct prediction_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->labels[i] == NO_LABEL)
            die(EX_DATAERR, "%s: id %s: no label; a rule is fitted on labelled predictions",
                s->file, id_index_name(s->ids, i));
}

static struct prediction prediction_of(const struct prediction_set *s, size_t i)
{
    double values[N_UNCERTAINTIES];
    for (int k = 0; k < N_UNCERTAINTIES; k++)
        values[k] = s->uncertainty[k] ? s->uncertainty[k][i] : NAN;
    return (struct prediction){.id = id_index_name(s->ids, i),
                               .label = s->labels[i],
                               .probs = s->probs + i * s->n_classes,
                               .n_classes = s->n_classes,
                               .total = values[TOTAL],
                               .aleatoric = values[ALEATORIC],
                               .epistemic = values[EPISTEMIC]};
}

_Noreturn void no_uncertainty(const char *file, enum certainty by)
{
    die(EX_DATAERR,
        "%s: the predictions have no '%s' uncertainty; choose another one with --by when the rule "
        "is fitted",
        file, certainty_name(by));
}

/* Replaces the probabilities and the total uncertainty by tempered ones. */
static void temper_set(struct prediction_set *s, double temperature)
{
    if (temperature == 1)
        return;
    if (!s->uncertainty[TOTAL])
        s->uncertainty[TOTAL] = xcalloc(s->n, sizeof(double));
    for (size_t i = 0; i < s->n; i++) {
        double *probs = s->probs + i * s->n_classes;
        struct prediction p = prediction_of(s, i);
        s->uncertainty[TOTAL][i] = tempered_prediction(&p, temperature, probs).total;
    }
}

static struct judged *judge(struct fitting *f)
{
    const struct prediction_set *s = f->set;
    struct judged *texts = xcalloc(s->n, sizeof *texts);
    for (size_t i = 0; i < s->n; i++) {
        struct prediction p = prediction_of(s, i);
        texts[i].uncertainty = prediction_uncertainty(&p, f->settings->by);
        if (isnan(texts[i].uncertainty))
            no_uncertainty(s->file, f->settings->by);
        texts[i].tie = XXH64(p.id, strlen(p.id), 0); /* whatever the stream's order */
        texts[i].wrong = predicted_class(p.probs, p.n_classes) != (size_t)p.label;
    }
    order_by_certainty(texts, s->n);
    return texts;
}

/* ---- temperature ---- */

static void check_apart(const struct prediction_set *a, const struct prediction_set *b)
{
    const char *key = header_difference(a->header, b->header, HEADER_RULE);
    if (key)
        die(EX_DATAERR,
            "%s and %s are predictions with different '%s'; fit the temperature on "
            "predictions by the same model",
            a->file, b->file, key);
    for (size_t i = 0, j; i < a->n; i++)
        if (id_index_find(b->ids, id_index_name(a->ids, i), &j))
            die(EX_DATAERR,
                "id %s is in %s and in %s; fit temperature and rule on different texts, "
                "or the promise does not hold",
                id_index_name(a->ids, i), a->file, b->file);
}

/* The fit's description, for the header; NULL where none was asked for. */
static json_t *calibrate(struct fitting *f)
{
    if (!f->settings->temperature)
        return NULL;
    struct prediction_set *s = prediction_set_read(NULL, f->settings->temperature, false);
    need_labels(s);
    check_apart(s, f->set);
    struct temperature_fit t = fit_temperature(s->probs, s->labels, s->n, s->n_classes);
    if (t.outcome == TEMPERATURE_NO_FIT)
        die(EX_DATAERR, "%s: id %s: its label has probability 0, which no temperature mends",
            s->file, id_index_name(s->ids, t.row));
    if (t.outcome == TEMPERATURE_ZERO)
        die(EX_DATAERR,
            "%s: the top class is right in all %zu texts, so that no temperature is "
            "best; take more texts, or no --temperature",
            s->file, s->n);
    if (t.outcome == TEMPERATURE_INFINITE)
        die(EX_DATAERR,
            "%s: the probabilities tell nothing of the labels, so that no temperature "
            "is best",
            s->file);
    inform("temperature %.6g on %zu texts: nll %.6g, before %.6g, gap %.2g after %zu steps",
           t.temperature, s->n, t.nll, t.before, t.gap, t.steps);
    f->temperature = t.temperature;
    json_t *fit = json_pack("{s:f, s:I, s:f, s:f, s:f}", "value", t.temperature, "texts",
                            (json_int_t)s->n, "nll_before", t.before, "nll", t.nll, "gap", t.gap);
    prediction_set_free(s);
    return fit;
}

/* ---- risk rules ---- */

static json_t *describe_tests(const struct risk_limit *l)
{
    json_t *tests = json_array();
    for (size_t i = 0; i < l->n_tests; i++) {
        const struct risk_test *t = &l->tests[i];
        json_t *limit = isinf(t->limit) ? json_null() : json_real(t->limit);
        json_array_append_new(tests,
                              json_pack("{s:I, s:I, s:o, s:f}", "answered", (json_int_t)t->answered,
                                        "wrong", (json_int_t)t->wrong, "below", limit, "p", t->p));
    }
    return tests;
}

/* How many answered texts would do, as words. */
static char *remedy(const struct risk_limit *l, size_t n, const struct risk_target *t)
{
    const struct risk_test *first = l->tests;
    size_t fewest = fewest_answered(t->risk, l->level);
    if (n < fewest)
        return xasprintf("%zu answers without an error would be the fewest that do", fewest);
    if (l->n_tests == 0 || first->p <= l->level)
        return xstrdup("they are all equally uncertain; choose another uncertainty with --by");
    double share = (double)first->wrong / (double)first->answered;
    size_t needed = answered_needed(share, t->risk, l->level);
    if (needed == 0)
        return xstrdup("no number of texts would do with that share of errors");
    return xasprintf("with that share of errors %zu answers would do, of about %.0f texts", needed,
                     ceil((double)needed * (double)n / (double)first->answered));
}

static void say_no_risk_limit(const struct fitting *f, const struct risk_limit *l,
                              const struct risk_target *t)
{
    const struct settings *s = f->settings;
    size_t answered = l->n_tests ? l->tests->answered : f->set->n;
    size_t wrong = l->n_tests ? l->tests->wrong : f->wrong;
    double p = l->n_tests ? l->tests->p : 1;
    char *what = remedy(l, f->set->n, t);
    char *text =
        xasprintf("%s: no limit keeps the risk at %g with confidence %g: of the %zu surest "
                  "of %zu texts %zu are wrong (p = %.3g); %s",
                  f->set->file, s->risk, s->confidence, answered, f->set->n, wrong, p, what);
    if (!s->or_abstain)
        die(EX_DATAERR, "%s (--or-abstain writes a rule that never answers)", text);
    warn("%s; the rule never answers", text);
    free(text);
    free(what);
}

static struct risk_limit fit_risk(struct fitting *f, const struct judged *texts, json_t *fit)
{
    const struct settings *s = f->settings;
    size_t n = f->set->n;
    /* What was typed is 0.9, not 1 - 0.1 in binary: delta is rounded to what 15 digits tell. */
    double delta = round((1 - s->confidence) * 1e15) / 1e15;
    bool sequence = s->testing == TESTING_SEQUENCE;
    struct risk_target t = {s->risk, delta, s->testing, (size_t)s->start, (size_t)s->tests};
    if (t.tests == 0)
        t.tests = sequence ? 100 : 10;
    if (t.start == 0)
        t.start = first_test(n, s->risk, sequence ? delta : delta / (double)t.tests);
    else if (t.start > n)
        die(EX_DATAERR, "%s: --start is %zu, but there are %zu texts", f->set->file, t.start, n);
    struct risk_limit l = control_risk(texts, n, &t);
    if (!l.found)
        say_no_risk_limit(f, &l, &t);
    json_object_set_new(fit, "risk", json_real(s->risk));
    json_object_set_new(fit, "confidence", json_real(s->confidence));
    json_object_set_new(fit, "testing", json_string(sequence ? "sequence" : "bonferroni"));
    json_object_set_new(fit, "tests", describe_tests(&l));
    return l;
}

static struct risk_limit fit_expected_risk(struct fitting *f, const struct judged *texts,
                                           json_t *fit)
{
    const struct settings *s = f->settings;
    struct risk_limit l = control_expected_risk(texts, f->set->n, s->expected_risk);
    size_t fewest = fewest_for_expected(s->expected_risk);
    if (!l.found && !s->or_abstain && f->set->n < fewest)
        die(EX_DATAERR,
            "%s: %zu texts are too few for an expected risk of %g; %zu are the fewest "
            "(--or-abstain writes a rule that never answers)",
            f->set->file, f->set->n, s->expected_risk, fewest);
    if (!l.found && !s->or_abstain)
        die(EX_DATAERR,
            "%s: the surest of %zu texts are wrong too often for an expected risk of %g "
            "(--or-abstain writes a rule that never answers)",
            f->set->file, f->set->n, s->expected_risk);
    if (!l.found)
        warn("%s: no limit keeps the expected risk at %g; the rule never answers", f->set->file,
             s->expected_risk);
    json_object_set_new(fit, "risk", json_real(s->expected_risk));
    return l;
}

static struct rule_limit *fit_uncertainty(struct fitting *f, json_t *fit)
{
    struct judged *texts = judge(f);
    size_t n = f->set->n;
    bool expected = f->settings->expected_risk > 0;
    struct risk_limit l = expected ? fit_expected_risk(f, texts, fit) : fit_risk(f, texts, fit);
    double risk = l.answered ? (double)l.wrong / (double)l.answered : NAN;
    json_object_set_new(fit, "by", json_string(certainty_name(f->settings->by)));
    json_object_set_new(fit, "answered", json_integer((json_int_t)l.answered));
    json_object_set_new(fit, "answered_wrong", json_integer((json_int_t)l.wrong));
    json_object_set_new(fit, "coverage", json_real((double)l.answered / (double)n));
    json_object_set_new(fit, "observed_risk", isnan(risk) ? json_null() : json_real(risk));
    if (l.answered)
        inform("%zu texts, %zu wrong; answers %zu of them, %zu wrong (coverage %.4f, risk %.4f)", n,
               f->wrong, l.answered, l.wrong, (double)l.answered / (double)n, risk);
    struct rule_limit *limit = xcalloc(1, sizeof *limit);
    *limit = (struct rule_limit){NO_LABEL, TAKE_BELOW, l.limit, n};
    if (isinf(l.limit)) {
        limit->take = l.found ? TAKE_ALL : TAKE_NONE;
        limit->threshold = NAN;
    }
    risk_limit_free(&l);
    free(texts);
    return limit;
}

/* ---- set rules ---- */

/* The threshold of the texts with this label, or of all of them. */
static struct rule_limit fit_threshold(const struct fitting *f, int label, const double *scores)
{
    const struct settings *s = f->settings;
    const struct prediction_set *set = f->set;
    double *own = xreallocarray(NULL, set->n, sizeof *own);
    size_t n = 0;
    for (size_t i = 0; i < set->n; i++)
        if (label == NO_LABEL || set->labels[i] == label)
            own[n++] = scores[i];
    struct rule_limit limit = {label, TAKE_AT_MOST, conformal_threshold(own, n, s->alpha), n};
    free(own);
    if (isfinite(limit.threshold))
        return limit;
    char *of = label == NO_LABEL ? xstrdup("") : xasprintf(" with label %d", label);
    char *text =
        xasprintf("%s: %zu texts%s are too few for sets that miss at most %g; %zu would do",
                  set->file, n, of, s->alpha, conformal_fewest(s->alpha));
    if (!s->or_abstain)
        die(EX_DATAERR, "%s (--or-abstain takes the class into every set)", text);
    warn("%s; every set has %s", text, label == NO_LABEL ? "all classes" : "that class");
    free(text);
    free(of);
    return (struct rule_limit){label, TAKE_ALL, NAN, n};
}

static struct rule_limit *fit_set(const struct fitting *f, json_t *fit, size_t *n_limits)
{
    const struct settings *s = f->settings;
    const struct prediction_set *set = f->set;
    double *scores = xreallocarray(NULL, set->n, sizeof *scores);
    double *each = xreallocarray(NULL, set->n_classes, sizeof *each);
    for (size_t i = 0; i < set->n; i++) {
        set_scores(s->score, set->probs + i * set->n_classes, set->n_classes, each);
        scores[i] = each[set->labels[i]];
    }
    *n_limits = s->class_conditional ? set->n_classes : 1;
    struct rule_limit *limits = xcalloc(*n_limits, sizeof *limits);
    for (size_t c = 0; c < *n_limits; c++)
        limits[c] = fit_threshold(f, s->class_conditional ? (int)c : NO_LABEL, scores);
    size_t covered = 0;
    for (size_t i = 0; i < set->n; i++) {
        const struct rule_limit *l = &limits[s->class_conditional ? set->labels[i] : 0];
        covered += l->take == TAKE_ALL || scores[i] <= l->threshold;
    }
    json_object_set_new(fit, "score", json_string(set_score_name(s->score)));
    json_object_set_new(fit, "alpha", json_real(s->alpha));
    json_object_set_new(fit, "class_conditional", json_boolean(s->class_conditional));
    json_object_set_new(fit, "coverage", json_real((double)covered / (double)set->n));
    inform("%zu texts, %zu wrong; the sets hold the label of %zu (%.4f)", set->n, f->wrong, covered,
           (double)covered / (double)set->n);
    free(scores);
    free(each);
    return limits;
}

void fit_rule(const struct settings *s, struct stream_reader *r, int argc, char **argv)
{
    struct fitting f = {.settings = s, .set = prediction_set_take(r, false), .temperature = 1};
    need_labels(f.set);
    for (size_t i = 0; i < f.set->n; i++)
        f.wrong += predicted_class(f.set->probs + i * f.set->n_classes, f.set->n_classes) !=
                   (size_t)f.set->labels[i];
    enum rule_kind kind = s->alpha > 0           ? RULE_SET
                          : s->expected_risk > 0 ? RULE_EXPECTED_RISK
                                                 : RULE_RISK;
    json_t *temperature = calibrate(&f);
    temper_set(f.set, f.temperature);
    json_t *fit = json_pack("{s:s, s:I, s:I}", "kind", rule_kind_name(kind), "texts",
                            (json_int_t)f.set->n, "wrong", (json_int_t)f.wrong);
    if (temperature)
        json_object_set_new(fit, "temperature", temperature);
    size_t n_limits = 1;
    struct rule_limit *limits =
        kind == RULE_SET ? fit_set(&f, fit, &n_limits) : fit_uncertainty(&f, fit);
    json_t *header = stream_header_from(stream_header(r), "rule", argc, argv);
    json_object_set_new(header, "fit", fit);
    struct stream_writer *w = stream_create(s->common.output, s->common.compress, header);
    for (size_t i = 0; i < n_limits; i++)
        rule_limit_write(w, &limits[i]);
    stream_finish(w);
    free(limits);
    prediction_set_free(f.set);
}
