#include "common/train/train.h"

#include "common/math/philox.h"
#include "common/util/clock.h"
#include "common/util/diag.h"
#include "common/util/json.h"
#include "common/util/mem.h"
#include "common/util/outfile.h"
#include "common/util/progress.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Philox streams beside those of dropout and of the initial values: the order of an epoch. */
enum { ORDER_STREAM = 0x7fffffff };

struct run {
    struct model *model;
    const struct training_set *set;
    const struct train_settings *settings;
    const struct train_files *files;
    struct ranks *ranks;
    unsigned long every; /* steps between checkpoints, as rank 0 was told */
    struct adapter *adapter;
    struct trainer *trainer;
    struct training_state *state; /* of checkpoints */
    json_t *description;
    struct schedule schedule;
    unsigned long steps_per_epoch;
    int *order; /* [set->n], of the present epoch */
    FILE *log;
};

const char *alpha0_mode_name(enum alpha0_mode m)
{
    return m == ALPHA0_FIXED ? "fixed" : m == ALPHA0_LEARNED ? "learned" : "standard";
}

const char *edl_form_name(enum edl_form f)
{
    return f == EDL_LOG ? "log" : f == EDL_DIGAMMA ? "digamma" : "mse";
}

/* ---- what the run is ---- */

/* All that the result depends on. */
static json_t *describe(const struct run *r)
{
    const struct train_settings *s = r->settings;
    const struct adapter_settings *adapter = &s->step.adapter;
    const struct loss *loss = &s->step.loss;
    json_t *targets = json_array();
    for (int p = 0; p < PROJECTIONS; p++)
        if (adapter->targets[p])
            json_array_append_new(targets, json_string(projection_name(p)));
    const char *compute = r->model->device->computes;
    json_t *d = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:b, s:o, s:f, s:i, s:i, s:i, s:f, s:f, "
        "s:s, "
        "s:I, s:b, s:I}",
        "version", DUQ_VERSION, "model", r->model->digest, "data", r->set->digest, "compute",
        compute, "device", r->model->device->name, "loss", loss_facts[loss->kind].name, "rank",
        adapter->rank, "alpha", adapter->alpha, "dropout", adapter->dropout, "rslora",
        adapter->rslora, "targets", targets, "learning_rate", s->rate, "batch", s->step.batch,
        "accumulate", s->step.accumulate, "epochs", s->epochs, "weight_decay",
        s->step.adamw.weight_decay, "clip", s->step.clip, "schedule",
        s->schedule == SCHEDULE_COSINE ? "cosine" : "constant", "warmup", (json_int_t)s->warmup,
        "shuffle", s->shuffle, "seed", (json_int_t)s->step.seed);
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

/* What duq.json says of the adapter. */
static json_t *facts(const struct run *r)
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
            json_object_set_new(f, "alpha0", json_real(trainer_alpha0(r->trainer)));
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

/* All ranks come here; rank 0 speaks, and ends the others. */
static _Noreturn void die_diverged(const struct run *r, const char *what, const char *id)
{
    if (r->ranks->rank > 0) {
        r->ranks->wait(r->ranks);
        exit(EX_DATAERR);
    }
    unsigned long taken = trainer_steps(r->trainer);
    bool saved = r->every && taken >= r->every;
    die(EX_DATAERR, "step %lu%s%s%s: %s is not a finite number; try a lower --lr, or --clip. %s%s",
        taken + 1, id ? " (id " : "", id ? id : "", id ? ")" : "", what,
        saved ? "The last checkpoint is whole: " : "No checkpoint was due yet",
        saved ? r->files->checkpoint : "");
}

/* lambda of Sensoy, Kaplan & Kandemir 2018. Epochs count from 0, as in the code that they published
 * and in that of IB-EDL: none of the evidence is held back before it has been looked for. */
static double annealed_weight(double annealing, unsigned long epoch)
{
    return annealing > (double)epoch ? (double)epoch / annealing : 1;
}

/* The examples from number `first` of the order on, one optimizer step. */
static void run_step(struct run *r, int first)
{
    const struct train_settings *s = r->settings;
    int most = s->step.batch * s->step.accumulate, left = r->set->n - first;
    unsigned long taken = trainer_steps(r->trainer);
    double factor = schedule_factor(&r->schedule, taken);
    struct step step = {.set = r->set,
                        .examples = r->order + first,
                        .n = left < most ? left : most,
                        .rate = s->rate * factor,
                        .alpha0_rate = s->alpha0_rate * factor,
                        .kl_weight = annealed_weight(s->annealing, taken / r->steps_per_epoch)};
    struct step_result result = trainer_step(r->trainer, &step);
    if (result.bad_example >= 0)
        die_diverged(r, "the loss", r->set->ids[result.bad_example]);
    if (!result.finite)
        die_diverged(r, "a gradient", NULL);
    unsigned long number = trainer_steps(r->trainer);
    if (r->log && (fprintf(r->log, "%lu\t%.9g\t%.9g\n", number, result.loss, step.rate) < 0 ||
                   fflush(r->log)))
        die(EX_IOERR, "%s: not written: %s", r->files->log, strerror(errno));
    if (number == 1 || number == r->schedule.total)
        inform("step %lu: loss %.6g", number, result.loss);
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
    if (!path || r->ranks->rank > 0)
        return;
    struct stat st;
    unsigned long taken = trainer_steps(r->trainer);
    bool goes_on = taken && !stat(path, &st) && S_ISREG(st.st_mode);
    r->log = fopen(path, goes_on ? "r+" : "w");
    if (!r->log)
        die(EX_CANTCREAT, "%s: cannot be written: %s", path, strerror(errno));
    long keep = goes_on ? kept_length(r->log, taken) : 0;
    if (goes_on && (fseek(r->log, keep, SEEK_SET) || ftruncate(fileno(r->log), keep)))
        die(EX_IOERR, "%s: cannot be cut to step %lu: %s", path, taken, strerror(errno));
    if (keep == 0)
        fputs("step\tloss\tlr\n", r->log);
}

/* A run that is done has kept its epochs, if this one is to. */
static void check_epochs(const struct run *r)
{
    for (int epoch = 1; r->files->epochs && epoch <= r->settings->epochs; epoch++) {
        char *path = xasprintf("%s/%d/adapter_config.json", r->files->epochs, epoch);
        if (access(path, F_OK))
            die(EX_DATAERR,
                "%s: complete, but the adapter of epoch %d is not in %s: remove it to train anew",
                r->files->folder, epoch, r->files->epochs);
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
    bool there = !access(config, F_OK) && !access(path, F_OK);
    if (there) {
        json_t *f = json_read_file(path);
        char *theirs, *ours;
        const char *key =
            json_difference(json_object_get(f, "training"), r->description, &theirs, &ours);
        if (key)
            die(EX_DATAERR,
                "%s: complete, but made with %s = %s, now it is %s: name another folder, or remove "
                "it to train anew",
                folder, key, theirs, ours);
        json_decref(f);
        check_epochs(r);
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

static void close_run(struct run *r)
{
    training_state_free(r->state);
    trainer_close(r->trainer);
    adapter_free(r->adapter);
    free(r->order);
    json_decref(r->description);
    if (r->log && fclose(r->log))
        die(EX_IOERR, "%s: not written: %s", r->files->log, strerror(errno));
}

static void write_checkpoint(struct run *r)
{
    if (r->ranks->rank > 0)
        return;
    trainer_save(r->trainer, r->state);
    checkpoint_write(r->files->checkpoint, r->state, r->description);
}

static void write_adapter(struct run *r, const char *folder)
{
    trainer_fetch(r->trainer, r->adapter);
    json_decref(r->adapter->facts);
    r->adapter->facts = facts(r);
    const char *model = r->model->config->folder;
    char *base = realpath(model, NULL);
    adapter_write(r->adapter, folder, base ? base : model);
    free(base);
}

/* epoch: how many are done */
static void write_epoch(struct run *r, unsigned long epoch)
{
    if (!r->files->epochs || r->ranks->rank > 0)
        return;
    if (mkdir(r->files->epochs, 0777) && errno != EEXIST)
        die(EX_CANTCREAT, "%s: cannot be created: %s", r->files->epochs, strerror(errno));
    char *folder = xasprintf("%s/%lu", r->files->epochs, epoch);
    write_adapter(r, folder);
    free(folder);
}

static void run_epochs(struct run *r)
{
    const struct train_settings *s = r->settings;
    unsigned long before = trainer_steps(r->trainer), taken = before, total = r->schedule.total;
    double began = clock_seconds();
    progress_start("steps", total - before); /* those that are left */
    while (taken < total) {
        unsigned long within = taken % r->steps_per_epoch;
        order_epoch(r, taken / r->steps_per_epoch);
        for (; within < r->steps_per_epoch; within++) {
            run_step(r, (int)within * s->step.batch * s->step.accumulate);
            taken = trainer_steps(r->trainer);
            /* Before the checkpoint: what goes on from that has every epoch before it. */
            if (within + 1 == r->steps_per_epoch)
                write_epoch(r, taken / r->steps_per_epoch);
            if (r->every && taken % r->every == 0 && taken < total)
                write_checkpoint(r);
            progress_update(taken - before);
        }
    }
    progress_end();
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
    outfile_remove_stale(files->checkpoint);
    if (!files->resume) {
        if (!access(files->checkpoint, F_OK))
            die(EX_CANTCREAT,
                "%s: a training was interrupted; go on with --resume, or remove the file to start "
                "anew",
                files->checkpoint);
        return ANEW;
    }
    if (!checkpoint_read(files->checkpoint, r->state, r->description))
        return is_done(r) ? DONE : ANEW;
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
    ranks->broadcast(ranks, &where, sizeof where);
    ranks->broadcast(ranks, &r->every, sizeof r->every);
    if (where != RESUMED)
        return where;
    ranks->broadcast(ranks, &s->step, sizeof s->step);
    ranks->broadcast(ranks, &s->pass, sizeof s->pass);
    for (int k = 0; k < STATE_ARRAYS; k++)
        ranks->broadcast(ranks, s->arrays[k], s->n * sizeof *s->arrays[k]);
    trainer_restore(r->trainer, s);
    return where;
}

void train(struct model *m, const struct training_set *t, const struct train_settings *s,
           const struct train_files *files, struct ranks *ranks)
{
    struct run r = {.model = m, .set = t, .settings = s, .files = files, .ranks = ranks};
    unsigned long per_step = (unsigned long)s->step.batch * (unsigned long)s->step.accumulate;
    r.steps_per_epoch = ((unsigned long)t->n + per_step - 1) / per_step;
    r.schedule =
        (struct schedule){s->schedule, s->warmup, (unsigned long)s->epochs * r.steps_per_epoch};
    r.description = describe(&r);
    r.adapter = adapter_create(m->config, &s->step.adapter, s->step.seed);
    r.order = xreallocarray(NULL, (size_t)t->n + 1, sizeof *r.order);
    check_agreement(&r);
    r.trainer = trainer_open(m, r.adapter, t, &s->step, ranks);
    r.state = trainer_state(r.trainer);
    if (begin_together(&r) == DONE) {
        inform("%s: already complete", files->folder);
    } else {
        open_log(&r);
        run_epochs(&r);
        if (ranks->rank == 0)
            write_adapter(&r, files->folder);
    }
    /* Only now: until the adapter is in place the checkpoint is all there is. */
    if (ranks->rank == 0 && unlink(files->checkpoint) && errno != ENOENT)
        die(EX_IOERR, "%s: cannot be removed: %s", files->checkpoint, strerror(errno));
    close_run(&r);
}
