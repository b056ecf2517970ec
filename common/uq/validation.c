#include "common/uq/validation.h"

#include "common/stream/id_index.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

struct entry {
    size_t text;
    int prompt;
};

/* The records as they came. */
struct entries {
    struct entry *list;
    float *logits; /* [capacity * n_classes] */
    size_t count, capacity, n_classes;
    int *labels; /* by text */
    int last_prompt;
};

static void add_entry(struct entries *e, struct entry entry, const float *logits)
{
    if (e->count == e->capacity) {
        e->capacity = e->capacity ? 2 * e->capacity : 1024;
        e->list = xreallocarray(e->list, e->capacity, sizeof *e->list);
        e->logits = xreallocarray(e->logits, e->capacity, e->n_classes * sizeof *e->logits);
    }
    memcpy(e->logits + e->count * e->n_classes, logits, e->n_classes * sizeof *logits);
    e->list[e->count++] = entry;
    if (entry.prompt > e->last_prompt)
        e->last_prompt = entry.prompt;
}

void validation_check_label(struct stream_reader *r, const struct scores *s, int first)
{
    if (s->label != first)
        stream_bad_record(
            r, s->id, "the label at prompt %d is not that of the text's other prompts", s->prompt);
}

static size_t prompts_announced(const struct stream_reader *r)
{
    const json_t *n = json_object_get(stream_header(r), "prompts");
    if (n && !(json_is_integer(n) && json_integer_value(n) > 0))
        die(EX_DATAERR, "%s: the header's 'prompts' is not a whole number above 0", stream_name(r));
    return (size_t)json_integer_value(n);
}

static void check_record(struct stream_reader *r, const struct scores *s, size_t n_prompts,
                         size_t n_classes, bool labelled)
{
    if (n_prompts && (size_t)s->prompt >= n_prompts)
        stream_bad_record(r, s->id, "prompt %d, but the header announces %zu (0 to %zu)", s->prompt,
                          n_prompts, n_prompts - 1);
    if (s->n_classes != n_classes)
        stream_bad_record(r, s->id, "%zu class scores where other records have %zu", s->n_classes,
                          n_classes);
    if (labelled && s->label == NO_LABEL)
        stream_bad_record(r, s->id, "no label; weights are fitted on labelled texts");
    if (labelled && (size_t)s->label >= s->n_classes)
        stream_bad_record(r, s->id, "label %d, but there are %zu classes", s->label, s->n_classes);
}

static int by_place(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->text != y->text)
        return x->text < y->text ? -1 : 1;
    return (x->prompt > y->prompt) - (x->prompt < y->prompt);
}

/* Dies unless every text has every prompt once. Nothing is allocated for what is not there: a
 * prompt's number may be any. */
static void check_complete(const struct stream_reader *r, const struct entries *e,
                           const struct id_index *ids, size_t n_prompts)
{
    struct entry *sorted = xreallocarray(NULL, e->count, sizeof *sorted);
    if (e->count)
        memcpy(sorted, e->list, e->count * sizeof *sorted);
    qsort(sorted, e->count, sizeof *sorted, by_place);
    for (size_t i = 1; i < e->count; i++)
        if (!by_place(&sorted[i - 1], &sorted[i]))
            die(EX_DATAERR, "%s: id %s: prompt %d has two scores; was a part joined twice?",
                stream_name(r), id_index_name(ids, sorted[i].text), sorted[i].prompt);
    size_t i = 0;
    for (size_t text = 0; text < id_index_count(ids); text++)
        for (size_t prompt = 0; prompt < n_prompts; prompt++, i++)
            if (i == e->count || sorted[i].text != text || (size_t)sorted[i].prompt != prompt)
                die(EX_DATAERR,
                    "%s: id %s: prompt %zu of %zu has no scores; weights need every prompt's "
                    "scores for every text",
                    stream_name(r), id_index_name(ids, text), prompt, n_prompts);
    free(sorted);
}

/* Puts the entries in their places; each must be there once. */
static float *arrange(const struct stream_reader *r, const struct entries *e,
                      const struct id_index *ids, size_t n_prompts)
{
    size_t classes = e->n_classes;
    check_complete(r, e, ids, n_prompts);
    float *logits = xreallocarray(NULL, e->count, classes * sizeof *logits);
    for (size_t i = 0; i < e->count; i++) {
        size_t place = e->list[i].text * n_prompts + (size_t)e->list[i].prompt;
        memcpy(logits + place * classes, e->logits + i * classes, classes * sizeof *logits);
    }
    return logits;
}

static void read_entries(struct stream_reader *r, struct entries *e, struct id_index *ids,
                         size_t announced, bool labelled)
{
    struct scores s;
    while (scores_read(r, &s)) {
        if (e->count == 0)
            e->n_classes = s.n_classes;
        check_record(r, &s, announced, e->n_classes, labelled);
        bool added;
        size_t text = id_index_add(ids, s.id, &added);
        if (added) {
            e->labels = xreallocarray(e->labels, text + 1, sizeof *e->labels);
            e->labels[text] = s.label;
        }
        validation_check_label(r, &s, e->labels[text]);
        add_entry(e, (struct entry){text, s.prompt}, s.logits);
    }
}

static unsigned long count_not_number(const struct validation *v)
{
    unsigned long n = 0;
    double *probs = xcalloc(v->n_classes, sizeof *probs);
    for (size_t i = 0; i < v->n_texts * v->n_prompts; i++)
        n += !class_probabilities(v->logits + i * v->n_classes, v->n_classes, NULL, probs);
    free(probs);
    return n;
}

struct validation validation_read(struct stream_reader *r, bool labelled)
{
    struct entries e = {.last_prompt = -1};
    struct id_index *ids = id_index_new();
    size_t announced = prompts_announced(r);
    read_entries(r, &e, ids, announced, labelled);
    struct validation v = {.n_texts = id_index_count(ids),
                           .n_prompts = announced ? announced : (size_t)e.last_prompt + 1,
                           .n_classes = e.n_classes,
                           .labels = e.labels,
                           .records = e.count};
    v.logits = arrange(r, &e, ids, v.n_prompts);
    v.ids = xcalloc(v.n_texts, sizeof *v.ids);
    for (size_t n = 0; n < v.n_texts; n++)
        v.ids[n] = xstrdup(id_index_name(ids, n));
    v.not_number = count_not_number(&v);
    free(e.list);
    free(e.logits);
    id_index_free(ids);
    return v;
}

void validation_free(struct validation *v)
{
    for (size_t n = 0; v->ids && n < v->n_texts; n++)
        free(v->ids[n]);
    free(v->ids);
    free(v->logits);
    free(v->labels);
    *v = (struct validation){0};
}

/* ---- its texts ---- */

struct place {
    const char *id;
    size_t text;
};

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct place *)a)->id, ((const struct place *)b)->id);
}

void validation_sort(struct validation *v)
{
    struct place *order = xcalloc(v->n_texts, sizeof *order);
    for (size_t n = 0; n < v->n_texts; n++)
        order[n] = (struct place){v->ids[n], n};
    qsort(order, v->n_texts, sizeof *order, by_id);
    size_t row = v->n_prompts * v->n_classes;
    float *logits = xreallocarray(NULL, v->n_texts * row, sizeof *logits);
    int *labels = xcalloc(v->n_texts, sizeof *labels);
    char **ids = xcalloc(v->n_texts, sizeof *ids);
    for (size_t n = 0; n < v->n_texts; n++) {
        size_t from = order[n].text;
        memcpy(logits + n * row, v->logits + from * row, row * sizeof *logits);
        labels[n] = v->labels[from];
        ids[n] = v->ids[from];
    }
    free(order);
    free(v->logits);
    free(v->labels);
    free(v->ids);
    v->logits = logits;
    v->labels = labels;
    v->ids = ids;
}

struct validation validation_part(const struct validation *v, const bool *chosen,
                                  const size_t *prompts, size_t n_prompts)
{
    struct validation part = {.n_prompts = n_prompts, .n_classes = v->n_classes};
    size_t classes = v->n_classes;
    part.logits = xreallocarray(NULL, v->n_texts * n_prompts * classes, sizeof *part.logits);
    part.labels = xcalloc(v->n_texts, sizeof *part.labels);
    for (size_t n = 0; n < v->n_texts; n++) {
        if (chosen && !chosen[n])
            continue;
        for (size_t i = 0; i < n_prompts; i++)
            memcpy(part.logits + (part.n_texts * n_prompts + i) * classes,
                   validation_logits(v, n, prompts ? prompts[i] : i),
                   classes * sizeof *part.logits);
        part.labels[part.n_texts++] = v->labels[n];
    }
    return part;
}

const float *validation_logits(const struct validation *v, size_t text, size_t prompt)
{
    return v->logits + (text * v->n_prompts + prompt) * v->n_classes;
}

double *label_probabilities(const struct validation *v, const struct calibration *calibrations)
{
    double *p = xreallocarray(NULL, v->n_texts * v->n_prompts, sizeof *p);
    double *probs = xcalloc(v->n_classes, sizeof *probs);
    for (size_t n = 0; n < v->n_texts; n++)
        for (size_t i = 0; i < v->n_prompts; i++) {
            class_probabilities(validation_logits(v, n, i), v->n_classes,
                                calibrations ? &calibrations[i] : NULL, probs);
            p[n * v->n_prompts + i] = probs[v->labels[n]];
        }
    free(probs);
    return p;
}
