/* lora-train: tokens and a teacher's predictions to a PEFT adapter folder. */
#include "cmd/lora-train/validator.h"
#include "cmd/model_options.h"
#include "common/model/device.h"
#include "common/plan/fit.h"
#include "common/plan/profile_device.h"
#include "common/stream/stream.h"
#include "common/text/tokenizer_match.h"
#include "common/train/ranks.h"
#include "common/train/train.h"
#include "common/util/apart.h"
#include "common/util/clock.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/model_folder.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What layers compute on the way forward, for the way back. */
enum activations_mode { ACTIVATIONS_AUTO, ACTIVATIONS_KEEP, ACTIVATIONS_RECOMPUTE };

struct settings {
    struct common_options common;
    const char *model, *teacher, *validation, *validation_teacher, *class_weights;
    bool alpha0_given, learned_given, edl_given, ib_given, profile;
    enum ranks_mode mpi;
    enum activations_mode activations;
    struct device_request device;
    struct train_settings train;
    struct train_files files;
};

static const struct option_choice losses[] = {
    {"softmax", LOSS_SOFTMAX}, {"dirichlet", LOSS_DIRICHLET}, {"labels", LOSS_LABELS},
    {"edl", LOSS_EDL},         {"ib-edl", LOSS_IB_EDL},       {0}};
static const struct option_choice alpha0_words[] = {
    {"standard", ALPHA0_STANDARD}, {"learned", ALPHA0_LEARNED}, {0}};
static const struct option_choice schedules[] = {
    {"constant", SCHEDULE_CONSTANT}, {"cosine", SCHEDULE_COSINE}, {0}};
static const struct option_choice keeps[] = {
    {"last", KEEP_LAST}, {"best", KEEP_BEST}, {"all", KEEP_ALL}, {0}};
static const struct option_choice activations_modes[] = {{"auto", ACTIVATIONS_AUTO},
                                                         {"keep", ACTIVATIONS_KEEP},
                                                         {"recompute", ACTIVATIONS_RECOMPUTE},
                                                         {0}};
static const struct option_choice edl_forms[] = {
    {"mse", EDL_MSE}, {"log", EDL_LOG}, {"digamma", EDL_DIGAMMA}, {0}};
static const struct option_choice mpi_modes[] = {
    {"auto", RANKS_AUTO}, {"yes", RANKS_MPI}, {"no", RANKS_ALONE}, {0}};

static void take_alpha0(void *target, const char *option, const char *value)
{
    struct loss *loss = target;
    if (!strncmp(value, "fixed:", 6)) {
        loss->mode = ALPHA0_FIXED;
        loss->alpha0 = option_double("--alpha0 fixed:", value + 6, 1e-3, 1e9);
    } else if (!strcmp(value, "learned")) {
        loss->mode = ALPHA0_LEARNED;
    } else if (!strcmp(value, "standard")) {
        loss->mode = ALPHA0_STANDARD;
    } else {
        usage_error("%s: '%s' is none of standard, fixed:A, learned", option, value);
    }
}

#define WHOLE(m, min, max) OPTION_WHOLE(struct settings, m, min, max)
#define REAL(m, min, max) OPTION_REAL(struct settings, m, min, max)
#define CHOICE(E, m, list) OPTION_CHOICE(E, struct settings, m, list)
#define TEXT(m) OPTION_TEXT(struct settings, m)
#define SET(m) OPTION_SET(struct settings, m)

static const struct option_row rows[] = {
    {"model", 0, "DIR", "", TEXT(model)},
    {"teacher", 0, "FILE", "", TEXT(teacher)},
    {"loss", 0, "NAME", "softmax (default), dirichlet; labels, edl or ib-edl\n(need no --teacher)",
     CHOICE(enum loss_kind, train.step.loss.kind, losses)},
    {"alpha0", 0, "MODE", "of dirichlet: standard (default), fixed:A or learned",
     OPTION_OWN(struct settings, train.step.loss, take_alpha0), .choices = alpha0_words,
     OPTION_GIVEN(struct settings, alpha0_given)},
    {"beta", 0, "B", "weight of learned's penalty (1)", REAL(train.step.loss.beta, 0, 1e9),
     OPTION_GIVEN(struct settings, learned_given)},
    {"alpha0-lr", 0, "R", "learning rate of learned's ln alpha0 (1e-3)",
     REAL(train.alpha0_rate, 0, 1), OPTION_GIVEN(struct settings, learned_given)},
    {"edl-form", 0, "FORM", "of edl's risk: mse (default), log or digamma",
     CHOICE(enum edl_form, train.step.loss.form, edl_forms),
     OPTION_GIVEN(struct settings, edl_given)},
    {"edl-annealing", 0, "N", "epochs until edl's KL has all its weight (10)",
     REAL(train.annealing, 0, 1e9), OPTION_GIVEN(struct settings, edl_given)},
    {"ib-beta", 0, "B", "weight of ib-edl's information bottleneck (1e-5)",
     REAL(train.step.loss.ib_beta, 0, 1e9), OPTION_GIVEN(struct settings, ib_given)},
    {"ib-samples", 0, "N", "draws of an example's evidence in ib-edl (20)",
     WHOLE(train.step.loss.samples, 1, 1 << 16), OPTION_GIVEN(struct settings, ib_given)},
    {"class-weights", 0, "LIST", "of losses on labels: a weight for each class, or balanced",
     TEXT(class_weights)},
    {"rank", 0, "N", NULL, WHOLE(train.step.adapter.rank, 1, 65536)},
    {"alpha", 0, "A", "the adapter's rank (16) and scale: alpha / rank (32)",
     REAL(train.step.adapter.alpha, 1e-9, 1e9)},
    {"rslora", 0, NULL, "scale by alpha / sqrt(rank)", SET(train.step.adapter.rslora)},
    {"dropout", 0, "P", "of the adapter's input (0.05)", REAL(train.step.adapter.dropout, 0, 0.99)},
    {"dropout-epochs", 0, "N", "dropout in the first N epochs alone (in all)",
     WHOLE(train.dropout_epochs, 1, 1L << 40)},
    TARGETS_ROW(struct settings, train.step.adapter),
    {"lr", 0, "R", "AdamW's learning rate (1e-5)", REAL(train.rate, 1e-30, 1e3)},
    {"weight-decay", 0, "D", "AdamW's (0.01)", REAL(train.step.adamw.weight_decay, 0, 1)},
    {"batch", 0, "N", "examples of a pass (16)", WHOLE(train.step.batch, 1, 1 << 16)},
    {"accumulate", 0, "N", "passes of an optimizer step (1)",
     WHOLE(train.step.accumulate, 1, 1 << 12)},
    {"activations", 0, "MODE", "keep, recompute (slower, less memory) or auto (default)",
     CHOICE(enum activations_mode, activations, activations_modes)},
    {"epochs", 0, "N", "passes over all examples, in fractions too (10)",
     REAL(train.epochs, 1e-6, 1e6)},
    {"schedule", 0, "NAME", "constant (default) or cosine, after --warmup N steps (0)",
     CHOICE(enum schedule_kind, train.schedule, schedules)},
    {"warmup", 0, "N", "", WHOLE(train.warmup, 0, 1L << 40)},
    {"clip", 0, "NORM", "limit on the gradients' norm (none)", REAL(train.step.clip, 0, 1e30)},
    {"shuffle", 0, NULL, "a new order every epoch; stream order otherwise", SET(train.shuffle)},
    {"seed", 0, "N", "of initial values, dropout and order (0)",
     WHOLE(train.step.seed, 0, LONG_MAX)},
    {"validation", 0, "FILE", "tokens of texts held out: the student's figures on them",
     TEXT(validation)},
    {"validation-teacher", 0, "FILE", "the teacher's predictions of these",
     TEXT(validation_teacher)},
    {"validate-every", 0, "N", "steps between validations (an epoch's)",
     WHOLE(train.validate_every, 1, LONG_MAX)},
    {"keep", 0, "WHICH",
     "last (default), best by validation's loss, or all: each\nepoch's too, as ADAPTER.epochs/1 "
     "...",
     CHOICE(enum keep, train.keep, keeps)},
    {"patience", 0, "N", "end after N validations without a lower loss",
     WHOLE(train.patience, 1, LONG_MAX)},
    {"checkpoint", 0, "FILE", "kept while training (ADAPTER.checkpoint)", TEXT(files.checkpoint)},
    {"checkpoint-every", 0, "N", "steps between checkpoints (100); 0: not by steps",
     WHOLE(files.every, 0, LONG_MAX)},
    {"checkpoint-minutes", 0, "M", "minutes between checkpoints (5); 0: not by time",
     REAL(files.minutes, 0, 1e6)},
    {"resume", 0, NULL, "go on where an interrupted run left its checkpoint", SET(files.resume)},
    {"log", 0, "FILE", "step, loss, learning rate and validation's figures as TSV",
     TEXT(files.log)},
    {"compute", 0, "TYPE", "auto (default), f32 or bf16: what products take in",
     CHOICE(enum device_compute, device.compute, device_computes)},
    DEVICE_ROW(struct settings, device.name),
    {"threads", 0, "N", "processor threads (all, or each rank's share of a host's)",
     WHOLE(device.threads, 1, 4096)},
    PROFILE_ROW(struct settings, profile),
    {"mpi", 0, "MODE", "auto (default): train as one where mpirun started several; yes, no",
     CHOICE(enum ranks_mode, mpi, mpi_modes)},
    {"output", 0, "ADAPTER", "the folder to write", OPTION_WORDS},
    {"compress", 0, NULL, "", OPTION_WORDS},
    {"quiet", 0, NULL, NULL, OPTION_WORDS},
    {"verbose", 0, NULL, "quiet; say what is done and how fast", OPTION_WORDS},
    OPTIONS_END};

static const struct program program = {
    .name = "lora-train",
    .about =
        "usage: lora-train --model DIR --teacher FILE -o ADAPTER [OPTION]... [FILE]...\n"
        "\n"
        "Reads tokens and trains a LoRA adapter of the model DIR, a Hugging Face folder or a GGUF\n"
        "file, to say what the teacher's predictions say; writes it as the folder ADAPTER, which\n"
        "PEFT reads.\n"
        "\n"
        "  lora-train --model $M --teacher teacher.train.mp --loss dirichlet -o dirichlet.lora "
        "train.mp\n"
        "\n",
    .rows = rows,
    .name_column = 6,
    .help_column = 28,
    .brief = true};

static struct settings default_settings(void)
{
    struct settings s = {
        .device = {.name = "auto"},
        .train =
            {.step = {.loss = {.kind = LOSS_SOFTMAX, .beta = 1, .samples = 20, .ib_beta = 1e-5},
                      .adapter = {.rank = 16, .alpha = 32, .dropout = 0.05},
                      .adamw = ADAMW_DEFAULTS,
                      .batch = 16,
                      .accumulate = 1},
             .rate = 1e-5,
             .alpha0_rate = 1e-3,
             .annealing = 10,
             .epochs = 10},
        .files = {.every = 100, .minutes = 5}};
    adapter_targets(ADAPTER_TARGETS, &s.train.step.adapter);
    return s;
}

static void check_validation_options(const struct settings *s)
{
    enum loss_kind loss = s->train.step.loss.kind;
    if (s->validation_teacher && loss_facts[loss].target == TARGET_LABEL)
        usage_error("--loss %s learns from the tokens' labels: --validation-teacher has no place",
                    loss_facts[loss].name);
    if (s->validation)
        return;
    if (s->validation_teacher)
        usage_error("--validation-teacher goes with --validation FILE, the tokens");
    if (s->train.keep == KEEP_BEST)
        usage_error("--keep best goes with --validation FILE: which is the best is measured there");
    if (s->train.patience || s->train.validate_every)
        usage_error("--patience and --validate-every go with --validation FILE");
}

static void check_options(const struct settings *s)
{
    enum loss_kind loss = s->train.step.loss.kind;
    bool by_labels = loss_facts[loss].target == TARGET_LABEL;
    if (!s->model)
        usage_error("--model DIR is needed");
    if (!s->common.output)
        usage_error("-o ADAPTER is needed: the folder to write");
    if (!s->teacher && !by_labels)
        usage_error("--teacher FILE is needed, unless with --loss labels, edl or ib-edl");
    if (s->teacher && by_labels)
        usage_error("--loss %s learns from the tokens' labels: --teacher has no place",
                    loss_facts[loss].name);
    if (s->alpha0_given && loss != LOSS_DIRICHLET)
        usage_error("--alpha0 goes with --loss dirichlet");
    if (s->learned_given && (loss != LOSS_DIRICHLET || s->train.step.loss.mode != ALPHA0_LEARNED))
        usage_error("--beta and --alpha0-lr go with --loss dirichlet --alpha0 learned");
    if (s->edl_given && loss != LOSS_EDL)
        usage_error("--edl-form and --edl-annealing go with --loss edl");
    if (s->ib_given && loss != LOSS_IB_EDL)
        usage_error("--ib-beta and --ib-samples go with --loss ib-edl");
    if (s->files.log && !strcmp(s->files.log, "-"))
        usage_error("--log FILE: '-' is none; /dev/stdout is");
    if (s->class_weights && !by_labels)
        usage_error("--class-weights goes with --loss labels, edl or ib-edl");
    check_validation_options(s);
}

struct output {
    const char *option, *path; /* path: NULL, not asked for */
};

enum { OUTPUTS = 4 };

static void name_outputs(const struct train_files *f, struct output outputs[OUTPUTS])
{
    outputs[0] = (struct output){"-o", f->folder};
    outputs[1] = (struct output){"--checkpoint", f->checkpoint};
    outputs[2] = (struct output){"--log", f->log};
    outputs[3] = (struct output){"--keep all", f->all};
}

/* One would be lost in the other. */
static void check_outputs_differ(const struct train_files *f)
{
    struct output o[OUTPUTS];
    name_outputs(f, o);
    for (int i = 0; i < OUTPUTS; i++)
        for (int j = 0; j < i; j++)
            if (o[i].path && o[j].path && apart_same(o[i].path, o[j].path))
                usage_error("%s and %s are the same place, %s: each needs its own", o[j].option,
                            o[i].option, o[i].path);
}

static void check_no_input_is_written(const struct train_files *f)
{
    struct output o[OUTPUTS];
    name_outputs(f, o);
    for (int i = 0; i < OUTPUTS; i++)
        if (o[i].path)
            apart_check(o[i].path);
}

/* ---- what training needs ---- */

struct job {
    struct ranks *ranks;
    struct model *model;
    struct training_set *set, *validation; /* NULL: none */
    struct validator *validator;           /* of it */
    double *class_weights;                 /* or NULL */
    struct device *device;
    bool profile; /* the device is one that keeps a profile */
    char *advice; /* what the device keeps, from plan_memory() on */
};

/* f32 where it costs little: rounding to bf16 blurs gradients. */
static enum dtype cpu_compute(const struct model *m)
{
    enum { SMALL = 1000000000 };
    bool large = model_products(m) > SMALL;
    return large && model_stored_type(m) == BF16 && cpu_has_bf16() ? BF16 : F32;
}

/* FOLDER, with an ending */
static char *beside(const char *folder, const char *ending)
{
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    return xasprintf("%.*s%s", (int)n, folder, ending);
}

static struct training_set *read_set(char *const *files, int count, const char *teacher,
                                     const struct model *model, enum loss_kind loss,
                                     const char *options)
{
    struct stream_reader *in = stream_open_all(files, count, "tokens");
    tokenizer_match(in, model->config->folder);
    struct training_set *set = training_set_read(in, teacher, model->config, loss, options);
    if (set->n == 0)
        die(EX_DATAERR, "%s: holds no records: nothing was done", stream_name(in));
    stream_close(in);
    return set;
}

/* Whether validation has the targets of the student's loss; else it has labels. */
static bool validation_is_taught(const struct settings *s)
{
    return s->validation_teacher || loss_facts[s->train.step.loss.kind].target == TARGET_LABEL;
}

static void read_sets(struct job *j, const struct settings *s, char *const *files, int count)
{
    enum loss_kind loss = s->train.step.loss.kind;
    char *by_labels = xasprintf("--loss %s", loss_facts[loss].name);
    j->set = read_set(files, count, s->teacher, j->model, loss, by_labels);
    if (s->validation) {
        bool taught = validation_is_taught(s);
        j->validation = read_set((char *const[]){(char *)s->validation}, 1, s->validation_teacher,
                                 j->model, taught ? loss : LOSS_LABELS,
                                 taught ? by_labels : "--validation without --validation-teacher");
        check_held_out(j->set, j->validation, s->validation);
    }
    free(by_labels);
}

/* Rank 0 reads, and the others are given what it has. */
static void get_sets(struct job *j, const struct settings *s, char *const *files, int count)
{
    if (j->ranks->rank == 0) {
        read_sets(j, s, files, count);
        check_no_input_is_written(&s->files);
    }
    bool validated = j->validation;
    j->ranks->broadcast(j->ranks, &validated, sizeof validated);
    j->set = training_set_share(j->set, j->ranks);
    if (validated)
        j->validation = training_set_share(j->validation, j->ranks);
}

/* The weights that --class-weights says, [n]; the caller frees them. */
static double *parse_weights(const char *list, int n)
{
    double *weights = xcalloc((size_t)n, sizeof *weights);
    char *copy = xstrdup(list), *rest = copy;
    int count = 0;
    for (const char *word; (word = strsep(&rest, ","));) {
        double weight = option_double("--class-weights", word, 1e-9, 1e9);
        if (count < n)
            weights[count] = weight;
        count++;
    }
    if (count != n)
        usage_error("--class-weights: %d weights, but there are %d classes", count, n);
    free(copy);
    return weights;
}

static void weigh(struct job *j, struct settings *s)
{
    if (!s->class_weights)
        return;
    j->class_weights = !strcmp(s->class_weights, "balanced")
                           ? balanced_weights(j->set)
                           : parse_weights(s->class_weights, j->set->n_classes);
    s->train.class_weights = j->class_weights;
    training_set_weigh(j->set, j->class_weights);
    if (j->validation)
        training_set_weigh(j->validation, j->class_weights);
}

static void open_device(struct job *j, const struct settings *s, double started)
{
    struct device_request request = s->device;
    request.gpu = j->ranks->local_rank;
    if (!request.threads && j->ranks->local_size > 1)
        request.threads = ranks_threads(j->ranks);
    request.stored = model_stored_type(j->model);
    request.cpu_compute = cpu_compute(j->model);
    j->device = device_open(&request);
    j->profile = s->profile && j->ranks->rank == 0; /* one table, not as many as ranks */
    if (j->profile)
        j->device = profile_device_open(j->device, started);
}

static void load(struct job *j)
{
    j->device->advice = "the weights do not fit: free what others hold there, take a larger GPU, "
                        "or use --device cpu";
    model_load(j->model, j->device);
    model_set_classes(j->model, j->set->class_tokens, j->set->n_outputs);
}

static int kept_layers(const struct job *j, const struct settings *s)
{
    if (s->activations == ACTIVATIONS_RECOMPUTE)
        return 0;
    if (s->activations == ACTIVATIONS_KEEP)
        return j->model->config->layers - 1;
    return fitting_kept_layers(j->model, &s->train.step, j->set, j->validation);
}

/* What is taken of the device's memory, and what to do when there is too little. */
static void plan_memory(struct job *j, const struct trainer_settings *s)
{
    struct device *d = j->device;
    j->advice = xasprintf("%slower --batch (it is %d) and raise --accumulate, shorten the longest "
                          "texts, or free what others hold there",
                          s->kept ? "give --activations recompute, " : "", s->batch);
    d->advice = j->advice;
    if (!d->own_memory && verbosity != VERBOSE)
        return;
    struct train_memory need = train_memory(j->model, s, j->set, j->validation);
    size_t available, total;
    d->memory(d, &available, &total);
    int longest = j->set->n < s->batch ? j->set->n : s->batch;
    inform(
        "memory: %.3g GB of weights; adapter, gradients and averages %.3g GB, a pass of the %d "
        "longest texts at most %.3g GB, %d of %d layers keeping their activations; free for these "
        "%.3g of %.3g GB",
        1e-9 * need.weights, 1e-9 * need.adapter, longest, 1e-9 * need.pass, s->kept + 1,
        j->model->config->layers, 1e-9 * (double)available, 1e-9 * (double)total);
    if (j->validation)
        inform("memory: a pass of validation at most %.3g GB, beside these",
               1e-9 * need.validation);
    double taken = need.adapter + need.pass + need.validation;
    if (d->own_memory && taken > (double)available)
        warn("memory: the %d longest texts, should they come in one pass, take %.3g GB where %.3g "
             "GB are free; %s",
             longest, 1e-9 * taken, 1e-9 * (double)available, d->advice);
}

static void close_job(struct job *j)
{
    validator_close(j->validator);
    training_set_free(j->set);
    if (j->validation)
        training_set_free(j->validation);
    model_close(j->model);
    if (j->profile)
        profile_device_print(j->device, stderr);
    j->device->close(j->device);
    j->ranks->close(j->ranks);
    free(j->advice);
    free(j->class_weights);
}

int main(int argc, char **argv)
{
    double started = clock_seconds();
    struct settings s = default_settings();
    program_start(&program, argc, argv);
    int first = options_parse(&program, rows, argc, argv, &s.common);
    check_options(&s);
    s.files.folder = s.common.output;
    char *checkpoint = beside(s.files.folder, ".checkpoint");
    char *all = beside(s.files.folder, s.train.validate_every ? ".steps" : ".epochs");
    s.files.all = all;
    char *lock = beside(s.files.folder, ".lock");
    s.files.lock = lock;
    if (!s.files.checkpoint)
        s.files.checkpoint = checkpoint;
    check_outputs_differ(&s.files);

    struct job j = {.ranks = ranks_open(s.mpi)};
    char *folder = model_folder_find(s.model);
    j.model = model_open(folder);
    get_sets(&j, &s, argv + first, argc - first);
    weigh(&j, &s);
    open_device(&j, &s, started);
    load(&j);
    s.train.step.kept = kept_layers(&j, &s);
    plan_memory(&j, &s.train.step);
    if (j.validation)
        j.validator =
            validator_open(j.model, j.validation, validation_is_taught(&s), &s.train.step, j.ranks);
    train(j.model, j.set, j.validator, &s.train, &s.files, j.ranks);

    unsigned long n = (unsigned long)j.set->n;
    close_job(&j);
    free(checkpoint);
    free(all);
    free(lock);
    free(folder);
    closing_count(n, n, 0);
    return EX_OK;
}
