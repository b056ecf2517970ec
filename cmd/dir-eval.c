/* dir-eval: predictions to metrics, tables and figures. */
#include "common/eval/evaluation.h"
#include "common/eval/figures.h"
#include "common/eval/gnuplot.h"
#include "common/eval/report.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/options.h"
#include "common/util/outfile.h"

#include <stdlib.h>
#include <string.h>

static const struct program program = {
    "dir-eval",
    "usage: dir-eval [--ood [SET:]NAME=FILE] [--json | --stream] [-o FILE] [[NAME=]FILE ...]\n"
    "Measures predictions: accuracy, calibration, uncertainty; several sets side by side, and how\n"
    "well uncertainty tells out-of-distribution texts apart.\n"
    "\n"
    "  dir-eval teacher=teacher.test.mp dirichlet=dirichlet.test.mp\n"
    "  dir-eval dirichlet.test.mp --ood youtube=dirichlet.youtube.mp --figures out/\n"
    "  dir-eval --json teacher.test.mp | jq '.sets[0].metrics.ece.value'\n"
    "\n"
    "      --ood [SET:]NAME=FILE the same model's predictions for texts of another kind\n"
    "      --members             also the average prompt of each ensemble, as NAME/prompts\n"
    "      --abstain KIND        risk when only texts of low 'total', 'aleatoric' or 'epistemic'\n"
    "                            uncertainty are answered\n"
    "      --bootstrap N         95 % intervals from N resamplings of the texts\n"
    "      --seed N              of the bootstrap (1)\n"
    "      --bins N              of the calibration errors (10)\n"
    "      --figures DIR         figures as SVG and PNG, drawn by gnuplot\n"
    "      --curve [NAME=]FILE   a training log (step, loss, lr) to draw with them\n"
    "      --json                JSON instead of the table\n"
    "      --stream              a stream of metrics records instead of the table\n"
    "  -o, --output FILE         write here\n"
    "  -z, --compress            zstd output (with --stream)\n"
    "  -q, --quiet / -v, --verbose / -h, --help / --version\n"};

enum { OOD = OPTION_OWN, MEMBERS, ABSTAIN, BOOTSTRAP, SEED, BINS, FIGURES, CURVE, JSON, STREAM };

/* A set named on the command line: [OF:][NAME=]FILE. */
struct operand {
    char *of, *name; /* NULL where not given */
    const char *file;
};

struct settings {
    struct common_options common;
    bool json, stream;
    struct evaluation_settings evaluation;
    bool abstention;
    enum uncertainty_kind abstain_by;
    struct operand *oods;
    size_t n_oods;
    const char *figures; /* NULL: none */
    struct operand *curves;
    size_t n_curves;
};

/* NAME=FILE, or a bare FILE: a slash before the first '=' makes it part of the path. */
static struct operand parse_operand(char *text)
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

static void add_ood(struct settings *s, char *text)
{
    struct operand o = parse_operand(text);
    char *colon = o.name ? strchr(o.name, ':') : NULL;
    if (colon) {
        *colon = '\0';
        o.of = o.name;
        o.name = xstrdup(colon + 1);
        if (!*o.of || !*o.name)
            usage_error("--ood: '%s' is not [SET:]NAME=FILE", text);
    }
    s->oods = xreallocarray(s->oods, s->n_oods + 1, sizeof *s->oods);
    s->oods[s->n_oods++] = o;
}

static enum uncertainty_kind parse_kind(const char *text)
{
    for (int k = 0; k < N_UNCERTAINTIES; k++)
        if (!strcmp(text, uncertainty_name(k)))
            return k;
    usage_error("--abstain: '%s' is none of total, aleatoric, epistemic", text);
}

static struct settings read_options(int argc, char **argv)
{
    static const struct option table[] = {{"ood", required_argument, NULL, OOD},
                                          {"members", no_argument, NULL, MEMBERS},
                                          {"abstain", required_argument, NULL, ABSTAIN},
                                          {"bootstrap", required_argument, NULL, BOOTSTRAP},
                                          {"seed", required_argument, NULL, SEED},
                                          {"bins", required_argument, NULL, BINS},
                                          {"figures", required_argument, NULL, FIGURES},
                                          {"curve", required_argument, NULL, CURVE},
                                          {"json", no_argument, NULL, JSON},
                                          {"stream", no_argument, NULL, STREAM},
                                          COMMON_LONG};
    struct settings s = {.evaluation = {.bins = 10, .seed = 1}};
    int c;
    while ((c = next_option(argc, argv, COMMON_SHORT, table, &s.common)) != -1) {
        switch (c) {
        case OOD:
            add_ood(&s, optarg);
            break;
        case MEMBERS:
            s.evaluation.members = true;
            break;
        case ABSTAIN:
            s.abstention = true;
            s.abstain_by = parse_kind(optarg);
            break;
        case BOOTSTRAP:
            s.evaluation.replicates = (size_t)option_long("--bootstrap", optarg, 20, 10000000);
            break;
        case SEED:
            s.evaluation.seed = (uint64_t)option_long("--seed", optarg, 0, INT64_MAX);
            break;
        case BINS:
            s.evaluation.bins = (size_t)option_long("--bins", optarg, 1, 1000000);
            break;
        case FIGURES:
            s.figures = optarg;
            break;
        case CURVE:
            s.curves = xreallocarray(s.curves, s.n_curves + 1, sizeof *s.curves);
            s.curves[s.n_curves++] = parse_operand(optarg);
            break;
        case JSON:
            s.json = true;
            break;
        case STREAM:
            s.stream = true;
            break;
        }
    }
    if (s.json && s.stream)
        usage_error("--json and --stream are two kinds of output; choose one");
    if (s.n_curves && !s.figures)
        usage_error("--curve draws a figure; say where with --figures");
    if (s.common.compress && !s.stream)
        usage_error("only --stream output is compressed; add --stream or leave out -z and .zst");
    return s;
}

/* ---- the sets ---- */

static void check_name(const struct prediction_set *const *sets, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(sets[i]->name, name))
            usage_error("two sets are named '%s'; name them apart with NAME=FILE", name);
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
        struct prediction_set *set = prediction_set_read(o.name, o.file, s->evaluation.members);
        check_name((const struct prediction_set *const *)sets, i, set->name);
        if (i > 0)
            prediction_sets_align(sets[0], set);
        sets[i] = set;
        free(o.name);
    }
    free(labelled_rows(sets[0], &labels));
    if (labels == 0 && s->n_oods == 0)
        die(EX_DATAERR, "%s: no prediction has a label; metrics need the labels of the texts",
            sets[0]->file);
    if (labels < sets[0]->n)
        warn("%zu of %zu texts have no label; metrics leave them out", sets[0]->n - labels,
             sets[0]->n);
    return sets;
}

static bool same_model(const json_t *a, const json_t *b)
{
    static const char *const keys[] = {"model", "head", "adapter", "weights"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *x = json_object_get(a, keys[i]), *y = json_object_get(b, keys[i]);
        if (x != y && !(x && y && json_equal(x, y)))
            return false;
    }
    return true;
}

/* The set an out-of-distribution set is compared with: the one named, or the last one whose header
 * says that the same model made it. */
static const struct prediction_set *partner(const struct evaluation_settings *e,
                                            const struct operand *o,
                                            const struct prediction_set *ood)
{
    const struct prediction_set *found = NULL;
    for (size_t i = 0; i < e->n_sets; i++)
        if (o->of ? !strcmp(e->sets[i]->name, o->of) : same_model(e->sets[i]->header, ood->header))
            found = e->sets[i];
    if (!found && o->of)
        usage_error("--ood: no set is named '%s'", o->of);
    if (!found)
        die(EX_DATAERR,
            "%s: made by another model, head or adapter than every set it could be compared with; "
            "give --ood the same model's predictions, or name the set as in SET:NAME=FILE",
            ood->file);
    if (found->n_classes != ood->n_classes)
        warn("%s has %zu classes and %s %zu: their uncertainties differ in scale", ood->file,
             ood->n_classes, found->file, found->n_classes);
    return found;
}

static struct ood_set *read_oods(const struct settings *s, const struct evaluation_settings *e)
{
    struct ood_set *oods = xcalloc(s->n_oods, sizeof *oods);
    for (size_t i = 0; i < s->n_oods; i++) {
        struct operand *o = &s->oods[i];
        oods[i].set = prediction_set_read(o->name, o->file, false);
        oods[i].of = partner(e, o, oods[i].set);
        for (size_t j = 0; j < i; j++)
            if (oods[j].of == oods[i].of && !strcmp(oods[j].set->name, oods[i].set->name))
                usage_error("two out-of-distribution sets of '%s' are named '%s'", oods[i].of->name,
                            oods[i].set->name);
        free(o->of);
        free(o->name);
    }
    return oods;
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
        json_dumpf(all, outfile_stream(f), JSON_INDENT(2) | JSON_REAL_PRECISION(17));
        putc('\n', outfile_stream(f));
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

static void draw_curves(struct settings *s)
{
    struct training_log *logs = xcalloc(s->n_curves, sizeof *logs);
    for (size_t i = 0; i < s->n_curves; i++)
        logs[i] = training_log_read(s->curves[i].name, s->curves[i].file);
    if (s->n_curves)
        draw_training(s->figures, logs, s->n_curves);
    for (size_t i = 0; i < s->n_curves; i++)
        training_log_free(&logs[i]);
    free(logs);
    free(s->curves);
}

int main(int argc, char **argv)
{
    program_start(&program, argc, argv);
    struct settings s = read_options(argc, argv);
    struct evaluation_settings *e = &s.evaluation;
    if (s.figures)
        gnuplot_prepare(s.figures);
    draw_curves(&s);
    if (s.n_curves && argc == optind)
        return EX_OK; /* training logs alone, no predictions */
    e->n_sets = argc > optind ? (size_t)(argc - optind) : 1;
    e->sets = read_sets(&s, argv + optind, (size_t)(argc - optind));
    struct ood_set *oods = read_oods(&s, e);
    e->oods = oods;
    e->n_oods = s.n_oods;
    struct report r = {.settings = e, .abstention = s.abstention, .abstain_by = s.abstain_by};
    struct result *results = evaluate(e, &r.n_results);
    r.results = results;
    if (s.figures)
        draw(&s, &r);
    if (s.stream)
        write_stream(&s, &r, argc, argv);
    else
        write_text(&s, &r);
    unsigned long read = 0;
    for (size_t i = 0; i < e->n_sets; i++)
        read += e->sets[i]->n;
    closing_count(read, r.n_results, 0);
    results_free(results, r.n_results);
    for (size_t i = 0; i < s.n_oods; i++)
        prediction_set_free(oods[i].set);
    for (size_t i = 0; i < e->n_sets; i++)
        prediction_set_free(e->sets[i]);
    free(oods);
    free(s.oods);
    free(e->sets);
}
