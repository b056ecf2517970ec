#include "common/train/training_set.h"

#include "common/model/token_input.h"
#include "common/stream/id_index.h"
#include "common/stream/record.h"
#include "common/util/diag.h"
#include "common/util/digest.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- the teacher ---- */

struct teacher {
    const char *path;
    struct id_index *ids;
    size_t n;
    double *targets; /* [n, classes] */
    int *labels;
    bool *used;
    double *weights; /* [n_weights] of the members, NULL before the first that are used */
    size_t n_weights;
};

static void check_task(const struct stream_reader *tokens, const struct stream_reader *teacher)
{
    const char *task = json_string_value(json_object_get(stream_header(tokens), "task"));
    const char *other = json_string_value(json_object_get(stream_header(teacher), "task"));
    if (task && other && strcmp(task, other) != 0)
        die(EX_DATAERR,
            "%s: the task is '%s', that of %s is '%s': teacher and tokens must be of the same "
            "texts (if they are, give both task files one name)",
            stream_name(teacher), other, stream_name(tokens), task);
}

static void check_classes(const struct stream_reader *tokens, const struct stream_reader *teacher)
{
    const json_t *ours = json_object_get(stream_header(tokens), "classes");
    const json_t *theirs = json_object_get(stream_header(teacher), "classes");
    if (ours && theirs && !json_equal(ours, theirs)) {
        char *a = json_text(ours, JSON_COMPACT), *b = json_text(theirs, JSON_COMPACT);
        die(EX_DATAERR, "%s: the classes are %s, those of %s are %s: not the same task",
            stream_name(teacher), b, stream_name(tokens), a);
    }
}

/* The members' weights from the header, [*n]. */
static double *read_weights(const struct stream_reader *r, size_t *n)
{
    const json_t *list = json_object_get(stream_header(r), "weights");
    *n = json_array_size(list);
    double *weights = xreallocarray(NULL, *n + 1, sizeof *weights);
    double sum = 0;
    for (size_t i = 0; i < *n; i++) {
        const json_t *v = json_array_get(list, i);
        weights[i] = json_number_value(v);
        sum += weights[i];
        if (!json_is_number(v) || !(weights[i] >= 0))
            die(EX_DATAERR, "%s: 'weights' in the header holds something that is no weight",
                stream_name(r));
    }
    if (*n == 0 || fabs(sum - 1) > 1e-6)
        die(EX_DATAERR,
            "%s: the header has no 'weights' of members that sum to one; a Dirichlet student needs "
            "the teacher's members, as bpe-fit --apply writes them",
            stream_name(r));
    return weights;
}

/* Of the least double above 0 it is -744.4. */
enum { LEAST_LOG = -745 };

/* What a Dirichlet student needs of the members: their mean log p, which may stand for them. */
static void take_members(struct teacher *t, const struct stream_reader *r,
                         const struct prediction *p, double *target)
{
    size_t classes = p->n_classes;
    if (p->members && p->mean_log)
        stream_bad_record(r, p->id, "both 'members' and 'mean_log', which stands for them");
    if (!p->members && !p->mean_log)
        stream_bad_record(r, p->id,
                          "no members, which a Dirichlet student needs, nor 'mean_log': make the "
                          "predictions with bpe-fit --apply or rec from-npy");
    if (p->mean_log) {
        for (size_t c = 0; c < classes; c++)
            if (!(p->mean_log[c] >= LEAST_LOG && p->mean_log[c] <= LOSS_LOG_FLOOR))
                stream_bad_record(r, p->id, "'mean_log' holds %g, no logarithm of a probability",
                                  p->mean_log[c]);
        memcpy(target, p->mean_log, classes * sizeof *target);
        return;
    }
    if (!t->weights)
        t->weights = read_weights(r, &t->n_weights);
    if (p->n_members != t->n_weights)
        stream_bad_record(r, p->id, "%zu members, but the header has %zu weights", p->n_members,
                          t->n_weights);
    for (size_t m = 0; m < t->n_weights; m++)
        probabilities_check(r, p->id, "members", p->members + m * classes, classes);
    target_from_members(p->members, t->weights, t->n_weights, classes, target);
}

static void add_prediction(struct teacher *t, const struct stream_reader *r,
                           const struct prediction *p, size_t classes, enum loss_kind loss)
{
    if (p->n_classes != classes)
        stream_bad_record(r, p->id, "%zu classes, the tokens have %zu", p->n_classes, classes);
    bool added;
    id_index_add(t->ids, p->id, &added);
    if (!added)
        stream_bad_record(r, p->id, "this id comes twice");
    if ((t->n & (t->n + 1)) == 0) { /* 2^k - 1: full */
        size_t room = 2 * t->n + 1;
        t->targets = xreallocarray(t->targets, room * classes, sizeof *t->targets);
        t->labels = xreallocarray(t->labels, room, sizeof *t->labels);
    }
    double *target = t->targets + t->n * classes;
    probabilities_check(r, p->id, "probs", p->probs, classes);
    if (loss_facts[loss].target == TARGET_MEMBERS)
        take_members(t, r, p, target);
    else
        target_from_probs(p->probs, classes, target);
    t->labels[t->n++] = p->label;
}

static struct teacher read_teacher(const char *path, const struct stream_reader *tokens,
                                   size_t classes, enum loss_kind loss)
{
    struct teacher t = {.path = path, .ids = id_index_new()};
    struct stream_reader *r = stream_open(path, "prediction");
    check_task(tokens, r);
    check_classes(tokens, r);
    struct prediction p;
    while (prediction_read(r, &p))
        add_prediction(&t, r, &p, classes, loss);
    t.used = xcalloc(t.n, sizeof *t.used);
    stream_close(r);
    return t;
}

static void free_teacher(struct teacher *t)
{
    id_index_free(t->ids);
    free(t->targets);
    free(t->weights);
    free(t->labels);
    free(t->used);
}

/* ---- the examples ---- */

/* Returns the text's label. */
static int target_of(struct teacher *t, const struct stream_reader *r, const struct tokens *x,
                     size_t classes, double *target)
{
    size_t i;
    if (!id_index_find(t->ids, x->id, &i))
        stream_bad_record(r, x->id,
                          "%s holds no prediction of this id: teacher and tokens must be of the "
                          "same texts",
                          t->path);
    if (x->label != NO_LABEL && t->labels[i] != NO_LABEL && x->label != t->labels[i])
        stream_bad_record(r, x->id,
                          "its label is %d, in %s it is %d: teacher and tokens must be of the same "
                          "texts",
                          x->label, t->path, t->labels[i]);
    t->used[i] = true;
    memcpy(target, t->targets + i * classes, classes * sizeof *target);
    return x->label != NO_LABEL ? x->label : t->labels[i];
}

static void add_instruction(struct training_set *t, int number)
{
    size_t i;
    const json_t *known;
    json_array_foreach(t->instructions, i, known)
    {
        if (json_integer_value(known) == number)
            return;
    }
    json_array_append_new(t->instructions, json_integer(number));
}

static void check_once(struct id_index *seen, const struct stream_reader *r, const struct tokens *x)
{
    bool added;
    char *both = xasprintf("%d %s", x->prompt, x->id);
    id_index_add(seen, both, &added);
    free(both);
    if (!added)
        stream_bad_record(r, x->id, "prompt %d comes twice; was a part joined twice?", x->prompt);
}

static void add_example(struct training_set *t, const struct tokens *x)
{
    add_instruction(t, x->prompt);
    if ((t->n & (t->n + 1)) == 0) {
        size_t room = 2 * (size_t)t->n + 1;
        t->ids = xreallocarray(t->ids, room, sizeof *t->ids);
        t->sequences = xreallocarray(t->sequences, room, sizeof *t->sequences);
        t->labels = xreallocarray(t->labels, room, sizeof *t->labels);
        t->targets = xreallocarray(t->targets, room * (size_t)t->n_classes, sizeof *t->targets);
    }
    int32_t *tokens = xreallocarray(NULL, x->n_tokens, sizeof *tokens);
    memcpy(tokens, x->tokens, x->n_tokens * sizeof *tokens);
    t->ids[t->n] = xstrdup(x->id);
    t->sequences[t->n++] = (struct sequence){tokens, (int)x->n_tokens};
}

/* What there is to say of the classes, their answers and the prompts, as text. */
static char *names_of(const struct training_set *t)
{
    json_t *names =
        json_pack("{s:O, s:O}", t->tree->key, t->tree->json, "instructions", t->instructions);
    if (t->classes)
        json_object_set(names, "classes", t->classes);
    if (t->layout)
        json_object_set(names, "layout", t->layout);
    if (t->asked)
        json_object_set(names, "asked", t->asked);
    char *text = json_text(names, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(names);
    return text;
}

/* Of all that an adapter depends on, or says of itself. */
static void compute_digest(struct training_set *t)
{
    XXH64_state_t *h = digest_new();
    for (int i = 0; i < t->n; i++) {
        XXH64_update(h, t->ids[i], strlen(t->ids[i]) + 1);
        XXH64_update(h, &t->sequences[i].n, sizeof t->sequences[i].n);
        XXH64_update(h, t->sequences[i].tokens,
                     (size_t)t->sequences[i].n * sizeof *t->sequences[i].tokens);
    }
    XXH64_update(h, t->targets, (size_t)t->n * (size_t)t->n_classes * sizeof *t->targets);
    char *names = names_of(t);
    XXH64_update(h, names, strlen(names));
    free(names);
    digest_text(XXH64_digest(h), t->digest);
    XXH64_freeState(h);
}

/* The tokens that a student is read at. */
static void read_answers(struct training_set *t, const struct stream_reader *tokens,
                         const struct config *c, enum loss_kind loss)
{
    struct answer_tree *tree = answer_tree_read(tokens);
    t->tree = tree;
    t->classes = json_deep_copy(json_object_get(stream_header(tokens), "classes"));
    t->layout = json_deep_copy(json_object_get(stream_header(tokens), "layout"));
    t->asked = json_deep_copy(json_object_get(stream_header(tokens), "asked"));
    t->instructions = json_array();
    t->n_classes = tree->n_classes;
    t->n_outputs = tree->n_tokens;
    t->class_tokens = xreallocarray(NULL, (size_t)t->n_outputs, sizeof *t->class_tokens);
    memcpy(t->class_tokens, tree->tokens, (size_t)t->n_outputs * sizeof *t->class_tokens);
    if (loss != LOSS_IB_EDL)
        return;
    if (!tree->plain)
        die(EX_DATAERR,
            "%s: its classes have several answers, or answers of several tokens ('answer_tokens' "
            "in the header), which --loss ib-edl does not take: give the task one answer for each "
            "class, with first tokens that differ, or train with --loss edl",
            stream_name(tokens));
    t->class_tokens = add_deviation_tokens(tokens, t->class_tokens, &t->n_outputs, c);
}

struct training_set *training_set_read(struct stream_reader *tokens, const char *teacher,
                                       const struct config *c, enum loss_kind loss,
                                       const char *options)
{
    struct training_set *t = xcalloc(1, sizeof *t);
    read_answers(t, tokens, c, loss);
    size_t classes = (size_t)t->n_classes;
    struct teacher taught = {0};
    if (loss_facts[loss].target != TARGET_LABEL)
        taught = read_teacher(teacher, tokens, classes, loss);
    struct id_index *seen = id_index_new();
    struct tokens x;
    while (tokens_read(tokens, &x)) {
        check_tokens(tokens, &x, c, t->tree->depth);
        check_once(seen, tokens, &x);
        add_example(t, &x);
        double *target = t->targets + (size_t)(t->n - 1) * classes;
        if (loss_facts[loss].target != TARGET_LABEL) {
            t->labels[t->n - 1] = target_of(&taught, tokens, &x, classes, target);
        } else {
            if (x.label < 0 || (size_t)x.label >= classes)
                stream_bad_record(tokens, x.id, "no label, which %s needs", options);
            target_from_label(x.label, classes, target);
            t->labels[t->n - 1] = x.label;
        }
    }
    size_t unused = 0;
    for (size_t i = 0; i < taught.n; i++)
        unused += !taught.used[i];
    if (unused)
        warn("%s: %zu of its %zu predictions are of no text in %s and are not used", teacher,
             unused, taught.n, stream_name(tokens));
    id_index_free(seen);
    free_teacher(&taught);
    compute_digest(t);
    return t;
}

/* ---- sharing ---- */

/* How much of each there is. */
struct sizes {
    int n, n_classes, n_outputs;
    size_t tokens, id_bytes, names_bytes;
    char digest[sizeof((struct training_set *)0)->digest];
};

static struct sizes sizes_of(const struct training_set *t, const char *names)
{
    struct sizes s = {.n = t->n, .n_classes = t->n_classes, .n_outputs = t->n_outputs};
    for (int i = 0; i < t->n; i++) {
        s.tokens += (size_t)t->sequences[i].n;
        s.id_bytes += strlen(t->ids[i]) + 1;
    }
    s.names_bytes = strlen(names) + 1;
    memcpy(s.digest, t->digest, sizeof s.digest);
    return s;
}

/* The sequences and ids one after another, from a set or into one. */
static void flatten(const struct training_set *t, int32_t *lengths, int32_t *tokens, char *ids)
{
    for (int i = 0; i < t->n; i++) {
        int n = lengths[i] = t->sequences[i].n;
        memcpy(tokens, t->sequences[i].tokens, (size_t)n * sizeof *tokens);
        tokens += n;
        ids = stpcpy(ids, t->ids[i]) + 1;
    }
}

static void unfold(struct training_set *t, const int32_t *lengths, const int32_t *tokens,
                   const char *ids)
{
    for (int i = 0; i < t->n; i++) {
        int32_t *own = xreallocarray(NULL, (size_t)lengths[i], sizeof *own);
        memcpy(own, tokens, (size_t)lengths[i] * sizeof *own);
        t->sequences[i] = (struct sequence){own, lengths[i]};
        tokens += lengths[i];
        t->ids[i] = xstrdup(ids);
        ids += strlen(ids) + 1;
    }
}

static struct training_set *empty_set(const struct sizes *s)
{
    struct training_set *t = xcalloc(1, sizeof *t);
    size_t n = (size_t)s->n, classes = (size_t)s->n_classes;
    t->n = s->n;
    t->n_classes = s->n_classes;
    t->n_outputs = s->n_outputs;
    t->ids = xcalloc(n, sizeof *t->ids);
    t->sequences = xcalloc(n, sizeof *t->sequences);
    t->targets = xcalloc(n * classes, sizeof *t->targets);
    t->labels = xcalloc(n, sizeof *t->labels);
    t->class_tokens = xcalloc((size_t)s->n_outputs, sizeof *t->class_tokens);
    memcpy(t->digest, s->digest, sizeof t->digest);
    return t;
}

static void take_names(struct training_set *t, const char *text)
{
    json_t *names = json_loads(text, 0, NULL);
    const json_t *single = json_object_get(names, "class_tokens");
    const json_t *several = json_object_get(names, "answer_tokens");
    t->tree = answer_tree_from_json(single ? single : several,
                                    single ? "class_tokens" : "answer_tokens", "rank 0");
    t->classes = json_incref(json_object_get(names, "classes"));
    t->layout = json_incref(json_object_get(names, "layout"));
    t->asked = json_incref(json_object_get(names, "asked"));
    t->instructions = json_incref(json_object_get(names, "instructions"));
    json_decref(names);
}

struct training_set *training_set_share(struct training_set *t, struct ranks *r)
{
    if (r->size == 1)
        return t;
    bool gives = t;
    char *names = gives ? names_of(t) : NULL;
    struct sizes s = gives ? sizes_of(t, names) : (struct sizes){0};
    r->broadcast(r, &s, sizeof s);
    if (!gives) {
        t = empty_set(&s);
        names = xmalloc(s.names_bytes);
    }
    int32_t *lengths = xcalloc((size_t)s.n, sizeof *lengths);
    int32_t *tokens = xcalloc(s.tokens, sizeof *tokens);
    char *ids = xmalloc(s.id_bytes);
    if (gives)
        flatten(t, lengths, tokens, ids);
    r->broadcast(r, lengths, (size_t)s.n * sizeof *lengths);
    r->broadcast(r, tokens, s.tokens * sizeof *tokens);
    r->broadcast(r, ids, s.id_bytes);
    r->broadcast(r, t->targets, (size_t)s.n * (size_t)s.n_classes * sizeof *t->targets);
    r->broadcast(r, t->labels, (size_t)s.n * sizeof *t->labels);
    r->broadcast(r, t->class_tokens, (size_t)s.n_outputs * sizeof *t->class_tokens);
    r->broadcast(r, names, s.names_bytes);
    if (!gives) {
        unfold(t, lengths, tokens, ids);
        take_names(t, names);
    }
    free(names);
    free(lengths);
    free(tokens);
    free(ids);
    return t;
}

void training_set_free(struct training_set *t)
{
    for (int i = 0; i < t->n; i++) {
        free(t->ids[i]);
        free((void *)t->sequences[i].tokens);
    }
    free(t->ids);
    free(t->sequences);
    free(t->targets);
    free(t->labels);
    free(t->weights);
    free(t->class_tokens);
    json_decref(t->classes);
    json_decref(t->layout);
    json_decref(t->asked);
    json_decref(t->instructions);
    answer_tree_free((struct answer_tree *)t->tree);
    free(t);
}

/* ---- weights ---- */

double *balanced_weights(const struct training_set *t)
{
    double *weights = xcalloc((size_t)t->n_classes, sizeof *weights);
    for (int i = 0; i < t->n; i++)
        weights[t->labels[i]]++;
    for (int c = 0; c < t->n_classes; c++) {
        if (weights[c] == 0)
            die(EX_DATAERR,
                "--class-weights balanced: no text to train on has label %d; say the weights "
                "instead, or train on texts of every class",
                c);
        weights[c] = (double)t->n / ((double)t->n_classes * weights[c]);
    }
    return weights;
}

void training_set_weigh(struct training_set *t, const double *weights)
{
    t->weights = xcalloc((size_t)t->n, sizeof *t->weights);
    for (int i = 0; i < t->n; i++)
        t->weights[i] = weights[t->labels[i]];
}
