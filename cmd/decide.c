/* decide: predictions to decisions that keep a promise: answer or abstain, or a set of classes. */
#include "cmd/decide/decide.h"

#include "common/util/diag.h"

static const struct option_choice certainties[] = {
    {"confidence", BY_CONFIDENCE}, {"margin", BY_MARGIN},       {"total", BY_TOTAL},
    {"aleatoric", BY_ALEATORIC},   {"epistemic", BY_EPISTEMIC}, {0}};
static const struct option_choice testings[] = {
    {"sequence", TESTING_SEQUENCE}, {"bonferroni", TESTING_BONFERRONI}, {0}};
static const struct option_choice set_score_choices[] = {
    {"lac", SCORE_LAC}, {"aps", SCORE_APS}, {0}};

static const struct option_row rows[] = {
    {"risk", 0, "R", "answers are wrong at most this often, with --confidence",
     OPTION_REAL(struct settings, risk, 1e-9, 1 - 1e-9),
     OPTION_GIVEN(struct settings, fit_options)},
    {"expected-risk", 0, "R", "a text gets a wrong answer at most this often, on average",
     OPTION_REAL(struct settings, expected_risk, 1e-9, 1 - 1e-9),
     OPTION_GIVEN(struct settings, fit_options)},
    {"set", 0, "ALPHA", "sets of classes that miss the true one at most this often",
     OPTION_REAL(struct settings, alpha, 1e-9, 1 - 1e-9),
     OPTION_GIVEN(struct settings, fit_options)},
    {"confidence", 0, "C", "of --risk: how probably the promise is kept (0.9)",
     OPTION_REAL(struct settings, confidence, 1e-9, 1 - 1e-9),
     OPTION_GIVEN(struct settings, risk_options)},
    {"by", 0, "KIND",
     "the uncertainty that is limited: 'confidence' (1 - the highest\n"
     "probability, the default), 'margin', 'total', 'aleatoric' or\n"
     "'epistemic'",
     OPTION_CHOICE(enum certainty, struct settings, by, certainties),
     OPTION_GIVEN(struct settings, certainty_options)},
    {"testing", 0, "NAME", "of --risk: 'sequence' (the default) or 'bonferroni'",
     OPTION_CHOICE(enum testing, struct settings, testing, testings),
     OPTION_GIVEN(struct settings, risk_options)},
    {"thresholds", 0, "N", "of --risk: limits that are tested, at most (100; of bonferroni 10)",
     OPTION_WHOLE(struct settings, tests, 1, 1000000), OPTION_GIVEN(struct settings, risk_options)},
    {"start", 0, "N", "of --risk: the first test is of the N surest texts",
     OPTION_WHOLE(struct settings, start, 1, INT32_MAX),
     OPTION_GIVEN(struct settings, risk_options)},
    {"score", 0, "NAME", "of --set: 'lac' (1 - p, the default) or 'aps'",
     OPTION_CHOICE(enum set_score, struct settings, score, set_score_choices),
     OPTION_GIVEN(struct settings, set_options)},
    {"class-conditional", 0, NULL, "of --set: for the texts of each class",
     OPTION_SET(struct settings, class_conditional), OPTION_GIVEN(struct settings, set_options)},
    {"temperature", 0, "FILE", "calibrate first, by a temperature fitted on these predictions",
     OPTION_TEXT(struct settings, temperature), OPTION_GIVEN(struct settings, fit_options)},
    {"or-abstain", 0, NULL, "where nothing can be promised, a rule that never answers",
     OPTION_SET(struct settings, or_abstain), OPTION_GIVEN(struct settings, fit_options)},
    {"apply", 0, "FILE", "a rule made by decide", OPTION_TEXT(struct settings, apply)},
    OPTIONS_END};

static const struct program program = {
    .name = "decide",
    .about = "usage: decide --risk R | --expected-risk R | --set ALPHA [-o FILE] [FILE ...]\n"
             "       decide --apply RULE [-o FILE] [FILE ...]\n"
             "Fits a rule on labelled predictions that keeps a promise about others: when to "
             "answer and\n"
             "when to abstain, or which classes to name; with --apply, turns predictions into "
             "decisions.\n"
             "\n"
             "  decide --risk 0.1 --confidence 0.9 validation.mp >rule.mp\n"
             "  decide --apply rule.mp test.mp >decisions.mp\n"
             "\n",
    .rows = rows,
    .name_column = 6,
    .help_column = 28};

static void check_options(const struct settings *s)
{
    bool fits = s->fit_options || s->risk_options || s->certainty_options || s->set_options;
    if (s->apply && fits)
        usage_error("--apply takes a rule that is fitted already: fitting options have no place");
    if (s->apply)
        return;
    if ((s->risk > 0) + (s->expected_risk > 0) + (s->alpha > 0) != 1)
        usage_error("a rule has one kind: --risk, --expected-risk or --set");
    if (s->risk_options && !(s->risk > 0))
        usage_error("--confidence, --testing, --thresholds and --start go with --risk");
    if (s->set_options && !(s->alpha > 0))
        usage_error("--score and --class-conditional go with --set");
    if (s->certainty_options && s->alpha > 0)
        usage_error("--by goes with --risk and --expected-risk; a set has its --score");
    if (s->temperature && (s->by == BY_ALEATORIC || s->by == BY_EPISTEMIC))
        usage_error("--temperature changes the probabilities; %s uncertainty is not of those alone",
                    certainty_name(s->by));
}

int main(int argc, char **argv)
{
    struct settings s = {.confidence = 0.9, .by = BY_CONFIDENCE, .score = SCORE_LAC};
    program_start(&program, argc, argv);
    int first = options_parse(&program, rows, argc, argv, &s.common);
    check_options(&s);
    struct stream_reader *r = stream_open_all(argv + first, argc - first, "prediction");
    if (s.apply)
        apply_rule(&s, r, argc, argv);
    else
        fit_rule(&s, r, argc, argv);
    stream_close(r);
}
