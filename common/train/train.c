#include "common/train/train.h"

#include "common/math/philox.h"
#include "common/train/log.h"
#include "common/util/clock.h"
#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/json.h"
#include "common/util/lock.h"
#include "common/util/mem.h"
#include "common/util/outfile.h"
#include "common/util/outpath.h"
#include "common/util/progress.h"
#include "common/util/signals.h"
#include "common/util/unfinished.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* Philox streams beside those of dropout and of the initial values: the order of an epoch. */
enum { ORDER_STREAM = 0x7fffffff };

struct run {
    struct model *model;
    const struct training_set *set;
    struct validator *validator; /* or NULL */
    const struct train_settings *settings;
    const struct train_files *files;
    struct ranks *ranks;
    unsigned long every; /* steps between checkpoints, as rank 0 was told */
    double minutes;      /* and minutes */
    char *base;          /* the model's whole path, for adapters to name */
    struct adapter *adapter;
    struct trainer *trainer;
    struct training_state *state; /* of checkpoints */
    json_t *description;
    struct schedule schedule;
    unsigned long steps_per_epoch;
    unsigned long period; /* steps between validations */
    int *order;           /* [set->n], of the present epoch */
    struct validation latest;
    struct log *log; /* or NULL */
    bool saved;      /* there is a checkpoint */
    double saved_at; /* of the clock; before the first one, the beginning */
    double *sent;    /* [ranks->size], for told_to_end() */
    int signal;      /* that ends it before it is over, or 0 */
    struct lock lock;
};

static const char *alpha0_mode_name(enum alpha0_mode m)
{
    return m == ALPHA0_FIXED ? "fixed" : m == ALPHA0_LEARNED ? "learned" : "standard";
}

static const char *edl_form_name(enum edl_form f)
{
    return f == EDL_LOG ? "log" : f == EDL_DIGAMMA ? "digamma" : "mse";
}

static const char *keep_name(enum keep k)
{
    return k == KEEP_BEST ? "best" : k == KEEP_ALL ? "all" : "last";
}

/* ---- what the run is ---- */

/* Of the texts that it is validated on, and their labels, which figures depend on. */
static json_t *describe_validation(const struct run *r)
{
    if (!r->validator)
        return json_null();
    const struct training_set *set = r->validator->set;
    char labels[DIGEST_SIZE];
    digest_text(XXH64(set->labels, (size_t)set->n * sizeof *set->labels, 0), labels);
    return json_pack("{s:s, s:s, s:I, s:I}", "data", set->digest, "labels", labels, "every",
                     (json_int_t)r->settings->validate_every, "patience",
                     (json_int_t)r->settings->patience);
}

static json_t *describe_class_weights(const struct run *r)
{
    const double *weights = r->settings->class_weights;
    json_t *list = weights ? json_array() : json_null();
    for (int c = 0; weights && c < r->set->n_classes; c++)
        json_array_append_new(list, json_number(weights[c]));
    return list;
}

/* All that the result depends on. */
static json_t *describe(const struct run *r)
{
    const struct train_settings *s = r->settings;
    const struct adapter_settings *adapter = &s->step.adapter;
    const struct loss *loss = &s->step.loss;
    json_t *targets = adapter->pattern ? json_string(adapter->pattern) : json_array();
    for (int p = 0; p < PROJECTIONS && !adapter->pattern; p++)
        if (adapter->targets[p])
            json_array_append_new(targets, json_string(projection_name(p)));
    const char *compute = r->model->device->computes;
    json_t *d = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:b, s:o, s:f, s:i, s:i, s:o, s:f, s:f, "
        "s:s, "
        "s:I, s:b, s:I, s:s, s:o}",
        "version", DUQ_VERSION, "model", r->model->digest, "loss", loss_facts[loss->kind].name,
        "data", r->set->digest, "compute", compute, "device", r->model->device->name, "rank",
        adapter->rank, "alpha", adapter->alpha, "dropout", adapter->dropout, "rslora",
        adapter->rslora, "targets", targets, "learning_rate", s->rate, "batch", s->step.batch,
        "accumulate", s->step.accumulate, "epochs", json_number(s->epochs), "weight_decay",
        s->step.adamw.weight_decay, "clip", s->step.clip, "schedule",
        s->schedule == SCHEDULE_COSINE ? "cosine" : "constant", "warmup", (json_int_t)s->warmup,
        "shuffle", s->shuffle, "seed", (json_int_t)s->step.seed, "keep", keep_name(s->keep),
        "validation", describe_validation(r));
    json_object_set_new(d, "class_weights", describe_class_weights(r));
    if (s->dropout_epochs)
        json_object_set_new(d, "dropout_epochs", json_integer((json_int_t)s->dropout_epochs));
    if (loss->kind == LOSS_DIRICHLET) {
        json_object_set_new(d, "alpha0_mode", json_string(alpha0_mode_name(loss->mode)));
        if (loss->mode == ALPHA0_FIXED)
            json_object_set_new(d, "alpha0", json_real(loss->alpha0));
        if (loss->mode == ALPHA0_LEARNED) {
            json_object_set_new(d, "beta", json_real(loss->beta));
            json_object_set_new(d, "alpha0_rate", json_real(s->alpha0_rate));
        }
    }
    if (loss->kind == LOSS_EDL) {
        json_object_set_new(d, "edl_form", json_string(edl_form_name(loss->form)));
        json_object_set_new(d, "edl_annealing", json_real(s->annealing));
    }
    if (loss->kind == LOSS_IB_EDL) {
        json_object_set_new(d, "ib_beta", json_real(loss->ib_beta));
        json_object_set_new(d, "ib_samples", json_integer(loss->samples));
    }
    return d;
}

/* One training is of one kind: every rank must have been given what rank 0 was. */
static void check_agreement(const struct run *r)
{
    char *own = json_text(r->description, JSON_COMPACT);
    size_t size = strlen(own) + 1;
    r->ranks->broadcast(r->ranks, &size, sizeof size);
    char *text = xmalloc(size);
    if (r->ranks->rank == 0)
        memcpy(text, own, size);
    r->ranks->broadcast(r->ranks, text, size);
    json_t *first = json_loads(text, 0, NULL);
    char *theirs, *ours;
    const char *key = json_difference(first, r->description, &theirs, &ours);
    if (key)
        die(EX_DATAERR,
            "rank %d has %s = %s, rank 0 has %s: give all ranks the same options and model, and "
            "devices of one kind",
            r->ranks->rank, key, ours, theirs);
    json_decref(first);
    free(text);
    free(own);
}

/* What duq.json says of the adapter; step: how many it has taken; v: its figures, or NULL. */
static json_t *facts(const struct run *r, unsigned long step, const struct validation *v)
{
    const struct loss *loss = &r->settings->step.loss;
    const struct answer_tree *tree = r->set->tree;
    json_t *deviation_tokens = json_array();
    for (int i = tree->n_tokens; i < r->set->n_outputs; i++)
        json_array_append_new(deviation_tokens, json_integer(r->set->class_tokens[i]));
    json_t *f = json_pack("{s:s, s:s, s:s, s:O, s:O}", "version", DUQ_VERSION, "model",
                          r->model->digest, "head", loss_facts[loss->kind].head, tree->key,
                          tree->json, "training", r->description);
    if (r->set->classes)
        json_object_set(f, "classes", r->set->classes);
    if (r->set->layout)
        json_object_set(f, "layout", r->set->layout);
    if (r->set->asked) {
        json_t *asked = json_copy(r->set->asked);
        json_object_set(asked, "instructions", r->set->instructions);
        json_object_set_new(f, "asked", asked);
    }
    if (json_array_size(deviation_tokens))
        json_object_set(f, "deviation_tokens", deviation_tokens);
    json_decref(deviation_tokens);
    if (loss->kind == LOSS_DIRICHLET) {
        json_object_set_new(f, "alpha0_mode", json_string(alpha0_mode_name(loss->mode)));
        if (loss->mode == ALPHA0_FIXED)
            json_object_set_new(f, "alpha0", json_real(loss->alpha0));
        if (loss->mode == ALPHA0_LEARNED)
            json_object_set_new(f, "alpha0", json_real(exp(trainer_log_alpha0(r->trainer))));
    }
    json_object_set_new(f, "step", json_integer((json_int_t)step));
    json_object_set_new(f, "epoch", json_real((double)step / (double)r->steps_per_epoch));
    if (v) {
        json_t *figures = validation_json(v);
        json_object_del(figures, "step");
        json_object_set_new(f, "validation", figures);
    }
    return f;
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
        counter = philox4x32(counter, (uint32_t)r->settings->step.seed,
                             (uint32_t)(r->settings->step.seed >> 32));
        int j = (int)((uint64_t)counter.v[0] * (uint64_t)(i + 1) >> 32);
        int swap = r->order[i];
        r->order[i] = r->order[j];
        r->order[j] = swap;
    }
}

/* ---- steps ---- */

static void write_best(struct run *r, unsigned long diverged);

/* All ranks come here; rank 0 speaks, and ends the others. step: that of the number which is not
 * finite. */
static _Noreturn void die_diverged(struct run *r, unsigned long step, const char *what,
                                   const char *id)
{
    if (r->ranks->rank > 0) {
        r->ranks->wait(r->ranks);
        exit(EX_DATAERR);
    }
    struct buf kept = {0};
    if (r->state->best_values && r->state->best.step) {
        write_best(r, step);
        buf_addf(&kept, "The best student so far, of step %lu, is in %s. ", r->state->best.step,
                 r->files->folder);
    }
    if (r->saved)
        buf_addf(&kept, "The last checkpoint is whole: %s", r->files->checkpoint);
    else
        buf_addf(&kept, "No checkpoint was due yet");
    die(EX_DATAERR, "step %lu%s%s%s: %s is not a finite number; try a lower --lr, or --clip. %s",
        step, id ? " (id " : "", id ? id : "", id ? ")" : "", what, buf_str(&kept));
}

/* lambda of Sensoy, Kaplan & Kandemir 2018. Epochs count from 0, as in the code that they published
 * and in that of IB-EDL: none of the evidence is held back before it has been looked for. */
static double annealed_weight(double annealing, unsigned long epoch)
{
    return annealing > (double)epoch ? (double)epoch / annealing : 1;
}

static bool is_due(const struct run *r, unsigned long taken)
{
    return taken % r->period == 0 || taken == r->schedule.total;
}

/* Says how good the student is, and whether it is the best one so far. */
static void show_validation(const struct run *r)
{
    const struct validation *v = &r->latest, *best = &r->state->best;
    char *note = xasprintf("validation %.4g, lowest %.4g", v->loss, best->loss);
    progress_note(note);
    free(note);
    inform("epoch %.4g, step %lu: validation loss %.6g%s",
           (double)v->step / (double)r->steps_per_epoch, v->step, v->loss,
           best->step == v->step ? ", the lowest so far" : "");
    if (!isnan(v->accuracy))
        inform("  nll %.6g, accuracy %.4f, ece %.4f", v->nll, v->accuracy, v->ece);
}

/* Measures the student and keeps it where it is the best one so far. */
static void validate(struct run *r)
{
    struct training_state *s = r->state;
    struct validation v = r->validator->measure(r->validator, trainer_lora(r->trainer),
                                                trainer_log_alpha0(r->trainer));
    v.step = trainer_steps(r->trainer);
    r->latest = v;
    if (v.bad_example >= 0)
        return;
    s->since_best++;
    if (!s->best.step || v.loss < s->best.loss) {
        s->best = v;
        s->since_best = 0;
        if (s->best_values && r->ranks->rank == 0)
            trainer_values(r->trainer, s->best_values);
    }
    show_validation(r);
}

/* The examples from number `first` of the order on, one optimizer step; validation where it is due.
 */
static void run_step(struct run *r, int first)
{
    const struct train_settings *s = r->settings;
    int most = s->step.batch * s->step.accumulate, left = r->set->n - first;
    unsigned long taken = trainer_steps(r->trainer), epoch = taken / r->steps_per_epoch;
    double factor = schedule_factor(&r->schedule, taken);
    struct step step = {.set = r->set,
                        .examples = r->order + first,
                        .n = left < most ? left : most,
                        .rate = s->rate * factor,
                        .alpha0_rate = s->alpha0_rate * factor,
                        .kl_weight = annealed_weight(s->annealing, epoch),
                        .whole_input = s->dropout_epochs && epoch >= s->dropout_epochs};
    struct step_result result = trainer_step(r->trainer, &step);
    if (result.bad_example >= 0)
        die_diverged(r, taken + 1, "the loss", r->set->ids[result.bad_example]);
    if (!result.finite)
        die_diverged(r, taken + 1, "a gradient", NULL);
    unsigned long number = trainer_steps(r->trainer);
    if (number == 1 || number == r->schedule.total)
        inform("step %lu: loss %.6g", number, result.loss);
    bool measured = r->validator && is_due(r, number);
    if (measured)
        validate(r);
    if (r->log)
        log_step(r->log, number, result.loss, step.rate, measured ? &r->latest : NULL);
    if (measured && r->latest.bad_example >= 0)
        die_diverged(r, number, "the validation loss",
                     r->validator->set->ids[r->latest.bad_example]);
}

/* ---- files ---- */

/* Where KEEP_ALL puts the student that has taken so many steps; the caller frees it. */
static char *folder_of(const struct run *r, unsigned long taken)
{
    return xasprintf("%s/%lu", r->files->all,
                     r->settings->validate_every ? taken : taken / r->period);
}

/* The first setting in which the training of an adapter with these facts is another one than this,
 * with both values (json_difference()); NULL: it is this one. */
static const char *difference_from(const struct run *r, const json_t *facts, char **theirs,
                                   char **ours)
{
    return json_difference(json_object_get(facts, "training"), r->description, theirs, ours);
}

/* KEEP_ALL: dies where the student in the folder `name` is another run's, not to lie among this
 * one's. It may be written again, so it is no input. */
static void check_own(const struct run *r, const char *name)
{
    char *path = xasprintf("%s/%s/duq.json", r->files->all, name), *theirs, *ours;
    if (file_exists(path)) {
        struct file_map map = file_map(path, "what an adapter is");
        json_t *f = json_loadb(map.base ? map.base : "", map.size, 0, NULL);
        const char *key = difference_from(r, f, &theirs, &ours);
        if (key)
            die(EX_CANTCREAT,
                "%s: holds students of another training (%s/duq.json: %s = %s, now it is %s): "
                "remove it, or name another adapter",
                r->files->all, name, key, theirs, ours);
        json_decref(f);
        file_unmap(&map);
    }
    free(path);
}

static void check_all_own(const struct run *r)
{
    const char *all = r->files->all;
    DIR *d = r->settings->keep == KEEP_ALL ? folder_open(all) : NULL;
    for (const char *name; d && (name = folder_next(d, all));)
        if (isdigit((unsigned char)*name))
            check_own(r, name);
    folder_close(d);
}

/* A run that is done after so many steps has kept all, if this one is to. */
static void check_all(const struct run *r, unsigned long steps)
{
    if (r->settings->keep != KEEP_ALL)
        return;
    for (unsigned long taken = r->period; taken <= steps; taken += r->period) {
        char *folder = folder_of(r, taken), *path = xasprintf("%s/adapter_config.json", folder);
        if (!file_exists(path))
            die(EX_DATAERR,
                "%s: complete, but the adapter of step %lu is not in %s: remove it to train anew",
                r->files->folder, taken, folder);
        free(folder);
        free(path);
    }
}

/* Whether the folder already holds what this run would write. Dies (EX_DATAERR) where it holds what
 * another run wrote: going on with that would throw it away. */
static bool is_done(const struct run *r)
{
    const char *folder = r->files->folder;
    char *config = xasprintf("%s/adapter_config.json", folder);
    char *path = xasprintf("%s/duq.json", folder);
    bool there = file_exists(config) && file_exists(path);
    if (there) {
        json_t *f = json_read_file(path);
        char *theirs, *ours;
        const char *key = difference_from(r, f, &theirs, &ours);
        if (key)
            die(EX_DATAERR,
                "%s: complete, but made with %s = %s, now it is %s: name another folder, or remove "
                "it to train anew",
                folder, key, theirs, ours);
        const json_t *diverged = json_object_get(f, "diverged");
        if (diverged)
            die(EX_DATAERR,
                "%s: the best student of a run whose loss was not a finite number any more at step "
                "%lu: give other options and another folder, or remove it to train anew",
                folder, (unsigned long)json_integer_value(diverged));
        check_all(r, (unsigned long)json_integer_value(json_object_get(f, "step")));
        json_decref(f);
        adapter_free(adapter_read(folder, r->model->config, r->model->digest, r->model->tensors));
    }
    free(config);
    free(path);
    return there;
}

/* Better now than after hours of training. A folder that is made to try is removed again: until the
 * adapter is written there is none. */
static void check_folder(const char *folder)
{
    bool made = !mkdir(folder, 0777);
    if (!made && errno != EEXIST)
        die(EX_CANTCREAT, "%s: cannot be created: %s", folder, strerror(errno));
    struct stat st;
    if (stat(folder, &st) || !S_ISDIR(st.st_mode) || access(folder, W_OK | X_OK))
        die(EX_CANTCREAT, "%s: not a folder that can be written to", folder);
    if (made)
        rmdir(folder);
}

/* A checkpoint is written beside its place, read again, and removed at the end. */
static void check_checkpoint(const char *path)
{
    int descriptor;
    char *place = outpath_follow(path, &descriptor);
    struct stat st;
    if (!place || (!stat(place, &st) && !S_ISREG(st.st_mode)))
        die(EX_CANTCREAT, "%s: not a regular file, which a checkpoint is", path);
    char *folder = outpath_folder(place);
    if (access(folder, W_OK | X_OK))
        die(EX_CANTCREAT, "%s: cannot be created: %s", path, strerror(errno));
    free(folder);
    free(place);
}

static void close_run(struct run *r)
{
    training_state_free(r->state);
    trainer_close(r->trainer);
    adapter_free(r->adapter);
    free(r->base);
    free(r->order);
    free(r->sent);
    json_decref(r->description);
    if (r->log)
        log_close(r->log);
}

static void write_checkpoint(struct run *r)
{
    if (r->ranks->rank > 0)
        return;
    trainer_save(r->trainer, r->state);
    checkpoint_write(r->files->checkpoint, r->state, r->description);
    r->saved = true;
    r->saved_at = clock_seconds();
}

static bool keeps_checkpoints(const struct run *r)
{
    return r->every || r->minutes > 0;
}

static bool checkpoint_is_due(const struct run *r)
{
    return (r->every && trainer_steps(r->trainer) % r->every == 0) ||
           (r->minutes > 0 && clock_seconds() - r->saved_at >= 60 * r->minutes);
}

/* The trainer's values, which the student had after step `step`. v: its figures, or NULL; diverged:
 * the step at which a number was not finite, or 0. */
static void write_adapter(struct run *r, const char *folder, unsigned long step,
                          const struct validation *v, unsigned long diverged)
{
    trainer_fetch(r->trainer, r->adapter);
    json_decref(r->adapter->facts);
    r->adapter->facts = facts(r, step, v);
    if (diverged)
        json_object_set_new(r->adapter->facts, "diverged", json_integer((json_int_t)diverged));
    adapter_write(r->adapter, folder, r->base);
}

/* The trainer's values become the best student's. */
static void write_best(struct run *r, unsigned long diverged)
{
    trainer_set_values(r->trainer, r->state->best_values);
    write_adapter(r, r->files->folder, r->state->best.step, &r->state->best, diverged);
}

/* Of KEEP_ALL, the student as it is. */
static void write_one_of_all(struct run *r)
{
    unsigned long taken = trainer_steps(r->trainer);
    if (r->settings->keep != KEEP_ALL || taken % r->period || r->ranks->rank > 0)
        return;
    if (mkdir(r->files->all, 0777) && errno != EEXIST)
        die(EX_CANTCREAT, "%s: cannot be created: %s", r->files->all, strerror(errno));
    char *folder = folder_of(r, taken);
    write_adapter(r, folder, taken, r->validator ? &r->latest : NULL, 0);
    free(folder);
}

static void write_result(struct run *r)
{
    if (r->ranks->rank > 0)
        return;
    if (r->settings->keep == KEEP_BEST)
        write_best(r, 0);
    else
        write_adapter(r, r->files->folder, trainer_steps(r->trainer),
                      r->validator ? &r->latest : NULL, 0);
    const struct training_state *s = r->state;
    if (r->validator)
        inform("the lowest validation loss, %.6g, was that of step %lu; %s has step %lu",
               s->best.loss, s->best.step, r->files->folder,
               r->settings->keep == KEEP_BEST ? s->best.step : trainer_steps(r->trainer));
}

static bool is_over(const struct run *r)
{
    unsigned long patience = r->settings->patience;
    return trainer_steps(r->trainer) >= r->schedule.total ||
           (patience && r->state->since_best >= patience);
}

/* The signal that one of the ranks was sent, or 0. All come here. */
static int told_to_end(struct run *r)
{
    if (!keeps_checkpoints(r))
        return 0;
    int number = 0;
    for (int i = 0; i < r->ranks->size; i++)
        r->sent[i] = i == r->ranks->rank ? signals_held() : 0;
    r->ranks->collect(r->ranks, r->sent, (size_t)r->ranks->size);
    for (int i = 0; i < r->ranks->size && !number; i++)
        number = (int)r->sent[i];
    return number;
}

/* Ends by the signal, the checkpoint being that of the last step. */
static _Noreturn void leave(const struct run *r)
{
    if (r->ranks->rank == 0)
        warn("interrupted after step %lu of %lu, which is in %s: --resume goes on from there",
             trainer_steps(r->trainer), r->schedule.total, r->files->checkpoint);
    r->ranks->wait(r->ranks); /* none ends before rank 0 has written */
    signals_end_by(r->signal);
}

static void run_steps(struct run *r)
{
    const struct train_settings *s = r->settings;
    unsigned long before = trainer_steps(r->trainer), taken = before, total = r->schedule.total;
    double began = clock_seconds();
    r->saved_at = began;
    if (keeps_checkpoints(r)) {
        unfinished_watch_signals();
        signals_hold();
    }
    progress_start("steps", total - before); /* those that are left */
    while (!is_over(r) && !r->signal) {
        unsigned long within = taken % r->steps_per_epoch;
        if (within == 0 || taken == before)
            order_epoch(r, taken / r->steps_per_epoch);
        run_step(r, (int)within * s->step.batch * s->step.accumulate);
        taken = trainer_steps(r->trainer);
        /* Before the checkpoint: what goes on from that has all that came before it. */
        write_one_of_all(r);
        if (!is_over(r)) {
            r->signal = told_to_end(r);
            if (r->signal || checkpoint_is_due(r))
                write_checkpoint(r);
        }
        progress_update(taken - before);
    }
    progress_end();
    if (taken < total && !r->signal)
        inform("step %lu: no lower validation loss in %lu validations: the end", taken,
               r->state->since_best);
    double seconds = clock_seconds() - began;
    inform("%lu steps in %.1f s: %.3g s each", taken - before, seconds,
           seconds / (double)(taken > before ? taken - before : 1));
}

enum beginning { ANEW, RESUMED, DONE };

/* Prepares the files and reads the checkpoint, when told to go on from it. */
static enum beginning begin(struct run *r)
{
    const struct train_files *files = r->files;
    check_folder(files->folder);
    check_checkpoint(files->checkpoint);
    if (r->settings->keep == KEEP_ALL)
        check_folder(files->all);
    if (!lock_take(&r->lock, files->lock))
        die(EX_TEMPFAIL,
            "%s: another training is at work on it (%s): wait for its end, or name another folder",
            files->folder, files->lock);
    if (!files->resume && file_exists(files->checkpoint))
        die(EX_CANTCREAT,
            "%s: a training was interrupted; go on with --resume, or remove the file to start anew",
            files->checkpoint);
    outfile_remove_stale(files->checkpoint);
    bool resumed = files->resume && checkpoint_read(files->checkpoint, r->state, r->description);
    if (!resumed && files->resume && is_done(r))
        return DONE;
    if (!resumed) {
        check_all_own(r);
        return ANEW;
    }
    r->saved = true;
    inform("%s: going on after step %lu of %lu", files->checkpoint, r->state->step,
           r->schedule.total);
    return RESUMED;
}

/* Begins in all ranks where rank 0 does. */
static enum beginning begin_together(struct run *r)
{
    struct ranks *ranks = r->ranks;
    struct training_state *s = r->state;
    enum beginning where = ranks->rank == 0 ? begin(r) : ANEW;
    r->every = r->files->every;
    r->minutes = r->files->minutes;
    ranks->broadcast(ranks, &where, sizeof where);
    ranks->broadcast(ranks, &r->every, sizeof r->every);
    ranks->broadcast(ranks, &r->minutes, sizeof r->minutes);
    if (where != RESUMED)
        return where;
    ranks->broadcast(ranks, &s->step, sizeof s->step);
    ranks->broadcast(ranks, &s->pass, sizeof s->pass);
    ranks->broadcast(ranks, &s->best, sizeof s->best);
    ranks->broadcast(ranks, &s->since_best, sizeof s->since_best);
    for (int k = 0; k < STATE_ARRAYS; k++)
        ranks->broadcast(ranks, s->arrays[k], s->n * sizeof *s->arrays[k]);
    trainer_restore(r->trainer, s);
    return where;
}

/* A step that is begun is taken: 2.5 epochs of 3 steps have 8, as transformers' Trainer counts
 * them. What rounding adds to a product of decimal fractions is not begun. */
static unsigned long steps_of(double epochs, unsigned long per_epoch)
{
    double steps = epochs * (double)per_epoch;
    unsigned long n = (unsigned long)ceil(steps - 1e-9 * steps);
    return n > 0 ? n : 1;
}

static char *whole_path(const char *model)
{
    char *path = realpath(model, NULL);
    if (!path)
        die(EX_OSERR, "%s: its whole path cannot be told: %s", model, strerror(errno));
    return path;
}

void train(struct model *m, const struct training_set *t, struct validator *v,
           const struct train_settings *s, const struct train_files *files, struct ranks *ranks)
{
    struct run r = {.model = m,
                    .set = t,
                    .validator = v,
                    .settings = s,
                    .files = files,
                    .ranks = ranks,
                    .lock = {.fd = -1}};
    unsigned long per_step = (unsigned long)s->step.batch * (unsigned long)s->step.accumulate;
    r.steps_per_epoch = ((unsigned long)t->n + per_step - 1) / per_step;
    r.schedule = (struct schedule){s->schedule, s->warmup, steps_of(s->epochs, r.steps_per_epoch)};
    r.period = s->validate_every ? s->validate_every : r.steps_per_epoch;
    r.description = describe(&r);
    r.base = whole_path(m->config->folder);
    r.adapter = adapter_create(m->config, &s->step.adapter, s->step.seed);
    r.order = xreallocarray(NULL, (size_t)t->n + 1, sizeof *r.order);
    r.sent = xcalloc((size_t)ranks->size, sizeof *r.sent);
    check_agreement(&r);
    r.trainer = trainer_open(m, r.adapter, t, &s->step, ranks);
    r.state = trainer_state(r.trainer);
    if (s->keep == KEEP_BEST)
        r.state->best_values = xcalloc(r.state->n, sizeof *r.state->best_values);
    if (begin_together(&r) == DONE) {
        inform("%s: already complete", files->folder);
    } else {
        if (files->log && ranks->rank == 0)
            r.log = log_open(files->log, trainer_steps(r.trainer), v);
        run_steps(&r);
        if (r.signal)
            leave(&r);
        write_result(&r);
    }
    /* Only now: until the adapter is in place the checkpoint is all there is. */
    if (ranks->rank == 0 && unlink(files->checkpoint) && errno != ENOENT)
        die(EX_IOERR, "%s: cannot be removed: %s", files->checkpoint, strerror(errno));
    lock_release(&r.lock);
    close_run(&r);
    signals_release(); /* one that came with the last step or later */
}
