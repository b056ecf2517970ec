#include "common/train/validation.h"

#include "common/stream/asked.h"
#include "common/stream/id_index.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- as JSON ---- */

/* Names and places of the figures. */
static const struct {
    const char *name;
    size_t offset;
} figures[] = {{"loss", offsetof(struct validation, loss)},
               {"nll", offsetof(struct validation, nll)},
               {"accuracy", offsetof(struct validation, accuracy)},
               {"ece", offsetof(struct validation, ece)}};
enum { N_FIGURES = sizeof figures / sizeof *figures };

json_t *validation_json(const struct validation *v)
{
    json_t *object = json_pack("{s:I}", "step", (json_int_t)v->step);
    for (size_t i = 0; i < N_FIGURES; i++) {
        double value;
        memcpy(&value, (const char *)v + figures[i].offset, sizeof value);
        if (isfinite(value))
            json_object_set_new(object, figures[i].name, json_real(value));
    }
    return object;
}

bool validation_from_json(const json_t *object, struct validation *v)
{
    const json_t *step = json_object_get(object, "step");
    *v = (struct validation){.step = (unsigned long)json_integer_value(step), .bad_example = -1};
    for (size_t i = 0; i < N_FIGURES; i++) {
        const json_t *number = json_object_get(object, figures[i].name);
        double value = number ? json_number_value(number) : NAN;
        memcpy((char *)v + figures[i].offset, &value, sizeof value);
    }
    return json_is_integer(step);
}

/* ---- texts apart from those that are learned from ---- */

static void check_ids(const struct training_set *training, const struct training_set *validation,
                      const char *file)
{
    struct id_index *ids = id_index_new();
    for (int i = 0; i < training->n; i++)
        id_index_add(ids, training->ids[i], NULL);
    for (int i = 0; i < validation->n; i++) {
        size_t number;
        if (id_index_find(ids, validation->ids[i], &number))
            die(EX_DATAERR,
                "%s: id %s is the id of a text to train on as well: validation needs texts that "
                "the student does not learn from; leave it out of one of the two",
                file, validation->ids[i]);
    }
    id_index_free(ids);
}

/* One sequence of a set. */
struct place {
    const struct training_set *set;
    int number;
};

static int by_tokens(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    const struct sequence *s = &x->set->sequences[x->number], *t = &y->set->sequences[y->number];
    if (s->n != t->n)
        return s->n < t->n ? -1 : 1;
    return memcmp(s->tokens, t->tokens, (size_t)s->n * sizeof *s->tokens);
}

static void check_texts(const struct training_set *training, const struct training_set *validation,
                        const char *file)
{
    size_t n = (size_t)training->n;
    struct place *places = xreallocarray(NULL, n + 1, sizeof *places);
    for (size_t i = 0; i < n; i++)
        places[i] = (struct place){training, (int)i};
    qsort(places, n, sizeof *places, by_tokens);
    for (int i = 0; i < validation->n; i++) {
        const struct place *same =
            bsearch(&(struct place){validation, i}, places, n, sizeof *places, by_tokens);
        if (same)
            die(EX_DATAERR,
                "%s: id %s is the same text as id %s of those to train on: validation needs texts "
                "that the student does not learn from; leave it out of one of the two",
                file, validation->ids[i], training->ids[same->number]);
    }
    free(places);
}

/* A student is asked as it was trained to be: what it says otherwise tells nothing of it. */
static void check_asked(const struct training_set *training, const struct training_set *validation,
                        const char *file)
{
    char *then, *now;
    if (!training->asked || !validation->asked)
        return;
    const char *key = asked_difference(training->asked, validation->asked, &then, &now);
    if (key)
        die(EX_DATAERR,
            "%s: prompts whose '%s' is %s, where it is %s in those to train on: make both with one "
            "task and the same options",
            file, key, now, then);
    size_t i;
    const json_t *number;
    json_array_foreach(validation->instructions, i, number)
    {
        const json_t *text =
            asked_instruction(validation->asked, (size_t)json_integer_value(number));
        if (!text || !asked_by(training->asked, training->instructions, text))
            die(EX_DATAERR,
                "%s: asked by instruction %d, by which no text to train on is asked: make both "
                "with the same --instruction",
                file, (int)json_integer_value(number));
    }
}

void check_held_out(const struct training_set *training, const struct training_set *validation,
                    const char *file)
{
    const json_t *layout = training->layout, *other = validation->layout;
    if (!json_equal(training->tree->json, validation->tree->json) ||
        (training->classes && validation->classes &&
         !json_equal(training->classes, validation->classes)) ||
        (layout != other && !json_equal(layout, other)))
        die(EX_DATAERR,
            "%s: its classes, their tokens or the prompts' layout are not those of the texts to "
            "train on: make both with one task and one tokenizer",
            file);
    check_asked(training, validation, file);
    check_ids(training, validation, file);
    check_texts(training, validation, file);
}
