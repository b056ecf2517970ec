#include "common/uq/ensemble.h"

#include "common/stream/id_index.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double SMOOTHING = 1e-5;

bool class_probabilities(const float *logits, size_t n, double *probs)
{
    double max = -INFINITY, sum = 0;
    bool numbers = true;
    for (size_t c = 0; c < n; c++) {
        numbers = numbers && !isnan(logits[c]);
        max = fmax(max, logits[c]);
    }
    numbers = numbers && isfinite(max);
    for (size_t c = 0; numbers && c < n; c++)
        sum += probs[c] = exp(logits[c] - max);
    for (size_t c = 0; c < n; c++)
        probs[c] =
            numbers ? (probs[c] / sum + SMOOTHING) / (1 + (double)n * SMOOTHING) : 1 / (double)n;
    return numbers;
}

/* ---- weights ---- */

static void check_same_setting(const char *path, const json_t *fitted,
                               const struct stream_reader *scores)
{
    static const char *const keys[] = {"task",      "classes",      "prompts", "model",
                                       "tokenizer", "class_tokens", "adapter", NULL};
    const char *key = header_difference(fitted, stream_header(scores), keys);
    if (key)
        die(EX_DATAERR,
            "%s: fitted on scores with another '%s' than those of %s; fit weights on scores of "
            "the same task, prompts and model",
            path, key, stream_name(scores));
}

struct prompt_weights prompt_weights_read(const char *path, const struct stream_reader *scores)
{
    struct stream_reader *r = stream_open(path, "weights");
    check_same_setting(path, stream_header(r), scores);
    struct prompt_weights w = {0};
    struct prompt_weight x;
    double sum = 0;
    while (weight_read(r, &x)) {
        w.prompts = xreallocarray(w.prompts, w.count + 1, sizeof *w.prompts);
        w.values = xreallocarray(w.values, w.count + 1, sizeof *w.values);
        size_t at = w.count++;
        for (; at > 0 && w.prompts[at - 1] >= x.prompt; at--) {
            if (w.prompts[at - 1] == x.prompt)
                stream_bad_record(r, NULL, "prompt %d appears twice", x.prompt);
            w.prompts[at] = w.prompts[at - 1];
            w.values[at] = w.values[at - 1];
        }
        w.prompts[at] = x.prompt;
        w.values[at] = x.weight;
        sum += x.weight;
    }
    if (!(fabs(sum - 1) <= 1e-6))
        die(EX_DATAERR, "%s: the %zu weights sum to %g, not 1", path, w.count, sum);
    stream_close(r);
    return w;
}

void prompt_weights_free(struct prompt_weights *w)
{
    free(w->prompts);
    free(w->values);
    *w = (struct prompt_weights){0};
}

/* ---- all validation texts ---- */

struct entry {
    size_t text;
    int prompt;
    double p;
};

struct entries {
    struct entry *list;
    size_t count, capacity;
    int *labels; /* by text */
    size_t n_labels;
    int last_prompt;
};

static void add_entry(struct entries *e, struct entry entry)
{
    if (e->count == e->capacity) {
        e->capacity = e->capacity ? 2 * e->capacity : 1024;
        e->list = xreallocarray(e->list, e->capacity, sizeof *e->list);
    }
    e->list[e->count++] = entry;
    if (entry.prompt > e->last_prompt)
        e->last_prompt = entry.prompt;
}

static void check_label(struct stream_reader *r, const struct scores *s, int first)
{
    if (s->label != first)
        stream_bad_record(
            r, s->id, "the label at prompt %d is not that of the text's other prompts", s->prompt);
}

static size_t prompts_announced(const struct stream_reader *r)
{
    json_int_t n = json_integer_value(json_object_get(stream_header(r), "prompts"));
    return n > 0 ? (size_t)n : 0;
}

static void check_prompt(struct stream_reader *r, const struct scores *s, size_t n_prompts)
{
    if ((size_t)s->prompt >= n_prompts)
        stream_bad_record(r, s->id, "prompt %d, but the header announces %zu (0 to %zu)", s->prompt,
                          n_prompts, n_prompts - 1);
}

/* Puts the entries in their places; each must be there once. */
static double *arrange(const struct stream_reader *r, const struct entries *e,
                       const struct id_index *ids, size_t n_prompts)
{
    size_t n_texts = id_index_count(ids), n = n_texts * n_prompts;
    double *p = xreallocarray(NULL, n, sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = NAN;
    for (size_t i = 0; i < e->count; i++) {
        const struct entry *x = &e->list[i];
        double *place = &p[x->text * n_prompts + (size_t)x->prompt];
        if (!isnan(*place))
            die(EX_DATAERR, "%s: id %s: prompt %d has two scores; was a part joined twice?",
                stream_name(r), id_index_name(ids, x->text), x->prompt);
        *place = x->p;
    }
    for (size_t i = 0; i < n; i++)
        if (isnan(p[i]))
            die(EX_DATAERR,
                "%s: id %s: prompt %zu of %zu has no scores; weights need every prompt's scores "
                "for "
                "every text",
                stream_name(r), id_index_name(ids, i / n_prompts), i % n_prompts, n_prompts);
    return p;
}

struct label_probabilities label_probabilities_read(struct stream_reader *r, bool labelled)
{
    struct label_probabilities l = {0};
    struct entries e = {.last_prompt = -1};
    struct id_index *ids = id_index_new();
    struct scores s;
    size_t announced = prompts_announced(r);
    double *probs = NULL;
    while (scores_read(r, &s)) {
        l.records++;
        if (announced)
            check_prompt(r, &s, announced);
        if (labelled && s.label == NO_LABEL)
            stream_bad_record(r, s.id, "no label; weights are fitted on labelled texts");
        if (labelled && (size_t)s.label >= s.n_classes)
            stream_bad_record(r, s.id, "label %d, but there are %zu classes", s.label, s.n_classes);
        bool added;
        size_t text = id_index_add(ids, s.id, &added);
        if (added) {
            e.labels = xreallocarray(e.labels, text + 1, sizeof *e.labels);
            e.labels[text] = s.label;
        }
        check_label(r, &s, e.labels[text]);
        probs = xreallocarray(probs, s.n_classes, sizeof *probs);
        l.not_number += !class_probabilities(s.logits, s.n_classes, probs);
        add_entry(&e, (struct entry){text, s.prompt, labelled ? probs[s.label] : 0});
    }
    l.n_texts = id_index_count(ids);
    l.n_prompts = announced ? announced : (size_t)(e.last_prompt + 1);
    l.p = arrange(r, &e, ids, l.n_prompts);
    free(probs);
    free(e.list);
    free(e.labels);
    id_index_free(ids);
    return l;
}

void label_probabilities_free(struct label_probabilities *l)
{
    free(l->p);
    *l = (struct label_probabilities){0};
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
    unsigned long records, not_number;
};

struct ensemble *ensemble_open(struct stream_reader *r, const struct prompt_weights *weights)
{
    struct ensemble *e = xcalloc(1, sizeof *e);
    e->r = r;
    e->weights = weights;
    e->ids = id_index_new();
    return e;
}

static size_t member_of(const struct ensemble *e, const struct scores *s)
{
    for (size_t m = 0; m < e->weights->count; m++)
        if (e->weights->prompts[m] == s->prompt)
            return m;
    stream_bad_record(e->r, s->id, "prompt %d has no weight", s->prompt);
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
    size_t m = member_of(e, s);
    struct gathered *t = text_of(e, s);
    check_label(e->r, s, t->label);
    /* A text that was handed out had every member. */
    double *probs = t->members ? t->members + m * e->n_classes : NULL;
    if (!probs || !isnan(probs[0]))
        stream_bad_record(e->r, s->id, "prompt %d has two scores; was a part joined twice?",
                          s->prompt);
    e->not_number += !class_probabilities(s->logits, e->n_classes, probs);
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

void ensemble_close(struct ensemble *e)
{
    for (size_t i = e->next; i < id_index_count(e->ids); i++)
        free(e->texts[i].members);
    free(e->current);
    free(e->texts);
    id_index_free(e->ids);
    free(e);
}
