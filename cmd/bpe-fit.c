/* bpe-fit: scores to the weights of a Bayesian prompt ensemble, and to its predictions. */
#include "common/math/dirichlet.h"
#include "common/uq/ensemble.h"
#include "common/uq/fit_header.h"
#include "common/uq/published_solver.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/options.h"
#include "common/util/progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum solver { SOLVER_OPTIMUM, SOLVER_PUBLISHED };

struct settings {
    struct common_options common;
    enum objective objective;
    enum solver solver;
    double entropy_weight, tolerance;
    enum calibration_kind calibrate;
    double penalty; /* 0: by cross-validation */
    unsigned long top;
    bool held_out, uniform;
    bool objective_given;
    bool fit_options;     /* another of those was given */
    bool optimum_options; /* or one that the published solver has no place for */
    bool other_task;
    const char *apply; /* NULL: fit */
};

static const struct option_choice objectives[] = {
    {"paper", OBJECTIVE_PAPER}, {"published", OBJECTIVE_PUBLISHED}, {0}};

static const struct option_choice solvers[] = {
    {"optimum", SOLVER_OPTIMUM}, {"published", SOLVER_PUBLISHED}, {0}};

static const struct option_choice calibrations[] = {{"none", CALIBRATE_NONE},
                                                    {"scale", CALIBRATE_SCALE},
                                                    {"bias", CALIBRATE_BIAS},
                                                    {"scale+bias", CALIBRATE_SCALE_BIAS},
                                                    {0}};

static const struct option_row rows[] = {
    {"objective", 0, "NAME", "'paper' (-sum w log w, the default) or 'published' (-sum w exp w)",
     OPTION_CHOICE(enum objective, struct settings, objective, objectives),
     OPTION_GIVEN(struct settings, objective_given)},
    {"solver", 0, "NAME",
     "'optimum' (the default) or 'published': the published code's steps,\n"
     "which stop short of its objective's optimum",
     OPTION_CHOICE(enum solver, struct settings, solver, solvers),
     OPTION_GIVEN(struct settings, fit_options)},
    {"entropy-weight", 0, "X", "weight of that term (0.1)",
     OPTION_REAL(struct settings, entropy_weight, 0, 1e6),
     OPTION_GIVEN(struct settings, fit_options)},
    {"tolerance", 0, "X", "how far below the optimum, at most (1e-8)",
     OPTION_REAL(struct settings, tolerance, 1e-14, 1),
     OPTION_GIVEN(struct settings, optimum_options)},
    {"calibrate", 0, "KIND", "calibrate each prompt first: none (default), scale, bias, scale+bias",
     OPTION_CHOICE(enum calibration_kind, struct settings, calibrate, calibrations),
     OPTION_GIVEN(struct settings, optimum_options)},
    {"penalty", 0, "X", "how strongly calibrations are held back (by cross-validation)",
     OPTION_REAL(struct settings, penalty, 1e-12, 1e6),
     OPTION_GIVEN(struct settings, optimum_options)},
    {"top", 0, "K", "keep the K prompts that serve best together",
     OPTION_WHOLE(struct settings, top, 1, 1000000),
     OPTION_GIVEN(struct settings, optimum_options)},
    {"held-out", 0, NULL, "report what the fit does to texts left out, by cross-validation",
     OPTION_SET(struct settings, held_out), OPTION_GIVEN(struct settings, optimum_options)},
    {"uniform", 0, NULL, "equal weights, nothing fitted: labels are not needed",
     OPTION_SET(struct settings, uniform)},
    {"apply", 0, "FILE", "weights made by bpe-fit", OPTION_TEXT(struct settings, apply)},
    {"other-task", 0, NULL, "which were fitted on another task's scores",
     OPTION_SET(struct settings, other_task)},
    OPTIONS_END};

static const struct program program = {
    .name = "bpe-fit",
    .about =
        "usage: bpe-fit [--objective paper|published] [--calibrate KIND] [--top K] [--held-out]\n"
        "               [-o FILE] [FILE ...]\n"
        "       bpe-fit --solver published [-o FILE] [FILE ...]\n"
        "       bpe-fit --apply WEIGHTS [-o FILE] [FILE ...]\n"
        "Fits the weights of a prompt ensemble to the scores of labelled validation texts; with\n"
        "--apply, turns scores into the ensemble's predictions.\n"
        "\n"
        "  lm-score --model $M val.tokens.mp | bpe-fit >weights.mp\n"
        "  lm-score --model $M test.tokens.mp | bpe-fit --apply weights.mp >teacher.test.mp\n"
        "\n",
    .rows = rows,
    .name_column = 6,
    .help_column = 28};

static void warn_not_number(unsigned long n)
{
    if (n)
        warn("%lu records have scores that are not numbers; taken as uniform", n);
}

/* ---- fitting ---- */

static struct ensemble_settings ensemble_settings(const struct settings *s)
{
    return (struct ensemble_settings){.objective = s->objective,
                                      .entropy_weight = s->entropy_weight,
                                      .tolerance = s->tolerance,
                                      .calibrate = s->calibrate,
                                      .strength = s->penalty,
                                      .top = s->top};
}

static void write_prompt_weights(const struct settings *s, json_t *header, const double *weights,
                                 size_t n)
{
    struct stream_writer *w = stream_create(s->common.output, s->common.compress, header);
    for (size_t i = 0; i < n; i++)
        weight_write(w, &(struct prompt_weight){.prompt = (int)i, .weight = weights[i]});
    stream_finish(w);
}

static void write_uniform(const struct settings *s, json_t *header, size_t n)
{
    double *weights = xcalloc(n, sizeof *weights);
    for (size_t i = 0; i < n; i++)
        weights[i] = 1 / (double)n;
    json_object_set_new(header, "fit", json_pack("{s:s}", "objective", "uniform"));
    write_prompt_weights(s, header, weights, n);
    free(weights);
}

static void write_weights(const struct settings *s, json_t *header, const struct ensemble_fit *f,
                          size_t n_classes)
{
    struct stream_writer *w = stream_create(s->common.output, s->common.compress, header);
    for (size_t i = 0; i < f->n_prompts; i++) {
        struct prompt_weight x = {.prompt = (int)f->prompts[i], .weight = f->weights.weights[i]};
        if (s->calibrate & CALIBRATE_SCALE)
            x.scale = f->calibrations[i].scale;
        if (s->calibrate & CALIBRATE_BIAS) {
            x.bias = f->calibrations[i].bias;
            x.n_classes = n_classes;
        }
        weight_write(w, &x);
    }
    stream_finish(w);
}

/* What the set must have for the options. */
static void check_set(const struct settings *s, const struct stream_reader *r,
                      const struct validation *v)
{
    if (s->top > v->n_prompts)
        die(EX_DATAERR, "%s: --top %lu, but there are %zu prompts", stream_name(r), s->top,
            v->n_prompts);
    if (s->held_out && v->n_texts < 2)
        die(EX_DATAERR, "%s: one text cannot be left out: --held-out needs two at least",
            stream_name(r));
    bool one_class = true;
    for (size_t n = 1; n < v->n_texts; n++)
        one_class = one_class && v->labels[n] == v->labels[0];
    if (one_class && s->calibrate != CALIBRATE_NONE)
        warn("%s: every text has the label %d: calibrated prompts will lean that way",
             stream_name(r), v->labels[0]);
}

static void check_gaps(const struct settings *s, const struct stream_reader *r,
                       const struct ensemble_fit *f)
{
    if (f->weights.gap > s->tolerance)
        die(EX_SOFTWARE,
            "%s: the optimum was reached to %.3g only; ask for no more with --tolerance",
            stream_name(r), f->weights.gap);
    for (size_t i = 0; i < f->n_members; i++)
        if (!(f->members[i].gap <= CALIBRATION_GAP))
            die(EX_SOFTWARE,
                "%s: prompt %zu: the optimum of its calibration was reached to %.3g only; ask for "
                "a stronger --penalty",
                stream_name(r), i, f->members[i].gap);
}

static void inform_of_fit(const struct ensemble_fit *f, const struct validation *v)
{
    if (f->members)
        inform("calibrated with a penalty of %g (%zu folds)", f->choice.strength, f->choice.folds);
    inform("%zu texts, %zu prompts: optimum %.9g, gap %.2g after %zu iterations", v->n_texts,
           f->n_prompts, f->weights.optimum, f->weights.gap, f->weights.n_trace - 1);
}

static void report_held_out(json_t *header, const struct validation *v,
                            const struct ensemble_settings *e)
{
    struct held_out h = held_out_measure(v, e);
    json_object_set_new(header, "held_out", held_out_header(&h));
    if (verbosity > QUIET)
        held_out_table(&h, stderr);
}

static void fit_set(const struct settings *s, const struct stream_reader *r, struct validation *v,
                    json_t *header)
{
    struct ensemble_settings e = ensemble_settings(s);
    warn_not_number(v->not_number);
    check_set(s, r, v);
    /* Without these options the sums run in the order of the records, as they always did. */
    if (s->calibrate != CALIBRATE_NONE || s->top)
        validation_sort(v);
    struct ensemble_fit f = ensemble_fit(v, &e);
    check_gaps(s, r, &f);
    inform_of_fit(&f, v);
    json_t *fit = fit_header(&e, &f, v->n_texts);
    json_object_set_new(fit, "fitted_on", fitted_on_json(v, f.prompts[0]));
    json_object_set_new(header, "fit", fit);
    if (s->held_out) {
        validation_sort(v);
        report_held_out(header, v, &e);
    }
    write_weights(s, header, &f, v->n_classes);
    ensemble_fit_free(&f);
}

static void inform_of_steps(const struct published_weights *w, double optimum,
                            const struct validation *v)
{
    inform("%zu texts, %zu prompts: the published steps end at %.9g, %.3g below the optimum %.9g, "
           "after %zu evaluations",
           v->n_texts, v->n_prompts, w->objective, optimum - w->objective, optimum, w->evaluations);
}

static void fit_as_published(const struct settings *s, const struct stream_reader *r,
                             struct validation *v, json_t *header)
{
    warn_not_number(v->not_number);
    double *p = label_probabilities(v, NULL);
    struct published_weights published;
    if (!published_prompt_weights(p, v->n_texts, v->n_prompts, s->entropy_weight, &published))
        die(EX_SOFTWARE, "%s: the published steps lead to no number; use --solver optimum",
            stream_name(r));
    struct weight_fit best = fit_prompt_weights(p, v->n_texts, v->n_prompts, OBJECTIVE_PUBLISHED,
                                                s->entropy_weight, s->tolerance);
    inform_of_steps(&published, best.optimum, v);
    json_t *fit = published_fit_header(s->entropy_weight, &published, best.optimum, v->n_texts);
    json_object_set_new(fit, "fitted_on", fitted_on_json(v, 0));
    json_object_set_new(header, "fit", fit);
    write_prompt_weights(s, header, published.weights, v->n_prompts);
    weight_fit_free(&best);
    published_weights_free(&published);
    free(p);
}

static void fit(const struct settings *s, struct stream_reader *r, int argc, char **argv)
{
    struct validation v = validation_read(r, !s->uniform);
    closing_count(v.records, s->uniform || !s->top ? v.n_prompts : s->top, 0);
    json_t *header = stream_header_from(stream_header(r), "weights", argc, argv);
    if (s->uniform)
        write_uniform(s, header, v.n_prompts);
    else if (s->solver == SOLVER_PUBLISHED)
        fit_as_published(s, r, &v, header);
    else
        fit_set(s, r, &v, header);
    validation_free(&v);
}

/* ---- predictions ---- */

static json_t *prediction_header(const struct stream_reader *r, const struct prompt_weights *w,
                                 bool other_task, int argc, char **argv)
{
    json_t *header = stream_header_from(stream_header(r), "prediction", argc, argv);
    json_object_set_new(header, "head", json_string("ensemble"));
    json_t *weights = json_array();
    for (size_t i = 0; i < w->count; i++)
        json_array_append_new(weights, json_real(w->values[i]));
    json_object_set_new(header, "weights", weights);
    char digest[24];
    if (prompt_weights_digest(w, digest))
        json_object_set_new(header, "ensemble", json_string(digest));
    if (other_task)
        json_object_set(header, "made_for", w->made_for);
    return header;
}

static void apply(const struct settings *s, struct stream_reader *r, int argc, char **argv)
{
    struct prompt_weights weights = prompt_weights_read(s->apply, r, s->other_task);
    struct stream_writer *w =
        stream_create(s->common.output, s->common.compress,
                      prediction_header(r, &weights, s->other_task, argc, argv));
    struct ensemble *e = ensemble_open(r, &weights);
    struct ensemble_text t;
    double *probs = NULL;
    progress_start("texts", 0);
    while (ensemble_next(e, &t)) {
        probs = xreallocarray(probs, t.n_classes, sizeof *probs);
        struct uncertainty u =
            ensemble_uncertainty(t.members, weights.values, weights.count, t.n_classes, probs);
        prediction_write(w, &(struct prediction){.id = t.id,
                                                 .label = t.label,
                                                 .probs = probs,
                                                 .n_classes = t.n_classes,
                                                 .members = t.members,
                                                 .n_members = weights.count,
                                                 .total = u.total,
                                                 .aleatoric = u.aleatoric,
                                                 .epistemic = u.epistemic});
        progress_update(stream_written(w));
    }
    progress_end();
    warn_not_number(ensemble_not_number(e));
    if (ensemble_fitted_on(e))
        warn("%lu of the %" PRIu64
             " texts are ones that %s was fitted on: how good the ensemble is "
             "on them says nothing of others",
             ensemble_fitted_on(e), (uint64_t)stream_written(w), s->apply);
    closing_count(ensemble_records(e), stream_written(w), ensemble_skipped(e));
    stream_finish(w);
    free(probs);
    ensemble_close(e);
    prompt_weights_free(&weights);
}

static void check_options(const struct settings *s)
{
    if (s->other_task && !s->apply)
        usage_error("--other-task goes with --apply");
    bool fits = s->objective_given || s->fit_options || s->optimum_options;
    if (s->apply && (fits || s->uniform))
        usage_error("--apply takes weights that are fitted already: fitting options have no place");
    if (s->uniform && fits)
        usage_error("--uniform fits nothing: --solver and the like have no place");
    if (s->penalty > 0 && !s->calibrate)
        usage_error("--penalty is that of --calibrate");
    if (s->solver != SOLVER_PUBLISHED)
        return;
    if (s->objective_given && s->objective != OBJECTIVE_PUBLISHED)
        usage_error("--solver published takes the steps towards --objective published, no other");
    if (s->optimum_options)
        usage_error("--solver published takes the published steps alone: --tolerance, --calibrate, "
                    "--penalty, --top and --held-out have no place");
}

int main(int argc, char **argv)
{
    struct settings s = {.entropy_weight = 0.1, .tolerance = 1e-8};
    program_start(&program, argc, argv);
    int first = options_parse(&program, rows, argc, argv, &s.common);
    check_options(&s);
    struct stream_reader *r = stream_open_all(argv + first, argc - first, "scores");
    if (s.apply)
        apply(&s, r, argc, argv);
    else
        fit(&s, r, argc, argv);
    stream_close(r);
}
