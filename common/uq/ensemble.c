#include "common/uq/ensemble.h"

#include "common/stream/asked.h"
#include "common/stream/header.h"
#include "common/stream/id_index.h"
#include "common/uq/validation.h"
#include "common/util/diag.h"
#include "common/util/digest.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- weights ---- */

static void check_same_setting(const char *path, const json_t *fitted,
                               const struct stream_reader *scores, bool other_task)
{
    const char *key = header_difference(fitted, stream_header(scores),
                                        other_task ? HEADER_OTHER_TASK : HEADER_WEIGHTS);
    if (key)
        die(EX_DATAERR,
            "%s: fitted on scores with another '%s' than those of %s; fit weights on scores of "
            "the same %sprompts and model",
            path, key, stream_name(scores), other_task ? "" : "task, ");
}

/* A prompt's weight is that of the instruction that it was asked by. */
static void check_instruction(const struct stream_reader *r, const struct stream_reader *scores,
                              int prompt)
{
    const json_t *then =
        asked_instruction(json_object_get(stream_header(r), "asked"), (size_t)prompt);
    const json_t *now =
        asked_instruction(json_object_get(stream_header(scores), "asked"), (size_t)prompt);
    if (then && now && !json_equal(then, now))
        stream_bad_record(r, NULL,
                          "the weight of prompt %d, which was the instruction '%s'; in %s it is "
                          "'%s'; fit weights on scores of the same prompts",
                          prompt, json_string_value(then), stream_name(scores),
                          json_string_value(now));
}

static double *copied(const double *numbers, size_t n)
{
    double *copy = xreallocarray(NULL, n, sizeof *copy);
    memcpy(copy, numbers, n * sizeof *copy);
    return copy;
}

/* Puts x where the prompts stay ascending. */
static void insert(struct prompt_weights *w, struct stream_reader *r, const struct prompt_weight *x)
{
    w->prompts = xreallocarray(w->prompts, w->count + 1, sizeof *w->prompts);
    w->values = xreallocarray(w->values, w->count + 1, sizeof *w->values);
    w->calibrations = xreallocarray(w->calibrations, w->count + 1, sizeof *w->calibrations);
    size_t at = w->count++;
    for (; at > 0 && w->prompts[at - 1] >= x->prompt; at--) {
        if (w->prompts[at - 1] == x->prompt)
            stream_bad_record(r, NULL, "prompt %d appears twice", x->prompt);
        w->prompts[at] = w->prompts[at - 1];
        w->values[at] = w->values[at - 1];
        w->calibrations[at] = w->calibrations[at - 1];
    }
    w->prompts[at] = x->prompt;
    w->values[at] = x->weight;
    w->calibrations[at] = (struct calibration){x->scale > 0 ? x->scale : 1,
                                               x->bias ? copied(x->bias, x->n_classes) : NULL};
}

struct prompt_weights prompt_weights_read(const char *path, const struct stream_reader *scores,
                                          bool other_task)
{
    struct stream_reader *r = stream_open(path, "weights");
    check_same_setting(path, stream_header(r), scores, other_task);
    struct prompt_weights w = {.made_for = json_object()};
    header_copy_task(w.made_for, stream_header(r));
    struct prompt_weight x;
    double sum = 0;
    bool calibrated = false;
    while (weight_read(r, &x)) {
        if (x.bias && w.n_classes && x.n_classes != w.n_classes)
            stream_bad_record(r, NULL, "field 'bias' has %zu numbers where others have %zu",
                              x.n_classes, w.n_classes);
        if (x.bias)
            w.n_classes = x.n_classes;
        if (!other_task)
            check_instruction(r, scores, x.prompt);
        insert(&w, r, &x);
        calibrated = calibrated || x.bias || x.scale > 0;
        sum += x.weight;
    }
    if (!(fabs(sum - 1) <= 1e-6))
        die(EX_DATAERR, "%s: the %zu weights sum to %g, not 1", path, w.count, sum);
    if (other_task && w.n_classes)
        die(EX_DATAERR,
            "%s: its calibrations have a bias for each class of their own task: --other-task takes "
            "weights without",
            path);
    if (!calibrated) {
        free(w.calibrations);
        w.calibrations = NULL;
    }
    w.fitted_on = fitted_on_read(stream_header(r), path);
    w.selected = json_object_get(json_object_get(stream_header(r), "fit"), "top") != NULL;
    stream_close(r);
    return w;
}

void prompt_weights_free(struct prompt_weights *w)
{
    for (size_t i = 0; w->calibrations && i < w->count; i++)
        free((double *)w->calibrations[i].bias);
    free(w->calibrations);
    free(w->prompts);
    free(w->values);
    fitted_on_free(&w->fitted_on);
    json_decref(w->made_for);
    *w = (struct prompt_weights){0};
}

bool prompt_weights_digest(const struct prompt_weights *w, char digest[DIGEST_SIZE])
{
    if (!w->calibrations && !w->selected)
        return false;
    XXH64_state_t *state = digest_new();
    XXH64_update(state, w->prompts, w->count * sizeof *w->prompts);
    XXH64_update(state, w->values, w->count * sizeof *w->values);
    for (size_t i = 0; w->calibrations && i < w->count; i++) {
        const struct calibration *c = &w->calibrations[i];
        XXH64_update(state, &c->scale, sizeof c->scale);
        if (c->bias)
            XXH64_update(state, c->bias, w->n_classes * sizeof *c->bias);
    }
    digest_text(XXH64_digest(state), digest);
    XXH64_freeState(state);
    return true;
}

/* ---- text by text ---- */

struct gathered {
    int label;
    size_t missing;  /* members not yet there */
    double *members; /* NULL once handed out; NAN in the first class where a member is missing */
};

struct ensemble {
    struct stream_reader *r;
    const struct prompt_weights *weights;
    struct id_index *ids;
    struct gathered *texts; /* by number of the id */
    size_t capacity, n_classes;
    size_t next; /* the first text not yet handed out */
    double *current;
    unsigned long records, not_number, skipped, fitted_on;
};

struct ensemble *ensemble_open(struct stream_reader *r, const struct prompt_weights *weights)
{
    struct ensemble *e = xcalloc(1, sizeof *e);
    e->r = r;
    e->weights = weights;
    e->ids = id_index_new();
    return e;
}

/* The number of members where the prompt is none. */
static size_t member_of(const struct ensemble *e, const struct scores *s)
{
    for (size_t m = 0; m < e->weights->count; m++)
        if (e->weights->prompts[m] == s->prompt)
            return m;
    if (!e->weights->selected)
        stream_bad_record(e->r, s->id, "prompt %d has no weight", s->prompt);
    return e->weights->count;
}

static struct gathered *text_of(struct ensemble *e, const struct scores *s)
{
    bool added;
    size_t number = id_index_add(e->ids, s->id, &added), members = e->weights->count;
    if (number >= e->capacity) {
        e->capacity = e->capacity ? 2 * e->capacity : 64;
        e->texts = xreallocarray(e->texts, e->capacity, sizeof *e->texts);
    }
    struct gathered *t = &e->texts[number];
    if (added) {
        *t = (struct gathered){s->label, members,
                               xreallocarray(NULL, members * e->n_classes, sizeof(double))};
        for (size_t m = 0; m < members; m++)
            t->members[m * e->n_classes] = NAN;
    }
    return t;
}

static void gather(struct ensemble *e, const struct scores *s)
{
    e->records++;
    if (e->n_classes == 0)
        e->n_classes = s->n_classes;
    if (s->n_classes != e->n_classes)
        stream_bad_record(e->r, s->id, "%zu class scores where other records have %zu",
                          s->n_classes, e->n_classes);
    if (e->weights->n_classes && s->n_classes != e->weights->n_classes)
        stream_bad_record(e->r, s->id, "%zu class scores, but the weights are for %zu",
                          s->n_classes, e->weights->n_classes);
    if (s->label != NO_LABEL && (size_t)s->label >= s->n_classes)
        stream_bad_record(e->r, s->id, "label %d, but there are %zu classes", s->label,
                          s->n_classes);
    size_t m = member_of(e, s);
    struct gathered *t = text_of(e, s);
    validation_check_label(e->r, s, t->label);
    if (m == e->weights->count) {
        e->skipped++;
        return;
    }
    if (m == 0)
        e->fitted_on += fitted_on_holds(&e->weights->fitted_on, s->id, s->logits, e->n_classes);
    /* A text that was handed out had every member. */
    double *probs = t->members ? t->members + m * e->n_classes : NULL;
    if (!probs || !isnan(probs[0]))
        stream_bad_record(e->r, s->id, "prompt %d has two scores; was a part joined twice?",
                          s->prompt);
    e->not_number +=
        !class_probabilities(s->logits, e->n_classes,
                             e->weights->calibrations ? &e->weights->calibrations[m] : NULL, probs);
    t->missing--;
}

static _Noreturn void incomplete(const struct ensemble *e)
{
    const struct gathered *t = &e->texts[e->next];
    size_t m = 0;
    while (!isnan(t->members[m * e->n_classes]))
        m++;
    die(EX_DATAERR, "%s: id %s: prompt %d has no scores; an ensemble needs every prompt's",
        stream_name(e->r), id_index_name(e->ids, e->next), e->weights->prompts[m]);
}

bool ensemble_next(struct ensemble *e, struct ensemble_text *text)
{
    free(e->current);
    e->current = NULL;
    struct scores s;
    while (e->next == id_index_count(e->ids) || e->texts[e->next].missing) {
        if (!scores_read(e->r, &s)) {
            if (e->next < id_index_count(e->ids))
                incomplete(e);
            return false;
        }
        gather(e, &s);
    }
    struct gathered *t = &e->texts[e->next];
    e->current = t->members;
    t->members = NULL;
    *text =
        (struct ensemble_text){id_index_name(e->ids, e->next), t->label, e->current, e->n_classes};
    e->next++;
    return true;
}

unsigned long ensemble_records(const struct ensemble *e)
{
    return e->records;
}

unsigned long ensemble_not_number(const struct ensemble *e)
{
    return e->not_number;
}

unsigned long ensemble_fitted_on(const struct ensemble *e)
{
    return e->fitted_on;
}

unsigned long ensemble_skipped(const struct ensemble *e)
{
    return e->skipped;
}

void ensemble_close(struct ensemble *e)
{
    for (size_t i = e->next; i < id_index_count(e->ids); i++)
        free(e->texts[i].members);
    free(e->current);
    free(e->texts);
    id_index_free(e->ids);
    free(e);
}
