#include "common/model/train.h"

#include "common/model/backward.h"
#include "common/model/checkpoint.h"
#include "common/util/diag.h"
#include "common/util/json.h"
#include "common/util/mem.h"
#include "common/util/outfile.h"
#include "common/util/philox.h"
#include "common/util/progress.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Philox streams beside those of dropout and of the initial values: the order of an epoch. */
enum { ORDER_STREAM = 0x7fffffff };

/* The published start of the learned ln a0: a0 = 10. */
#define ALPHA0_START 10.0

struct run {
    struct model *model;
    const struct training_set *set;
    const struct train_settings *settings;
    const struct train_files *files;
    struct adapter *adapter;
    struct lora_set *lora;
    struct backward *backward;
    struct parameter *parameters;
    size_t n_parameters;
    float *log_alpha0; /* the parameter s, with the learned mode */
    json_t *description;
    struct schedule schedule;
    unsigned long steps_per_epoch;
    struct training_place place;
    int *order; /* [set->n], of the present epoch */
    FILE *log;
};

const char *loss_name(enum loss_kind k)
{
    return k == LOSS_SOFTMAX ? "softmax" : k == LOSS_LABELS ? "labels" : "dirichlet";
}

const char *alpha0_mode_name(enum alpha0_mode m)
{
    return m == ALPHA0_FIXED ? "fixed" : m == ALPHA0_LEARNED ? "learned" : "standard";
}

/* ---- what the run is ---- */

/* All that the result depends on. */
static json_t *describe(const struct run *r)
{
    const struct train_settings *s = r->settings;
    json_t *targets = json_array();
    for (int p = 0; p < PROJECTIONS; p++)
        if (s->adapter.targets[p])
            json_array_append_new(targets, json_string(projection_names[p]));
    const char *compute = r->model->device->compute == F32 ? "f32" : "bf16";
    json_t *d = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:b, s:o, s:f, s:i, s:i, s:i, s:f, s:f, "
        "s:s, "
        "s:I, s:b, s:I}",
        "version", DUQ_VERSION, "model", r->model->digest, "data", r->set->digest, "compute",
        compute, "device", r->model->device->name, "loss", loss_name(s->loss.kind), "rank",
        s->adapter.rank, "alpha", s->adapter.alpha, "dropout", s->adapter.dropout, "rslora",
        s->adapter.rslora, "targets", targets, "learning_rate", s->rate, "batch", s->batch,
        "accumulate", s->accumulate, "epochs", s->epochs, "weight_decay", s->adamw.weight_decay,
        "clip", s->clip, "schedule", s->schedule == SCHEDULE_COSINE ? "cosine" : "constant",
        "warmup", (json_int_t)s->warmup, "shuffle", s->shuffle, "seed", (json_int_t)s->seed);
    if (s->loss.kind == LOSS_DIRICHLET) {
        json_object_set_new(d, "alpha0_mode", json_string(alpha0_mode_name(s->loss.mode)));
        if (s->loss.mode == ALPHA0_FIXED)
            json_object_set_new(d, "alpha0", json_real(s->loss.alpha0));
        if (s->loss.mode == ALPHA0_LEARNED) {
            json_object_set_new(d, "beta", json_real(s->loss.beta));
            json_object_set_new(d, "alpha0_rate", json_real(s->alpha0_rate));
        }
    }
    return d;
}

/* What duq.json says of the adapter. */
static json_t *facts(const struct run *r)
{
    const struct loss *loss = &r->settings->loss;
    json_t *class_tokens = json_array();
    for (int c = 0; c < r->set->n_classes; c++)
        json_array_append_new(class_tokens, json_integer(r->set->class_tokens[c]));
    json_t *f =
        json_pack("{s:s, s:s, s:s, s:o, s:O}", "version", DUQ_VERSION, "model", r->model->digest,
                  "head", loss->kind == LOSS_DIRICHLET ? "dirichlet" : "softmax", "class_tokens",
                  class_tokens, "training", r->description);
    if (r->set->classes)
        json_object_set(f, "classes", r->set->classes);
    if (loss->kind == LOSS_DIRICHLET) {
        json_object_set_new(f, "alpha0_mode", json_string(alpha0_mode_name(loss->mode)));
        if (loss->mode == ALPHA0_FIXED)
            json_object_set_new(f, "alpha0", json_real(loss->alpha0));
        if (loss->mode == ALPHA0_LEARNED)
            json_object_set_new(f, "alpha0", json_real(exp((double)*r->log_alpha0)));
    }
    return f;
}

/* ---- parameters ---- */

static void add_parameter(struct run *r, char *name, float *value, size_t n, double rate_scale)
{
    r->parameters[r->n_parameters++] = (struct parameter){.name = name,
                                                          .value = value,
                                                          .gradient = xcalloc(n, sizeof(float)),
                                                          .m = xcalloc(n, sizeof(float)),
                                                          .v = xcalloc(n, sizeof(float)),
                                                          .n = n,
                                                          .rate_scale = rate_scale};
}

static void collect_parameters(struct run *r)
{
    const struct adapter *a = r->adapter;
    r->parameters = xcalloc(2 * adapter_parts(a) + 1, sizeof *r->parameters);
    for (size_t i = 0; i < adapter_parts(a); i++) {
        const struct lora *l = &a->parts[i];
        if (!l->a)
            continue;
        add_parameter(r, xasprintf("%s.lora_A", l->module), l->a, (size_t)l->rank * (size_t)l->in,
                      1);
        add_parameter(r, xasprintf("%s.lora_B", l->module), l->b, (size_t)l->out * (size_t)l->rank,
                      1);
    }
    if (r->settings->loss.kind == LOSS_DIRICHLET && r->settings->loss.mode == ALPHA0_LEARNED) {
        r->log_alpha0 = xcalloc(1, sizeof *r->log_alpha0);
        *r->log_alpha0 = (float)log(ALPHA0_START);
        add_parameter(r, xstrdup("log_alpha0"), r->log_alpha0, 1,
                      r->settings->alpha0_rate / r->settings->rate);
    }
}

static void fetch_gradients(struct run *r)
{
    size_t at = 0;
    for (size_t i = 0; i < adapter_parts(r->adapter); i++) {
        if (!r->adapter->parts[i].a)
            continue;
        lora_gradients(r->lora, i, r->parameters[at].gradient, r->parameters[at + 1].gradient);
        at += 2;
    }
}

/* ---- order ---- */

/* Stream order, or a permutation drawn for the epoch (Fisher & Yates), which depends on the seed
 * and the epoch alone, so that an interrupted run finds it again. */
static void order_epoch(struct run *r, unsigned long epoch)
{
    for (int i = 0; i < r->set->n; i++)
        r->order[i] = i;
    if (!r->settings->shuffle)
        return;
    for (int i = r->set->n - 1; i > 0; i--) {
        struct philox counter = {{(uint32_t)i, (uint32_t)epoch, ORDER_STREAM, 0}};
        counter =
            philox4x32(counter, (uint32_t)r->settings->seed, (uint32_t)(r->settings->seed >> 32));
        int j = (int)((uint64_t)counter.v[0] * (uint64_t)(i + 1) >> 32);
        int swap = r->order[i];
        r->order[i] = r->order[j];
        r->order[j] = swap;
    }
}

/* ---- steps ---- */

static _Noreturn void die_diverged(const struct run *r, const char *what, const char *id)
{
    bool saved = r->files->every && r->place.step >= r->files->every;
    die(EX_DATAERR, "step %lu%s%s%s: %s is not a finite number; try a lower --lr, or --clip. %s%s",
        r->place.step + 1, id ? " (id " : "", id ? id : "", id ? ")" : "", what,
        saved ? "The last checkpoint is whole: " : "No checkpoint was due yet",
        saved ? r->files->checkpoint : "");
}

/* One pass over `count` examples from number `first` of the order: adds their gradients, for a mean
 * over `total` examples, and returns their share of the mean loss. */
static double run_pass(struct run *r, int first, int count, int total, double *gradient_s)
{
    size_t classes = (size_t)r->set->n_classes;
    struct sequence *s = xreallocarray(NULL, (size_t)count, sizeof *s);
    float *logits = xreallocarray(NULL, (size_t)count * classes, sizeof *logits);
    double *x = xreallocarray(NULL, 2 * classes, sizeof *x), *gradient = x + classes, loss = 0;
    for (int i = 0; i < count; i++)
        s[i] = r->set->sequences[r->order[first + i]];
    lora_set_dropout(r->lora, r->settings->adapter.dropout, r->settings->seed,
                     (uint32_t)r->place.pass++);
    backward_logits(r->backward, s, count, logits);
    for (int i = 0; i < count; i++) {
        int example = r->order[first + i];
        float *row = logits + (size_t)i * classes;
        double by_s, log_alpha0 = r->log_alpha0 ? (double)*r->log_alpha0 : 0;
        for (size_t c = 0; c < classes; c++)
            x[c] = (double)row[c];
        double value =
            loss_value(&r->settings->loss, x, r->set->targets + (size_t)example * classes, classes,
                       log_alpha0, gradient, &by_s);
        if (!isfinite(value))
            die_diverged(r, "the loss", r->set->ids[example]);
        loss += value / total;
        *gradient_s += by_s / total;
        for (size_t c = 0; c < classes; c++)
            row[c] = (float)(gradient[c] / total);
    }
    backward_gradients(r->backward, logits);
    free(s);
    free(logits);
    free(x);
    return loss;
}

/* The examples from number `first` of the order on, one optimizer step. */
static void run_step(struct run *r, int first)
{
    const struct train_settings *s = r->settings;
    int most = s->batch * s->accumulate, left = r->set->n - first;
    int total = left < most ? left : most;
    double loss = 0, gradient_s = 0;
    lora_clear_gradients(r->lora);
    for (int at = 0; at < total; at += s->batch)
        loss += run_pass(r, first + at, total - at < s->batch ? total - at : s->batch, total,
                         &gradient_s);
    fetch_gradients(r);
    if (r->log_alpha0)
        r->parameters[r->n_parameters - 1].gradient[0] = (float)gradient_s;

    double norm = gradient_norm(r->parameters, r->n_parameters);
    if (!isfinite(norm))
        die_diverged(r, "a gradient", NULL);
    if (s->clip > 0)
        clip_gradients(r->parameters, r->n_parameters, norm, s->clip);
    double rate = s->rate * schedule_factor(&r->schedule, r->place.step);
    adamw_step(&s->adamw, r->parameters, r->n_parameters, rate, ++r->place.step);
    lora_refresh(r->lora);
    if (r->log &&
        (fprintf(r->log, "%lu\t%.9g\t%.9g\n", r->place.step, loss, rate) < 0 || fflush(r->log)))
        die(EX_IOERR, "%s: not written: %s", r->files->log, strerror(errno));
    if (r->place.step == 1 || r->place.step == r->schedule.total)
        inform("step %lu: loss %.6g", r->place.step, loss);
}

/* ---- files ---- */

/* The length of the log's lines up to a step, its heading included. */
static long kept_length(FILE *log, unsigned long last)
{
    char line[256];
    unsigned long step;
    long keep = 0;
    while (fgets(line, sizeof line, log) && strchr(line, '\n') &&
           (keep == 0 || (sscanf(line, "%lu", &step) == 1 && step <= last)))
        keep = ftell(log);
    return keep;
}

/* The log of a run that goes on keeps the lines of the steps it has taken. */
static void open_log(struct run *r)
{
    const char *path = r->files->log;
    if (!path)
        return;
    struct stat st;
    bool goes_on = r->place.step && !stat(path, &st) && S_ISREG(st.st_mode);
    r->log = fopen(path, goes_on ? "r+" : "w");
    if (!r->log)
        die(EX_CANTCREAT, "%s: cannot be written: %s", path, strerror(errno));
    long keep = goes_on ? kept_length(r->log, r->place.step) : 0;
    if (goes_on && (fseek(r->log, keep, SEEK_SET) || ftruncate(fileno(r->log), keep)))
        die(EX_IOERR, "%s: cannot be cut to step %lu: %s", path, r->place.step, strerror(errno));
    if (keep == 0)
        fputs("step\tloss\tlr\n", r->log);
}

/* Whether the folder already holds what this run would write. */
static bool is_done(const struct run *r)
{
    char *config = xasprintf("%s/adapter_config.json", r->files->folder);
    char *path = xasprintf("%s/duq.json", r->files->folder);
    bool there = !access(config, F_OK) && !access(path, F_OK);
    if (there) {
        json_t *f = json_read_file(path);
        there = json_equal(json_object_get(f, "training"), r->description);
        json_decref(f);
    }
    free(config);
    free(path);
    return there;
}

/* Better now than after hours of training. */
static void check_folder(const char *folder)
{
    if (mkdir(folder, 0777) && errno != EEXIST)
        die(EX_CANTCREAT, "%s: cannot be created: %s", folder, strerror(errno));
    struct stat st;
    if (stat(folder, &st) || !S_ISDIR(st.st_mode) || access(folder, W_OK | X_OK))
        die(EX_CANTCREAT, "%s: not a folder that can be written to", folder);
}

static void close_run(struct run *r)
{
    backward_close(r->backward);
    r->model->lora = NULL;
    lora_free(r->lora);
    adapter_free(r->adapter);
    for (size_t i = 0; i < r->n_parameters; i++) {
        free(r->parameters[i].name);
        free(r->parameters[i].gradient);
        free(r->parameters[i].m);
        free(r->parameters[i].v);
    }
    free(r->parameters);
    free(r->log_alpha0);
    free(r->order);
    json_decref(r->description);
    if (r->log && fclose(r->log))
        die(EX_IOERR, "%s: not written: %s", r->files->log, strerror(errno));
}

static void run_epochs(struct run *r)
{
    const struct train_settings *s = r->settings;
    unsigned long before = r->place.step;
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    progress_start("steps", r->schedule.total - before); /* those that are left */
    while (r->place.step < r->schedule.total) {
        unsigned long within = r->place.step % r->steps_per_epoch;
        order_epoch(r, r->place.step / r->steps_per_epoch);
        for (; within < r->steps_per_epoch; within++) {
            run_step(r, (int)within * s->batch * s->accumulate);
            if (r->files->every && r->place.step % r->files->every == 0 &&
                r->place.step < r->schedule.total)
                checkpoint_write(r->files->checkpoint, r->parameters, r->n_parameters, &r->place,
                                 r->description);
            progress_update(r->place.step - before);
        }
    }
    progress_end();
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds =
        (double)(ended.tv_sec - began.tv_sec) + 1e-9 * (double)(ended.tv_nsec - began.tv_nsec);
    inform("%lu steps in %.1f s: %.3g s each", r->place.step - before, seconds,
           seconds / (double)(r->place.step > before ? r->place.step - before : 1));
}

void train(struct model *m, const struct training_set *t, const struct train_settings *s,
           const struct train_files *files)
{
    struct run r = {.model = m, .set = t, .settings = s, .files = files};
    unsigned long per_step = (unsigned long)s->batch * (unsigned long)s->accumulate;
    r.steps_per_epoch = ((unsigned long)t->n + per_step - 1) / per_step;
    r.schedule =
        (struct schedule){s->schedule, s->warmup, (unsigned long)s->epochs * r.steps_per_epoch};
    r.description = describe(&r);
    r.adapter = adapter_create(m->config, &s->adapter, s->seed);
    r.order = xreallocarray(NULL, (size_t)t->n + 1, sizeof *r.order);
    collect_parameters(&r);
    check_folder(files->folder);
    outfile_remove_stale(files->checkpoint);
    bool done = false;
    if (files->resume) {
        if (checkpoint_read(files->checkpoint, r.parameters, r.n_parameters, &r.place,
                            r.description))
            inform("%s: going on after step %lu of %lu", files->checkpoint, r.place.step,
                   r.schedule.total);
        else
            done = is_done(&r);
    } else if (!access(files->checkpoint, F_OK)) {
        die(EX_CANTCREAT,
            "%s: a training was interrupted; go on with --resume, or remove the file to start anew",
            files->checkpoint);
    }
    r.lora = lora_load(m->device, r.adapter, t->class_tokens, t->n_classes);
    m->lora = r.lora;
    r.backward = backward_open(m);
    if (done) {
        inform("%s: already complete", files->folder);
    } else {
        open_log(&r);
        run_epochs(&r);
        r.adapter->facts = facts(&r);
        char *base = realpath(m->config->folder, NULL);
        adapter_write(r.adapter, files->folder, base ? base : m->config->folder);
        free(base);
    }
    /* Only now: until the adapter is in place the checkpoint is all there is. */
    if (unlink(files->checkpoint) && errno != ENOENT)
        die(EX_IOERR, "%s: cannot be removed: %s", files->checkpoint, strerror(errno));
    close_run(&r);
}
