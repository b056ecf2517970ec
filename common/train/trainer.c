#include "common/train/trainer.h"

#include "common/math/normal.h"
#include "common/model/adapter_parts.h"
#include "common/model/backward.h"
#include "common/model/projection.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

/* The published start of the learned ln a0: a0 = 10. */
#define ALPHA0_START 10.0

struct trainer {
    struct model *model;
    struct device *device;
    const struct adapter *adapter;
    const struct trainer_settings *settings;
    struct ranks *ranks;
    struct lora_set *lora;
    struct backward *backward;
    unsigned long step, pass; /* taken, made */

    /* On the device. */
    struct lora_arrays arrays;
    float *m, *v; /* [arrays.n], AdamW's */
    /* [1 + 2 * a step's examples]: the gradients' squares, then of each pass the losses of this
     * rank's rows and their derivatives by ln a0, as the loss leaves them */
    double *results;
    double *targets; /* [batch, target_size], then of weighted examples their weights: [batch] */
    double *work;    /* [2, batch, loss_outputs()] */

    /* Where classes have several answers, or answers of several tokens: class logits are put
     * together on the host. Else NULL. */
    const struct answer_tree *tree;
    float *class_logits;                /* on the device: [batch, classes] */
    float *host_logits, *host_gradient; /* [batch, nodes, the model's n_classes] */
    float *host_class_logits;           /* [batch, classes] */

    size_t target_size; /* of the loss */
    double *host_results, *host_targets;
    int own;        /* rows of this rank in the step's passes so far */
    int *rows;      /* [accumulate]: those of each */
    int *position;  /* [own]: where they belong in the step's order */
    double *losses; /* [2, the step's examples], in its order: and their derivatives by ln a0 */
    float *host_gradients; /* [arrays.n], where there are several ranks */

    /* ln a0 with AdamW's averages: the loss takes it from the host. */
    float log_alpha0, log_alpha0_m, log_alpha0_v;
};

static bool learns_alpha0(const struct trainer *t)
{
    const struct loss *loss = &t->settings->loss;
    return loss->kind == LOSS_DIRICHLET && loss->mode == ALPHA0_LEARNED;
}

static size_t most_examples(const struct trainer *t)
{
    return (size_t)t->settings->batch * (size_t)t->settings->accumulate;
}

static float *zeros(struct device *d, size_t n)
{
    float *p = d->alloc(d, n * sizeof *p);
    d->clear(d, p, n * sizeof *p);
    return p;
}

static void reserve_answers(struct trainer *t)
{
    if (!t->tree)
        return;
    size_t batch = (size_t)t->settings->batch, classes = batch * (size_t)t->tree->n_classes;
    size_t logits = batch * (size_t)t->tree->n_nodes * (size_t)t->model->n_classes;
    t->class_logits = t->device->alloc(t->device, classes * sizeof *t->class_logits);
    t->host_class_logits = xcalloc(classes, sizeof *t->host_class_logits);
    t->host_logits = xcalloc(logits, sizeof *t->host_logits);
    t->host_gradient = xcalloc(logits, sizeof *t->host_gradient);
}

static void reserve_results(struct trainer *t)
{
    struct device *d = t->device;
    size_t most = most_examples(t), results = 1 + 2 * most;
    size_t batch = (size_t)t->settings->batch, targets = batch * (t->target_size + 1);
    size_t outputs = (size_t)(t->tree ? t->tree->n_classes : t->model->n_classes);
    t->results = d->alloc(d, results * sizeof *t->results);
    t->targets = d->alloc(d, targets * sizeof *t->targets);
    t->work = d->alloc(d, 2 * batch * outputs * sizeof *t->work);
    t->host_results = xcalloc(results, sizeof *t->host_results);
    t->host_targets = xcalloc(targets, sizeof *t->host_targets);
    t->position = xcalloc(most, sizeof *t->position);
    t->losses = xcalloc(2 * most, sizeof *t->losses);
    t->rows = xcalloc((size_t)t->settings->accumulate, sizeof *t->rows);
    if (t->ranks->size > 1)
        t->host_gradients = xreallocarray(NULL, t->arrays.n, sizeof *t->host_gradients);
}

struct trainer *trainer_open(struct model *m, const struct adapter *a,
                             const struct training_set *set, const struct trainer_settings *s,
                             struct ranks *r)
{
    struct trainer *t = xcalloc(1, sizeof *t);
    t->model = m;
    t->device = m->device;
    t->adapter = a;
    t->settings = s;
    t->ranks = r;
    t->lora = lora_load(m->device, a, set->class_tokens, set->n_outputs);
    t->backward = backward_open(m, t->lora, s->kept);
    t->arrays = lora_arrays(t->lora);
    t->m = zeros(t->device, t->arrays.n);
    t->v = zeros(t->device, t->arrays.n);
    t->log_alpha0 = (float)log(ALPHA0_START);
    t->target_size = loss_target_size(&s->loss, (size_t)set->n_classes);
    t->tree = set->tree && !set->tree->plain ? set->tree : NULL;
    reserve_answers(t);
    reserve_results(t);
    return t;
}

void trainer_close(struct trainer *t)
{
    struct device *d = t->device;
    backward_close(t->backward);
    lora_free(t->lora);
    void *buffers[] = {t->m, t->v, t->results, t->targets, t->work, t->class_logits};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        d->release(d, buffers[i]);
    free(t->host_logits);
    free(t->host_gradient);
    free(t->host_class_logits);
    free(t->host_results);
    free(t->host_targets);
    free(t->position);
    free(t->losses);
    free(t->rows);
    free(t->host_gradients);
    free(t);
}

/* ---- a step ---- */

/* The class logits of a pass, on the device: [pass->n, classes]. */
static float *gather_answers(struct trainer *t, const struct pass_logits *pass)
{
    if (!t->tree)
        return pass->logits;
    struct device *d = t->device;
    int outputs = t->model->n_classes;
    size_t n = (size_t)pass->n, numbers = (size_t)t->tree->n_nodes * (size_t)outputs;
    size_t classes = (size_t)t->tree->n_classes;
    d->download(d, t->host_logits, pass->logits, n * numbers * sizeof *t->host_logits);
    for (size_t i = 0; i < n; i++)
        answer_tree_logits(t->tree, t->host_logits + i * numbers, outputs,
                           t->host_class_logits + i * classes);
    d->upload(d, t->class_logits, t->host_class_logits, n * classes * sizeof *t->class_logits);
    return t->class_logits;
}

/* From the gradient by class logits, which has taken their place, to that by the pass's logits. */
static void spread_answers(struct trainer *t, const struct pass_logits *pass)
{
    if (!t->tree)
        return;
    struct device *d = t->device;
    int outputs = t->model->n_classes;
    size_t n = (size_t)pass->n, numbers = (size_t)t->tree->n_nodes * (size_t)outputs;
    size_t classes = (size_t)t->tree->n_classes;
    d->download(d, t->host_class_logits, t->class_logits, n * classes * sizeof *t->class_logits);
    for (size_t i = 0; i < n; i++)
        answer_tree_gradient(t->tree, t->host_logits + i * numbers, outputs,
                             t->host_class_logits + i * classes, t->host_gradient + i * numbers);
    d->upload(d, pass->logits, t->host_gradient, n * numbers * sizeof *t->host_gradient);
}

/* An example's in the step's mean. */
static double weight_of(const struct step *s, int i)
{
    return s->set->weights ? s->set->weights[s->examples[i]] : 1;
}

/* Queues this rank's part of one pass over the step's `count` examples from number `first` on: adds
 * their gradients, for the step's mean; total: its examples' weights. */
static void run_pass(struct trainer *t, const struct step *s, double total, int first, int count)
{
    struct device *d = t->device;
    size_t classes = (size_t)s->set->n_classes;
    uint32_t number = (uint32_t)t->pass++;
    struct sequence *sequences = xreallocarray(NULL, (size_t)count, sizeof *sequences);
    for (int i = 0; i < count; i++)
        sequences[i] = s->set->sequences[s->examples[first + i]];
    struct pass_logits pass = backward_logits(
        t->backward, &(struct pass){.sequences = sequences,
                                    .n = count,
                                    .tree = t->tree,
                                    .part = t->ranks->rank,
                                    .parts = t->ranks->size,
                                    .dropout = s->whole_input ? 0 : t->settings->adapter.dropout,
                                    .seed = t->settings->seed,
                                    .number = number});
    free(sequences);
    t->rows[first / t->settings->batch] = pass.n;
    if (pass.n == 0)
        return;
    size_t targets = (size_t)pass.n * t->target_size;
    double *weights = t->host_targets + targets;
    for (int row = 0; row < pass.n; row++) {
        t->position[t->own + row] = first + pass.order[row];
        size_t example = (size_t)s->examples[first + pass.order[row]];
        double *target = t->host_targets + (size_t)row * t->target_size;
        weights[row] = weight_of(s, first + pass.order[row]);
        memcpy(target, s->set->targets + example * classes, classes * sizeof *target);
        draw_normals(target + classes, t->target_size - classes, t->settings->seed, number,
                     (uint32_t)pass.order[row]);
    }
    struct loss loss = t->settings->loss;
    loss.kl_weight = s->kl_weight;
    size_t numbers = targets + (s->set->weights ? (size_t)pass.n : 0);
    d->upload(d, t->targets, t->host_targets, numbers * sizeof *t->targets);
    float *logits = gather_answers(t, &pass);
    d->loss(d, &(struct loss_batch){.loss = loss,
                                    .rows = pass.n,
                                    .classes = s->set->n_classes,
                                    .total = total,
                                    .s = (double)t->log_alpha0,
                                    .logits = logits,
                                    .targets = t->targets,
                                    .weights = s->set->weights ? t->targets + targets : NULL,
                                    .d_logits = logits,
                                    .values = t->results + 1 + 2 * t->own,
                                    .work = t->work});
    spread_answers(t, &pass);
    t->own += pass.n;
    backward_gradients(t->backward);
}

/* Sums the ranks' gradients. */
static void share_gradients(struct trainer *t)
{
    struct device *d = t->device;
    size_t bytes = t->arrays.n * sizeof(float);
    if (t->ranks->size == 1)
        return;
    d->download(d, t->host_gradients, t->arrays.gradients, bytes);
    t->ranks->sum(t->ranks, t->host_gradients, t->arrays.n);
    d->upload(d, t->arrays.gradients, t->host_gradients, bytes);
}

/* Puts what came back of the passes into the step's order, the other ranks' with it. */
static void share_results(struct trainer *t, int n)
{
    memset(t->losses, 0, 2 * (size_t)n * sizeof *t->losses);
    const double *values = t->host_results + 1;
    for (int pass = 0, before = 0; before < t->own; before += t->rows[pass++]) {
        int rows = t->rows[pass];
        for (int row = 0; row < rows; row++) {
            t->losses[t->position[before + row]] = values[2 * before + row];
            t->losses[n + t->position[before + row]] = values[2 * before + rows + row];
        }
    }
    t->ranks->collect(t->ranks, t->losses, 2 * (size_t)n);
    /* One rank's sum for all: devices that are not alike may add in another order. */
    t->ranks->broadcast(t->ranks, t->host_results, sizeof *t->host_results);
}

static void step_alpha0(struct trainer *t, const struct step *s, float gradient)
{
    struct adamw_factors f = adamw_factors(&t->settings->adamw, s->alpha0_rate, t->step);
    adamw_element(&f, gradient, &t->log_alpha0, &t->log_alpha0_m, &t->log_alpha0_v);
}

struct step_result trainer_step(struct trainer *t, const struct step *s)
{
    const struct trainer_settings *set = t->settings;
    struct device *d = t->device;
    size_t n = t->arrays.n;
    double total = 0;
    for (int i = 0; i < s->n; i++)
        total += weight_of(s, i);
    t->own = 0;
    d->clear(d, t->arrays.gradients, n * sizeof(float));
    for (int first = 0; first < s->n; first += set->batch)
        run_pass(t, s, total, first, s->n - first < set->batch ? s->n - first : set->batch);
    share_gradients(t);
    d->clear(d, t->results, sizeof *t->results);
    d->add_squares(d, t->arrays.gradients, n, t->results);
    d->download(d, t->host_results, t->results, (1 + 2 * (size_t)t->own) * sizeof *t->results);
    share_results(t, s->n);

    struct step_result result = {.bad_example = -1};
    double by_log_alpha0 = 0;
    for (int i = 0; i < s->n; i++) {
        if (!isfinite(t->losses[i])) {
            result.bad_example = s->examples[i];
            return result;
        }
        result.loss += weight_of(s, i) * t->losses[i] / total;
        by_log_alpha0 += weight_of(s, i) * t->losses[s->n + i] / total;
    }
    float gradient = (float)by_log_alpha0; /* 0 where it is not learned */
    double norm = sqrt(t->host_results[0] + (double)gradient * (double)gradient);
    result.finite = isfinite(norm);
    if (!result.finite)
        return result;

    float clip = set->clip > 0 ? clip_factor(norm, set->clip) : 1;
    if (clip < 1)
        d->scale(d, clip, t->arrays.gradients, n);
    t->step++;
    struct adamw_factors f = adamw_factors(&set->adamw, s->rate, t->step);
    d->adamw(d, &f, t->arrays.gradients, t->arrays.values, t->m, t->v, n);
    lora_changed(t->lora);
    if (learns_alpha0(t))
        step_alpha0(t, s, clip * gradient);
    return result;
}

unsigned long trainer_steps(const struct trainer *t)
{
    return t->step;
}

double trainer_log_alpha0(const struct trainer *t)
{
    return (double)t->log_alpha0;
}

/* ---- its state ---- */

static void add_parameter(struct training_state *s, char *name, size_t first, size_t n)
{
    s->parameters[s->count++] = (struct parameter){name, first, n};
}

struct training_state *trainer_state(const struct trainer *t)
{
    struct training_state *s = xcalloc(1, sizeof *s);
    size_t parts = adapter_parts(t->adapter);
    s->parameters = xcalloc(2 * parts + 1, sizeof *s->parameters);
    for (size_t i = 0; i < parts; i++) {
        struct lora_place p = lora_place(t->lora, i);
        if (!p.a_size)
            continue;
        /* Each has a name of its own, where a module's parts are several projections, too. */
        int layer = (int)(i / LAYER_PROJECTIONS);
        char *name = projection_module(part_projection(t->adapter, i), layer);
        add_parameter(s, xasprintf("%s.lora_A", name), p.a, p.a_size);
        add_parameter(s, xasprintf("%s.lora_B", name), p.b, p.b_size);
        free(name);
    }
    s->n = t->arrays.n;
    if (learns_alpha0(t))
        add_parameter(s, xstrdup("log_alpha0"), s->n++, 1);
    for (int k = 0; k < STATE_ARRAYS; k++)
        s->arrays[k] = xcalloc(s->n, sizeof *s->arrays[k]);
    return s;
}

void training_state_free(struct training_state *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->parameters[i].name);
    free(s->parameters);
    for (int k = 0; k < STATE_ARRAYS; k++)
        free(s->arrays[k]);
    free(s->best_values);
    free(s);
}

void trainer_values(struct trainer *t, float *to)
{
    t->device->download(t->device, to, t->arrays.values, t->arrays.n * sizeof *to);
    if (learns_alpha0(t))
        to[t->arrays.n] = t->log_alpha0;
}

void trainer_set_values(struct trainer *t, const float *from)
{
    t->device->upload(t->device, t->arrays.values, from, t->arrays.n * sizeof *from);
    lora_changed(t->lora);
    if (learns_alpha0(t))
        t->log_alpha0 = from[t->arrays.n];
}

void trainer_save(struct trainer *t, struct training_state *s)
{
    struct device *d = t->device;
    const float *arrays[STATE_ARRAYS] = {[STATE_M] = t->m, [STATE_V] = t->v};
    const float numbers[STATE_ARRAYS] = {[STATE_M] = t->log_alpha0_m, [STATE_V] = t->log_alpha0_v};
    trainer_values(t, s->arrays[STATE_VALUES]);
    for (int k = STATE_M; k < STATE_ARRAYS; k++) {
        d->download(d, s->arrays[k], arrays[k], t->arrays.n * sizeof(float));
        if (learns_alpha0(t))
            s->arrays[k][t->arrays.n] = numbers[k];
    }
    s->step = t->step;
    s->pass = t->pass;
}

void trainer_restore(struct trainer *t, const struct training_state *s)
{
    struct device *d = t->device;
    float *arrays[STATE_ARRAYS] = {[STATE_M] = t->m, [STATE_V] = t->v};
    float *numbers[STATE_ARRAYS] = {[STATE_M] = &t->log_alpha0_m, [STATE_V] = &t->log_alpha0_v};
    trainer_set_values(t, s->arrays[STATE_VALUES]);
    for (int k = STATE_M; k < STATE_ARRAYS; k++) {
        d->upload(d, arrays[k], s->arrays[k], t->arrays.n * sizeof(float));
        if (learns_alpha0(t))
            *numbers[k] = s->arrays[k][t->arrays.n];
    }
    t->step = s->step;
    t->pass = s->pass;
}

void trainer_fetch(struct trainer *t, struct adapter *a)
{
    lora_fetch(t->lora, a);
}

struct lora_set *trainer_lora(struct trainer *t)
{
    lora_set_dropout(t->lora, &(struct lora_dropout){0});
    return t->lora;
}
