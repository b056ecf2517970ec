#include "common/uq/fit_header.h"

static const char *calibration_name(enum calibration_kind kind)
{
    static const char *const names[] = {[CALIBRATE_NONE] = "none",
                                        [CALIBRATE_SCALE] = "scale",
                                        [CALIBRATE_BIAS] = "bias",
                                        [CALIBRATE_SCALE_BIAS] = "scale+bias"};
    return names[kind];
}

static json_t *trace_json(const struct fit_step *steps, size_t n)
{
    json_t *trace = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(trace, json_pack("{s:i, s:f, s:f}", "iteration", (int)i, "objective",
                                               steps[i].objective, "gap", steps[i].gap));
    return trace;
}

static json_t *grid_json(const struct strength_choice *choice)
{
    json_t *grid = json_array();
    for (size_t i = 0; i < N_STRENGTHS; i++)
        json_array_append_new(
            grid, json_pack("{s:f, s:f}", "penalty", strength_at(i), "nll", choice->nll[i]));
    return grid;
}

static json_t *calibration_json(const struct ensemble_settings *s, const struct ensemble_fit *f,
                                size_t n_texts)
{
    json_t *prompts = json_array();
    for (size_t i = 0; i < f->n_members; i++) {
        const struct calibration_fit *m = &f->members[i];
        json_array_append_new(
            prompts, json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:o}", "prompt", (json_int_t)i,
                               "texts", (json_int_t)(n_texts - m->left_out), "nll_before",
                               m->before, "nll_after", m->after, "optimum", m->optimum, "gap",
                               m->gap, "trace", trace_json(m->trace, m->n_trace)));
    }
    json_t *j = json_pack("{s:s, s:f, s:I}", "kind", calibration_name(s->calibrate), "penalty",
                          f->choice.strength, "folds", (json_int_t)f->choice.folds);
    if (f->choice.folds)
        json_object_set_new(j, "cross_validation", grid_json(&f->choice));
    json_object_set_new(j, "prompts", prompts);
    return j;
}

static json_t *selection_json(const struct ensemble_fit *f)
{
    json_t *steps = json_array();
    for (size_t i = 0; i < f->n_prompts; i++)
        json_array_append_new(steps,
                              json_pack("{s:I, s:f}", "prompt", (json_int_t)f->selection[i].prompt,
                                        "objective", f->selection[i].objective));
    return steps;
}

json_t *fit_header(const struct ensemble_settings *s, const struct ensemble_fit *f, size_t n_texts)
{
    const struct weight_fit *w = &f->weights;
    json_t *j = json_pack("{s:s, s:s, s:f, s:I, s:f, s:f, s:I, s:o}", "objective",
                          s->objective == OBJECTIVE_PAPER ? "paper" : "published", "solver",
                          "optimum", "entropy_weight", s->entropy_weight, "texts",
                          (json_int_t)n_texts, "optimum", w->optimum, "gap", w->gap, "iterations",
                          (json_int_t)w->n_trace - 1, "trace", trace_json(w->trace, w->n_trace));
    if (f->members)
        json_object_set_new(j, "calibration", calibration_json(s, f, n_texts));
    if (f->selection)
        json_object_set_new(j, "top", selection_json(f));
    return j;
}

json_t *published_fit_header(double entropy_weight, const struct published_weights *w,
                             double optimum, size_t n_texts)
{
    return json_pack("{s:s, s:s, s:f, s:I, s:f, s:f, s:I, s:f}", "objective", "published", "solver",
                     "published", "entropy_weight", entropy_weight, "texts", (json_int_t)n_texts,
                     "value", w->objective, "optimum", optimum, "evaluations",
                     (json_int_t)w->evaluations, "rate", w->rate);
}

json_t *held_out_header(const struct held_out *h)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < h->n_rows; i++)
        json_array_append_new(rows,
                              json_pack("{s:s, s:f, s:f}", "ensemble", h->rows[i].ensemble, "nll",
                                        h->rows[i].nll, "accuracy", h->rows[i].accuracy));
    return json_pack("{s:I, s:I, s:o}", "folds", (json_int_t)h->folds, "texts",
                     (json_int_t)h->n_texts, "ensembles", rows);
}
