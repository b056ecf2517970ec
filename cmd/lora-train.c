/* lora-train: tokens and a teacher's predictions to a PEFT adapter folder. */
#include "common/model/device.h"
#include "common/plan/fit.h"
#include "common/plan/profile_device.h"
#include "common/stream/stream.h"
#include "common/train/ranks.h"
#include "common/train/train.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/options.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct program program = {
    "lora-train",
    "usage: lora-train --model DIR --teacher FILE -o ADAPTER [OPTION]... [FILE]...\n"
    "\n"
    "Reads tokens and trains a LoRA adapter of the model in the Hugging Face folder DIR to say\n"
    "what the teacher's predictions say; writes it as the folder ADAPTER, which PEFT reads.\n"
    "\n"
    "  lora-train --model $M --teacher teacher.train.mp --loss dirichlet -o dirichlet.lora "
    "train.mp\n"
    "\n"
    "      --loss NAME           softmax (default), dirichlet, or labels (needs no --teacher)\n"
    "      --alpha0 MODE         of dirichlet: standard (default), fixed:A or learned\n"
    "      --beta B              weight of learned's penalty (1)\n"
    "      --alpha0-lr R         learning rate of learned's ln alpha0 (1e-3)\n"
    "      --rank N, --alpha A   the adapter's rank (16) and scale: alpha / rank (32)\n"
    "      --rslora              scale by alpha / sqrt(rank)\n"
    "      --dropout P           of the adapter's input (0.05)\n"
    "      --targets LIST        q,k,v,o,lm_head (default); also gate,up,down\n"
    "      --lr R                AdamW's learning rate (1e-5)\n"
    "      --weight-decay D      AdamW's (0.01)\n"
    "      --batch N             examples of a pass (16)\n"
    "      --accumulate N        passes of an optimizer step (1)\n"
    "      --epochs N            (10)\n"
    "      --schedule NAME       constant (default) or cosine, after --warmup N steps (0)\n"
    "      --clip NORM           limit on the gradients' norm (none)\n"
    "      --shuffle             a new order every epoch; stream order otherwise\n"
    "      --seed N              of initial values, dropout and order (0)\n"
    "      --checkpoint FILE     kept while training (ADAPTER.checkpoint)\n"
    "      --checkpoint-every N  steps between checkpoints (100); 0: none\n"
    "      --resume              go on where an interrupted run left its checkpoint\n"
    "      --log FILE            step, loss and learning rate as TSV\n"
    "      --compute TYPE        auto (default), f32 or bf16: what products take in\n"
    "      --device NAME         auto (default), cpu, cuda or cuda:N\n"
    "      --threads N           processor threads (all, or each rank's share of a host's)\n"
    "      --profile             in the end say where the time went, operation by operation\n"
    "      --mpi MODE            auto (default): train as one where mpirun started several; yes, "
    "no\n"
    "  -o ADAPTER                the folder to write\n"
    "  -q, -v                    quiet; say what is done and how fast\n"
    "      --help, --version\n"};

static enum loss_kind option_loss(const char *value)
{
    for (enum loss_kind k = LOSS_SOFTMAX; k <= LOSS_DIRICHLET; k++)
        if (!strcmp(value, loss_name(k)))
            return k;
    usage_error("--loss: '%s' is none of softmax, dirichlet, labels", value);
}

static void option_alpha0(const char *value, struct loss *loss)
{
    if (!strncmp(value, "fixed:", 6)) {
        loss->mode = ALPHA0_FIXED;
        loss->alpha0 = option_double("--alpha0 fixed:", value + 6, 1e-3, 1e9);
    } else if (!strcmp(value, "learned")) {
        loss->mode = ALPHA0_LEARNED;
    } else if (!strcmp(value, "standard")) {
        loss->mode = ALPHA0_STANDARD;
    } else {
        usage_error("--alpha0: '%s' is none of standard, fixed:A, learned", value);
    }
}

static enum schedule_kind option_schedule(const char *value)
{
    if (!strcmp(value, "cosine"))
        return SCHEDULE_COSINE;
    if (strcmp(value, "constant") != 0)
        usage_error("--schedule: '%s' is neither constant nor cosine", value);
    return SCHEDULE_CONSTANT;
}

static enum ranks_mode option_mpi(const char *value)
{
    static const char *const names[] = {"auto", "yes", "no"};
    for (enum ranks_mode m = RANKS_AUTO; m <= RANKS_ALONE; m++)
        if (!strcmp(value, names[m]))
            return m;
    usage_error("--mpi: '%s' is none of auto, yes, no", value);
}

/* f32 where it costs little: rounding to bf16 blurs gradients. */
static enum dtype cpu_compute(const struct model *m)
{
    enum { SMALL = 1000000000 };
    bool large = model_products(m) > SMALL;
    return large && model_stored_type(m) == BF16 && cpu_has_bf16() ? BF16 : F32;
}

/* FOLDER.checkpoint, beside the folder */
static char *default_checkpoint(const char *folder)
{
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    return xasprintf("%.*s.checkpoint", (int)n, folder);
}

static struct training_set *read_set(char **files, int count, const char *teacher,
                                     const struct config *config, enum loss_kind loss)
{
    struct stream_reader *in = stream_open_all(files, count, "tokens");
    struct training_set *set = training_set_read(in, teacher, config, loss);
    if (set->n == 0)
        closing_count(0, 0, 0);
    stream_close(in);
    return set;
}

/* What is taken of the device's memory, and what to do when there is too little. */
static void plan_memory(const struct model *m, const struct trainer_settings *s,
                        const struct training_set *set)
{
    struct device *d = m->device;
    static char advice[160]; /* the device keeps it */
    snprintf(advice, sizeof advice,
             "lower --batch (it is %d) and raise --accumulate, shorten the longest texts, or free "
             "what others hold there",
             s->batch);
    d->advice = advice;
    if (!d->copies && verbosity != VERBOSE)
        return;
    struct train_memory need = train_memory(m, s, set);
    size_t available, total;
    d->memory(d, &available, &total);
    int longest = set->n < s->batch ? set->n : s->batch;
    inform("memory: %.3g GB of weights; adapter, gradients and averages %.3g GB, a pass of the %d "
           "longest texts at most %.3g GB; free for these %.3g of %.3g GB",
           1e-9 * need.weights, 1e-9 * need.adapter, longest, 1e-9 * need.pass,
           1e-9 * (double)available, 1e-9 * (double)total);
    double taken = need.adapter + need.pass;
    if (d->copies && taken > (double)available)
        warn("memory: the %d longest texts, should they come in one pass, take %.3g GB where %.3g "
             "GB are free; %s",
             longest, 1e-9 * taken, 1e-9 * (double)available, advice);
}

int main(int argc, char **argv)
{
    enum {
        MODEL = OPTION_OWN,
        TEACHER,
        LOSS,
        ALPHA0,
        BETA,
        ALPHA0_LR,
        RANK,
        ALPHA,
        RSLORA,
        DROPOUT,
        TARGETS,
        LR,
        WEIGHT_DECAY,
        BATCH,
        ACCUMULATE,
        EPOCHS,
        SCHEDULE,
        WARMUP,
        CLIP,
        SHUFFLE,
        SEED,
        CHECKPOINT,
        CHECKPOINT_EVERY,
        RESUME,
        LOG,
        COMPUTE,
        DEVICE,
        THREADS,
        PROFILE,
        MPI
    };
    static const struct option table[] = {
        {"model", required_argument, NULL, MODEL},
        {"teacher", required_argument, NULL, TEACHER},
        {"loss", required_argument, NULL, LOSS},
        {"alpha0", required_argument, NULL, ALPHA0},
        {"beta", required_argument, NULL, BETA},
        {"alpha0-lr", required_argument, NULL, ALPHA0_LR},
        {"rank", required_argument, NULL, RANK},
        {"alpha", required_argument, NULL, ALPHA},
        {"rslora", no_argument, NULL, RSLORA},
        {"dropout", required_argument, NULL, DROPOUT},
        {"targets", required_argument, NULL, TARGETS},
        {"lr", required_argument, NULL, LR},
        {"weight-decay", required_argument, NULL, WEIGHT_DECAY},
        {"batch", required_argument, NULL, BATCH},
        {"accumulate", required_argument, NULL, ACCUMULATE},
        {"epochs", required_argument, NULL, EPOCHS},
        {"schedule", required_argument, NULL, SCHEDULE},
        {"warmup", required_argument, NULL, WARMUP},
        {"clip", required_argument, NULL, CLIP},
        {"shuffle", no_argument, NULL, SHUFFLE},
        {"seed", required_argument, NULL, SEED},
        {"checkpoint", required_argument, NULL, CHECKPOINT},
        {"checkpoint-every", required_argument, NULL, CHECKPOINT_EVERY},
        {"resume", no_argument, NULL, RESUME},
        {"log", required_argument, NULL, LOG},
        {"compute", required_argument, NULL, COMPUTE},
        {"device", required_argument, NULL, DEVICE},
        {"threads", required_argument, NULL, THREADS},
        {"profile", no_argument, NULL, PROFILE},
        {"mpi", required_argument, NULL, MPI},
        COMMON_LONG};
    struct common_options common = {0};
    struct train_settings s = {.step = {.loss = {.kind = LOSS_SOFTMAX, .beta = 1},
                                        .adapter = {.rank = 16, .alpha = 32, .dropout = 0.05},
                                        .adamw = ADAMW_DEFAULTS,
                                        .batch = 16,
                                        .accumulate = 1},
                               .rate = 1e-5,
                               .alpha0_rate = 1e-3,
                               .epochs = 10};
    adapter_targets(ADAPTER_TARGETS, s.step.adapter.targets);
    struct train_files files = {.every = 100};
    const char *folder = NULL, *teacher = NULL;
    struct device_request request = {.name = "auto", .compute = "auto"};
    enum ranks_mode mode = RANKS_AUTO;
    bool alpha0_given = false, profile = false;
    double started = profile_clock();
    program_start(&program, argc, argv);
    for (int c; (c = next_option(argc, argv, COMMON_SHORT, table, &common)) != -1;)
        switch (c) {
        case MODEL:
            folder = optarg;
            break;
        case TEACHER:
            teacher = optarg;
            break;
        case LOSS:
            s.step.loss.kind = option_loss(optarg);
            break;
        case ALPHA0:
            option_alpha0(optarg, &s.step.loss);
            alpha0_given = true;
            break;
        case BETA:
            s.step.loss.beta = option_double("--beta", optarg, 0, 1e9);
            break;
        case ALPHA0_LR:
            s.alpha0_rate = option_double("--alpha0-lr", optarg, 0, 1);
            break;
        case RANK:
            s.step.adapter.rank = (int)option_long("--rank", optarg, 1, 65536);
            break;
        case ALPHA:
            s.step.adapter.alpha = option_double("--alpha", optarg, 1e-9, 1e9);
            break;
        case RSLORA:
            s.step.adapter.rslora = true;
            break;
        case DROPOUT:
            s.step.adapter.dropout = option_double("--dropout", optarg, 0, 0.99);
            break;
        case TARGETS:
            adapter_targets(optarg, s.step.adapter.targets);
            break;
        case LR:
            s.rate = option_double("--lr", optarg, 1e-30, 1e3);
            break;
        case WEIGHT_DECAY:
            s.step.adamw.weight_decay = option_double("--weight-decay", optarg, 0, 1);
            break;
        case BATCH:
            s.step.batch = (int)option_long("--batch", optarg, 1, 1 << 16);
            break;
        case ACCUMULATE:
            s.step.accumulate = (int)option_long("--accumulate", optarg, 1, 1 << 12);
            break;
        case EPOCHS:
            s.epochs = (int)option_long("--epochs", optarg, 1, 1000000);
            break;
        case SCHEDULE:
            s.schedule = option_schedule(optarg);
            break;
        case WARMUP:
            s.warmup = (unsigned long)option_long("--warmup", optarg, 0, 1L << 40);
            break;
        case CLIP:
            s.step.clip = option_double("--clip", optarg, 0, 1e30);
            break;
        case SHUFFLE:
            s.shuffle = true;
            break;
        case SEED:
            s.step.seed = (uint64_t)option_long("--seed", optarg, 0, LONG_MAX);
            break;
        case CHECKPOINT:
            files.checkpoint = optarg;
            break;
        case CHECKPOINT_EVERY:
            files.every = (unsigned long)option_long("--checkpoint-every", optarg, 0, LONG_MAX);
            break;
        case RESUME:
            files.resume = true;
            break;
        case LOG:
            files.log = optarg;
            break;
        case COMPUTE:
            request.compute = optarg;
            break;
        case DEVICE:
            request.name = optarg;
            break;
        case THREADS:
            request.threads = (int)option_long("--threads", optarg, 1, 4096);
            break;
        case PROFILE:
            profile = true;
            break;
        case MPI:
            mode = option_mpi(optarg);
            break;
        }
    if (!folder)
        usage_error("--model DIR is needed");
    if (!common.output)
        usage_error("-o ADAPTER is needed: the folder to write");
    if (!teacher && s.step.loss.kind != LOSS_LABELS)
        usage_error("--teacher FILE is needed, unless with --loss labels");
    if (teacher && s.step.loss.kind == LOSS_LABELS)
        usage_error("--loss labels learns from the tokens' labels: --teacher has no place");
    if (alpha0_given && s.step.loss.kind != LOSS_DIRICHLET)
        usage_error("--alpha0 goes with --loss dirichlet");
    char *beside = default_checkpoint(common.output);
    files.folder = common.output;
    if (!files.checkpoint)
        files.checkpoint = beside;

    struct ranks *ranks = ranks_open(mode);
    request.gpu = ranks->local_rank;
    if (!request.threads && ranks->local_size > 1)
        request.threads = ranks_threads(ranks);
    struct model *model = model_open(folder);
    struct training_set *set = NULL;
    if (ranks->rank == 0)
        set = read_set(argv + optind, argc - optind, teacher, model->config, s.step.loss.kind);
    set = training_set_share(set, ranks);
    request.stored = model_stored_type(model);
    request.cpu_compute = cpu_compute(model);
    struct device *device = device_open(&request);
    profile = profile && ranks->rank == 0; /* one table, not as many as ranks */
    if (profile)
        device = profile_device_open(device, started);
    device->advice = "the weights do not fit: free what others hold there, take a larger GPU, or "
                     "use --device cpu";
    model_load(model, device);
    model_set_classes(model, set->class_tokens, set->n_classes);
    plan_memory(model, &s.step, set);
    train(model, set, &s, &files, ranks);

    unsigned long n = (unsigned long)set->n;
    training_set_free(set);
    model_close(model);
    if (profile)
        profile_device_print(device, stderr);
    device->close(device);
    ranks->close(ranks);
    free(beside);
    closing_count(n, n, 0);
    return EX_OK;
}
