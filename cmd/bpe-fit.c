/* bpe-fit: scores to the weights of a Bayesian prompt ensemble, and to its predictions. */
#include "common/math/dirichlet.h"
#include "common/uq/ensemble.h"
#include "common/uq/prompt_weights.h"
#include "common/uq/validation.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/options.h"
#include "common/util/progress.h"

#include <stdlib.h>
#include <string.h>

struct settings {
    struct common_options common;
    enum objective objective;
    double entropy_weight, tolerance;
    bool uniform;
    bool fit_options;  /* any of those was given */
    const char *apply; /* NULL: fit */
};

static const struct option_choice objectives[] = {
    {"paper", OBJECTIVE_PAPER}, {"published", OBJECTIVE_PUBLISHED}, {0}};

static const struct option_row rows[] = {
    {"objective", 0, "NAME", "'paper' (-sum w log w, the default) or 'published' (-sum w exp w)",
     OPTION_CHOICE(enum objective, struct settings, objective, objectives),
     OPTION_GIVEN(struct settings, fit_options)},
    {"entropy-weight", 0, "X", "weight of that term (0.1)",
     OPTION_REAL(struct settings, entropy_weight, 0, 1e6),
     OPTION_GIVEN(struct settings, fit_options)},
    {"tolerance", 0, "X", "how far below the optimum, at most (1e-8)",
     OPTION_REAL(struct settings, tolerance, 1e-14, 1), OPTION_GIVEN(struct settings, fit_options)},
    {"uniform", 0, NULL, "equal weights, nothing fitted: labels are not needed",
     OPTION_SET(struct settings, uniform), OPTION_GIVEN(struct settings, fit_options)},
    {"apply", 0, "FILE", "weights made by bpe-fit", OPTION_TEXT(struct settings, apply)},
    OPTIONS_END};

static const struct program program = {
    .name = "bpe-fit",
    .about =
        "usage: bpe-fit [--objective paper|published] [-o FILE] [FILE ...]\n"
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

static json_t *describe_fit(const struct settings *s, const struct validation *v,
                            const struct weight_fit *fit)
{
    json_t *trace = json_array();
    for (size_t i = 0; i < fit->n_trace; i++)
        json_array_append_new(trace, json_pack("{s:i, s:f, s:f}", "iteration", (int)i, "objective",
                                               fit->trace[i].objective, "gap", fit->trace[i].gap));
    return json_pack("{s:s, s:f, s:I, s:f, s:f, s:I, s:o}", "objective",
                     s->objective == OBJECTIVE_PAPER ? "paper" : "published", "entropy_weight",
                     s->entropy_weight, "texts", (json_int_t)v->n_texts, "optimum", fit->optimum,
                     "gap", fit->gap, "iterations", (json_int_t)fit->n_trace - 1, "trace", trace);
}

static void write_weights(const struct settings *s, json_t *header, const double *weights, size_t n)
{
    struct stream_writer *w = stream_create(s->common.output, s->common.compress, header);
    for (size_t i = 0; i < n; i++)
        weight_write(w, &(struct prompt_weight){.prompt = (int)i,
                                                .weight = weights ? weights[i] : 1 / (double)n});
    stream_finish(w);
}

static void fit(const struct settings *s, struct stream_reader *r, int argc, char **argv)
{
    struct validation v = validation_read(r, !s->uniform);
    closing_count(v.records, v.n_prompts, 0);
    json_t *header = stream_header_from(stream_header(r), "weights", argc, argv);
    if (s->uniform) {
        json_object_set_new(header, "fit", json_pack("{s:s}", "objective", "uniform"));
        write_weights(s, header, NULL, v.n_prompts);
    } else {
        warn_not_number(v.not_number);
        double *p = label_probabilities(&v, NULL);
        struct weight_fit f = fit_prompt_weights(p, v.n_texts, v.n_prompts, s->objective,
                                                 s->entropy_weight, s->tolerance);
        if (f.gap > s->tolerance)
            die(EX_SOFTWARE,
                "%s: the optimum was reached to %.3g only; ask for no more with --tolerance",
                stream_name(r), f.gap);
        inform("%zu texts, %zu prompts: optimum %.9g, gap %.2g after %zu iterations", v.n_texts,
               v.n_prompts, f.optimum, f.gap, f.n_trace - 1);
        json_object_set_new(header, "fit", describe_fit(s, &v, &f));
        write_weights(s, header, f.weights, v.n_prompts);
        weight_fit_free(&f);
        free(p);
    }
    validation_free(&v);
}

/* ---- predictions ---- */

static json_t *prediction_header(const struct stream_reader *r, const struct prompt_weights *w,
                                 int argc, char **argv)
{
    json_t *header = stream_header_from(stream_header(r), "prediction", argc, argv);
    json_object_set_new(header, "head", json_string("ensemble"));
    json_t *weights = json_array();
    for (size_t i = 0; i < w->count; i++)
        json_array_append_new(weights, json_real(w->values[i]));
    json_object_set_new(header, "weights", weights);
    return header;
}

static void apply(const struct settings *s, struct stream_reader *r, int argc, char **argv)
{
    struct prompt_weights weights = prompt_weights_read(s->apply, r);
    struct stream_writer *w = stream_create(s->common.output, s->common.compress,
                                            prediction_header(r, &weights, argc, argv));
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
    closing_count(ensemble_records(e), stream_written(w), ensemble_skipped(e));
    stream_finish(w);
    free(probs);
    ensemble_close(e);
    prompt_weights_free(&weights);
}

int main(int argc, char **argv)
{
    struct settings s = {.entropy_weight = 0.1, .tolerance = 1e-8};
    program_start(&program, argc, argv);
    int first = options_parse(&program, rows, argc, argv, &s.common);
    if (s.apply && s.fit_options)
        usage_error("--apply takes weights that are fitted already: fitting options have no place");
    struct stream_reader *r = stream_open_all(argv + first, argc - first, "scores");
    if (s.apply)
        apply(&s, r, argc, argv);
    else
        fit(&s, r, argc, argv);
    stream_close(r);
}
