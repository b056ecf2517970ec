/* dir-eval: predictions to metrics, tables and figures. */
#include "common/eval/evaluation.h"
#include "common/eval/figures.h"
#include "common/eval/gnuplot.h"
#include "common/eval/report.h"
#include "common/stream/header.h"
#include "common/stream/stream.h"
#include "common/util/diag.h"
#include "common/util/json.h"
#include "common/util/mem.h"
#include "common/util/options.h"
#include "common/util/outfile.h"
#include "common/util/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A set named on the command line: [OF:][NAME=]FILE. */
struct operand {
    char *of, *name; /* NULL where not given */
    const char *file;
};

struct operands {
    struct operand *items;
    size_t n;
};

struct settings {
    struct common_options common;
    bool json, stream;
    bool bins_given;
    bool seeds; /* sets of one name are one set's, of several seeds */
    struct evaluation_settings evaluation;
    bool abstention;
    enum uncertainty_kind abstain_by;
    struct operands oods, curves;
    const char *figures; /* NULL: none */
};

/* NAME=FILE, or a bare FILE: a slash before the first '=' makes it part of the path. */
static struct operand parse_operand(const char *text)
{
    size_t n = strcspn(text, "=/");
    if (text[n] != '=')
        return (struct operand){.file = text};
    if (n == 0 || text[n + 1] == '\0')
        usage_error("'%s': a set is NAME=FILE or FILE", text);
    char *name = xstrdup(text);
    name[n] = '\0';
    return (struct operand){.name = name, .file = text + n + 1};
}

static void add_operand(struct operands *list, struct operand o)
{
    list->items = xreallocarray(list->items, list->n + 1, sizeof *list->items);
    list->items[list->n++] = o;
}

static void take_ood(void *target, const char *option, const char *value)
{
    struct operand o = parse_operand(value);
    char *colon = o.name ? strchr(o.name, ':') : NULL;
    if (colon) {
        *colon = '\0';
        o.of = o.name;
        o.name = xstrdup(colon + 1);
        if (!*o.of || !*o.name)
            usage_error("%s: '%s' is not [SET:]NAME=FILE", option, value);
    }
    add_operand(target, o);
}

static void take_curve(void *target, const char *option, const char *value)
{
    (void)option;
    add_operand(target, parse_operand(value));
}

static bool is_among(const struct levels *l, double value)
{
    char shown[32], other[32]; /* as in the metrics' names */
    snprintf(shown, sizeof shown, "%g", value);
    for (size_t i = 0; i < l->n; i++) {
        snprintf(other, sizeof other, "%g", l->values[i]);
        if (!strcmp(shown, other))
            return true;
    }
    return false;
}

static void take_levels(void *target, const char *option, const char *value)
{
    struct levels *l = target;
    char *list = xstrdup(value), *rest = list;
    while (rest) {
        double level = option_double(option, strsep(&rest, ","), 0, 1);
        if (is_among(l, level))
            usage_error("%s: %g is given twice", option, level);
        l->values = xreallocarray(l->values, l->n + 1, sizeof *l->values);
        l->values[l->n++] = level;
    }
    free(list);
}

static const struct option_choice uncertainties[] = {{"total", TOTAL},
                                                     {"aleatoric", ALEATORIC},
                                                     {"epistemic", EPISTEMIC},
                                                     {"vacuity", VACUITY},
                                                     {"differential_entropy", DIFFERENTIAL_ENTROPY},
                                                     {"pairwise_kl", PAIRWISE_KL},
                                                     {0}};

static const struct option_choice definitions[] = {
    {"literature", DEFINITIONS_LITERATURE}, {"reference", DEFINITIONS_REFERENCE}, {0}};

static const struct option_row rows[] = {
    {"ood", 0, "[SET:]NAME=FILE", "the same model's predictions for texts of another kind",
     OPTION_OWN(struct settings, oods, take_ood)},
    {"members", 0, NULL, "also the average prompt of each ensemble, as NAME/prompts",
     OPTION_SET(struct settings, evaluation.members)},
    {"abstain", 0, "KIND",
     "risk when only texts of low 'total', 'aleatoric', 'epistemic',\n"
     "'vacuity', 'differential_entropy' or 'pairwise_kl' uncertainty are\n"
     "answered",
     OPTION_CHOICE(enum uncertainty_kind, struct settings, abstain_by, uncertainties),
     OPTION_GIVEN(struct settings, abstention)},
    {"at-coverage", 0, "C,...", "risk at these coverages, by each uncertainty",
     OPTION_OWN(struct settings, evaluation.at_coverages, take_levels)},
    {"at-risk", 0, "R,...", "coverage at these risks, by each uncertainty",
     OPTION_OWN(struct settings, evaluation.at_risks, take_levels)},
    {"seeds", 0, NULL, "sets of one name are a set's seeds: also mean and deviation",
     OPTION_SET(struct settings, seeds)},
    {"baseline", 0, "SET", "differences of the other sets from SET (with --bootstrap)",
     OPTION_TEXT(struct settings, evaluation.baseline)},
    {"bootstrap", 0, "N", "95 % intervals from N resamplings of the texts",
     OPTION_WHOLE(struct settings, evaluation.replicates, 20, 10000000)},
    {"seed", 0, "N", "of the bootstrap (1)",
     OPTION_WHOLE(struct settings, evaluation.seed, 0, INT64_MAX)},
    {"bins", 0, "N", "of the calibration errors (10)",
     OPTION_WHOLE(struct settings, evaluation.binning.bins, 1, 1000000),
     OPTION_GIVEN(struct settings, bins_given)},
    {"own-bin-for-1", 0, NULL, "a bin for confidence 1 alone, beside these",
     OPTION_SET(struct settings, evaluation.binning.own_bin_for_1)},
    {"definitions", 0, "WHOSE",
     "literature (default) or reference: MCE and Brier score as the\n"
     "published code has them, reference_mce and reference_brier",
     OPTION_CHOICE(enum definitions, struct settings, evaluation.definitions, definitions)},
    {"figures", 0, "DIR", "figures as SVG and PNG, drawn by gnuplot",
     OPTION_TEXT(struct settings, figures)},
    {"curve", 0, "[NAME=]FILE", "a training log (step, loss, lr) to draw with them",
     OPTION_OWN(struct settings, curves, take_curve)},
    {"json", 0, NULL, "JSON instead of the table", OPTION_SET(struct settings, json)},
    {"stream", 0, NULL, "a stream of metrics records instead of the table",
     OPTION_SET(struct settings, stream)},
    {"output", 0, "FILE", "write here", OPTION_WORDS},
    {"compress", 0, NULL, "zstd output (with --stream)", OPTION_WORDS},
    OPTIONS_END};

static const struct program program = {
    .name = "dir-eval",
    .about =
        "usage: dir-eval [--ood [SET:]NAME=FILE] [--json | --stream] [-o FILE] [[NAME=]FILE ...]\n"
        "Measures predictions: accuracy, calibration, uncertainty; several sets side by side, and "
        "how\n"
        "well uncertainty tells out-of-distribution texts apart.\n"
        "\n"
        "  dir-eval teacher=teacher.test.mp dirichlet=dirichlet.test.mp\n"
        "  dir-eval dirichlet.test.mp --ood youtube=dirichlet.youtube.mp --figures out/\n"
        "  dir-eval --json teacher.test.mp | jq '.sets[0].metrics.ece.value'\n"
        "\n",
    .rows = rows,
    .name_column = 6,
    .help_column = 28};

static void check_options(const struct settings *s)
{
    if (s->evaluation.definitions == DEFINITIONS_REFERENCE &&
        (s->bins_given || s->evaluation.binning.own_bin_for_1))
        usage_error("--definitions reference says what the bins are: --bins and --own-bin-for-1 "
                    "have no place");
    if (s->json && s->stream)
        usage_error("--json and --stream are two kinds of output; choose one");
    if (s->curves.n && !s->figures)
        usage_error("--curve draws a figure; say where with --figures");
    if (s->evaluation.baseline && !s->evaluation.replicates)
        usage_error("--baseline tells how sure a difference is from --bootstrap N; add it");
    if (s->common.compress && !s->stream)
        usage_error("only --stream output is compressed; add --stream or leave out -z and .zst");
}

/* ---- the sets ---- */

/* Dies where its name cannot be told in JSON, in a stream or in a figure. */
static struct prediction_set *read_set(const struct operand *o, bool with_members)
{
    struct prediction_set *set = prediction_set_read(o->name, o->file, with_members);
    if (utf8_invalid_at(set->name, strlen(set->name)) < strlen(set->name))
        die(EX_DATAERR, "%s: the set's name, '%s', is not UTF-8; give it one as NAME=FILE",
            set->file, set->name);
    return set;
}

static void check_name(const struct prediction_set *const *sets, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(sets[i]->name, name))
            usage_error("two sets are named '%s'; name them apart with NAME=FILE, or say with "
                        "--seeds that they are one set's",
                        name);
}

/* Sets that share a name become NAME#1, NAME#2 ... */
static void number_seeds(struct prediction_set **sets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t count = 0;
        for (size_t j = i; j < n && !sets[i]->seeds_of; j++)
            count += !strcmp(sets[i]->name, sets[j]->name);
        if (count < 2)
            continue;
        char *shared = sets[i]->name;
        for (size_t j = n; j-- > i;)
            if (!strcmp(sets[j]->name, shared)) {
                sets[j]->seeds_of = xstrdup(shared);
                if (j > i)
                    free(sets[j]->name);
                sets[j]->name = xasprintf("%s#%zu", shared, count--);
            }
        free(shared);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (!strcmp(sets[i]->name, sets[j]->name))
                usage_error(
                    "two sets are named '%s', one of them as a seed of '%s'; name them apart",
                    sets[i]->name, sets[sets[i]->seeds_of ? i : j]->seeds_of);
}

static struct prediction_set **read_sets(const struct settings *s, char **operands, size_t count)
{
    static char *standard_input[] = {"-"};
    if (count == 0) {
        operands = standard_input;
        count = 1;
    }
    struct prediction_set **sets = xcalloc(count, sizeof *sets);
    size_t labels = 0;
    for (size_t i = 0; i < count; i++) {
        struct operand o = parse_operand(operands[i]);
        struct prediction_set *set = read_set(&o, s->evaluation.members);
        if (!s->seeds)
            check_name((const struct prediction_set *const *)sets, i, set->name);
        if (i > 0)
            prediction_sets_align(sets[0], set);
        sets[i] = set;
        free(o.name);
    }
    if (s->seeds)
        number_seeds(sets, count);
    free(labelled_rows(sets[0], &labels));
    if (labels == 0 && s->oods.n == 0)
        die(EX_DATAERR, "%s: no prediction has a label; metrics need the labels of the texts",
            sets[0]->file);
    if (labels < sets[0]->n)
        warn("%zu of %zu texts have no label; metrics leave them out", sets[0]->n - labels,
             sets[0]->n);
    return sets;
}

/* A set's name or, of the number-th set of another seed, the shared one. */
static const struct prediction_set *named(const struct evaluation_settings *e, const char *name,
                                          size_t number)
{
    size_t seed = 0;
    for (size_t i = 0; i < e->n_sets; i++) {
        const struct prediction_set *s = e->sets[i];
        if (!strcmp(s->name, name) ||
            (s->seeds_of && !strcmp(s->seeds_of, name) && seed++ == number))
            return s;
    }
    if (seed)
        usage_error("--ood: '%s' has %zu seeds, and texts of one name are given for more", name,
                    seed);
    usage_error("--ood: no set is named '%s'", name);
}

static const struct prediction_set *made_by(const struct evaluation_settings *e,
                                            const struct prediction_set *ood)
{
    for (size_t i = e->n_sets; i-- > 0;)
        if (!header_difference(e->sets[i]->header, ood->header, HEADER_SAME_MODEL))
            return e->sets[i];
    die(EX_DATAERR,
        "%s: made by another model, head or adapter than every set it could be compared with; "
        "give --ood the same model's predictions, or name the set as in SET:NAME=FILE",
        ood->file);
}

/* The set that the number-th out-of-distribution set is compared with: the one named, or the last
 * one whose header says that the same model made it. */
static const struct prediction_set *partner(const struct settings *s, size_t number,
                                            const struct ood_set *oods)
{
    const struct operand *o = &s->oods.items[number];
    const struct prediction_set *ood = oods[number].set;
    size_t before = 0; /* of the same names: the first is compared with the first seed */
    for (size_t i = 0; i < number && o->of; i++)
        before += s->oods.items[i].of && !strcmp(s->oods.items[i].of, o->of) &&
                  !strcmp(oods[i].set->name, ood->name);
    const struct prediction_set *found =
        o->of ? named(&s->evaluation, o->of, before) : made_by(&s->evaluation, ood);
    if (found->n_classes != ood->n_classes)
        warn("%s has %zu classes and %s %zu: their uncertainties differ in scale", ood->file,
             ood->n_classes, found->file, found->n_classes);
    return found;
}

static struct ood_set *read_oods(const struct settings *s)
{
    struct ood_set *oods = xcalloc(s->oods.n, sizeof *oods);
    for (size_t i = 0; i < s->oods.n; i++) {
        struct operand *o = &s->oods.items[i];
        oods[i].set = read_set(o, false);
        oods[i].of = partner(s, i, oods);
        for (size_t j = 0; j < i; j++)
            if (oods[j].of == oods[i].of && !strcmp(oods[j].set->name, oods[i].set->name))
                usage_error("two out-of-distribution sets of '%s' are named '%s'", oods[i].of->name,
                            oods[i].set->name);
    }
    for (size_t i = 0; i < s->oods.n; i++) {
        free(s->oods.items[i].of);
        free(s->oods.items[i].name);
    }
    return oods;
}

/* Is it one of the names in the results: a set's, its seeds', or its average member's? */
static void check_baseline(const struct evaluation_settings *e)
{
    static const char members[] = "/prompts";
    size_t n = strlen(e->baseline), m = strlen(members);
    bool average = n > m && !strcmp(e->baseline + n - m, members);
    for (size_t i = 0; i < e->n_sets; i++) {
        const struct prediction_set *s = e->sets[i];
        const char *names[] = {s->name, s->seeds_of};
        for (size_t k = 0; k < 2; k++)
            if (names[k] && (!strcmp(names[k], e->baseline) ||
                             (average && s->n_members && strlen(names[k]) == n - m &&
                              !strncmp(names[k], e->baseline, n - m))))
                return;
    }
    usage_error("--baseline: no set is named '%s'", e->baseline);
}

/* ---- output ---- */

static void write_stream(const struct settings *s, const struct report *r, int argc, char **argv)
{
    json_t *header = stream_header_from(NULL, "metrics", argc, argv);
    struct stream_writer *w = stream_create(s->common.output, s->common.compress, header);
    report_stream(r, w);
    stream_finish(w);
}

static void write_text(const struct settings *s, const struct report *r)
{
    struct outfile *f = outfile_open(s->common.output);
    if (s->json) {
        json_t *all = report_json(r);
        json_write(all, JSON_INDENT(2) | JSON_REAL_PRECISION(17), outfile_stream(f));
        json_decref(all);
    } else {
        report_table(r, outfile_stream(f));
    }
    outfile_finish(f);
}

static void draw(const struct settings *s, const struct report *r)
{
    const struct evaluation_settings *e = r->settings;
    size_t labels;
    free(labelled_rows(e->sets[0], &labels));
    if (labels) {
        draw_reliability(s->figures, e, r->results, r->n_results);
        draw_risk_coverage(s->figures, e, r->results, r->n_results);
    }
    draw_uncertainty(s->figures, e, r->results, r->n_results);
}

static void draw_curves(const struct settings *s)
{
    size_t n = s->curves.n;
    struct training_log *logs = xcalloc(n, sizeof *logs);
    for (size_t i = 0; i < n; i++)
        logs[i] = training_log_read(s->curves.items[i].name, s->curves.items[i].file);
    if (n)
        draw_training(s->figures, logs, n);
    for (size_t i = 0; i < n; i++)
        training_log_free(&logs[i]);
    free(logs);
    free(s->curves.items);
}

static void report(const struct settings *s, int argc, char **argv)
{
    const struct evaluation_settings *e = &s->evaluation;
    struct report r = {.settings = e, .abstention = s->abstention, .abstain_by = s->abstain_by};
    struct result *results = evaluate(e, &r.n_results);
    r.results = results;
    if (s->figures)
        draw(s, &r);
    if (s->stream)
        write_stream(s, &r, argc, argv);
    else
        write_text(s, &r);
    unsigned long read = 0;
    for (size_t i = 0; i < e->n_sets; i++)
        read += e->sets[i]->n;
    closing_count(read, r.n_results, 0);
    results_free(results, r.n_results);
}

int main(int argc, char **argv)
{
    struct settings s = {.evaluation = {.binning = USUAL_BINNING, .seed = 1}};
    program_start(&program, argc, argv);
    int first = options_parse(&program, rows, argc, argv, &s.common);
    check_options(&s);
    struct evaluation_settings *e = &s.evaluation;
    if (e->definitions == DEFINITIONS_REFERENCE)
        e->binning.own_bin_for_1 = true;
    if (s.figures)
        gnuplot_prepare(s.figures);
    draw_curves(&s);
    if (s.curves.n && argc == first)
        return EX_OK; /* training logs alone, no predictions */
    struct prediction_set **sets = read_sets(&s, argv + first, (size_t)(argc - first));
    e->sets = sets;
    e->n_sets = argc > first ? (size_t)(argc - first) : 1;
    if (e->baseline)
        check_baseline(e);
    if (s.figures)
        check_figure_names(e);
    struct ood_set *oods = read_oods(&s);
    e->oods = oods;
    e->n_oods = s.oods.n;
    report(&s, argc, argv);
    for (size_t i = 0; i < s.oods.n; i++)
        prediction_set_free(oods[i].set);
    for (size_t i = 0; i < e->n_sets; i++)
        prediction_set_free(sets[i]);
    free(oods);
    free(e->at_coverages.values);
    free(e->at_risks.values);
    free(s.oods.items);
    free(sets);
}
