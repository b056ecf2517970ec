/* lm-plan: what scoring or training on a token stream would ask of a GPU, before there is one. */
#include "common/model/token_input.h"
#include "common/plan/plan.h"
#include "common/stream/record.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/options.h"
#include "common/util/outfile.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct program program = {
    "lm-plan",
    "usage: lm-plan --config FILE --gpu NAME [OPTION]... [FILE]...\n"
    "\n"
    "Reads tokens and counts what lm-score or lora-train would do with them: operations,\n"
    "FLOPs, bytes, launches, memory; and the least time a GPU can take for it. Computes\n"
    "nothing and needs no weights: of the model only its config.json.\n"
    "\n"
    "  lm-plan --config config.json --gpu a100-80 --stage score tokens.mp\n"
    "\n"
    "  --config FILE         the model's config.json\n"
    "  --stage NAME          score (default) or train\n"
    "  --gpu NAME            a100-40, a100-80 or h100; or a machine of your own:\n"
    "  --peak-tflops F       TFLOP/s of its bf16 products\n"
    "  --f32-tflops F        TFLOP/s in f32 (as --peak-tflops)\n"
    "  --bandwidth B         GB/s of its memory\n"
    "  --memory M            GB of it\n"
    "  --link B              GB/s to and from the host (0: not counted)\n"
    "  --launch-us T         microseconds of a kernel's launch\n"
    "  --compute TYPE        bf16 (default) or f32: what products take in\n"
    "  --batch-tokens N      of score: tokens of one pass (2048)\n"
    "  --no-share            of score: common prefixes again for every record\n"
    "  --rank N              the adapter's rank (score: 0, none; train: 16)\n"
    "  --targets LIST        q,k,v,o,lm_head (default); also gate,up,down\n"
    "  --dropout P           of train: of the adapter's input (0.05)\n"
    "  --batch N             of train: examples of a pass (16)\n"
    "  --accumulate N        of train: passes of an optimizer step (1)\n"
    "  --epochs N            of train (10)\n"
    "  --synthetic T,P,S,O   instead of a stream: T texts under P prompts, each of\n"
    "                        S tokens that its texts share and O of their own\n"
    "  --json                all of it as JSON\n"
    "  -o FILE               write there instead of standard output\n"
    "  -q, -v, --help, --version\n"};

struct work {
    struct sequence *sequences;
    int n, cap;
    int32_t *class_tokens;
    int n_classes;
};

static void add_sequence(struct work *w, int32_t *tokens, size_t n)
{
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 1024;
        w->sequences = xreallocarray(w->sequences, (size_t)w->cap, sizeof *w->sequences);
    }
    w->sequences[w->n++] = (struct sequence){tokens, (int)n};
}

static struct work read_work(char *const *files, int count, const struct config *c)
{
    struct work w = {0};
    struct stream_reader *in = stream_open_all(files, count, "tokens");
    w.class_tokens = header_class_tokens(in, &w.n_classes);
    for (struct tokens t; tokens_read(in, &t);) {
        check_tokens(in, &t, c);
        if (w.n == INT_MAX)
            stream_bad_record(in, t.id, "more records than a plan can take; plan for a part");
        int32_t *copy = xreallocarray(NULL, t.n_tokens, sizeof *copy);
        memcpy(copy, t.tokens, t.n_tokens * sizeof *copy);
        add_sequence(&w, copy, t.n_tokens);
    }
    stream_close(in);
    return w;
}

/* Prompts that begin differently from each other, texts that begin differently within a prompt. */
static struct work make_work(const char *option, const struct config *c)
{
    int texts, prompts, shared, own, end = -1;
    if (sscanf(option, "%d,%d,%d,%d%n", &texts, &prompts, &shared, &own, &end) != 4 ||
        option[end] || texts < 1 || prompts < 1 || shared < 0 || own < 1 || c->vocab < 4 ||
        (long)texts * prompts > 1 << 24 || (long)shared + own > c->max_positions)
        usage_error("--synthetic: '%s' is not texts,prompts,shared,own: whole numbers, at most %d "
                    "tokens a prompt and 16 million prompts",
                    option, c->max_positions);
    struct work w = {.n_classes = 2, .class_tokens = xcalloc(2, sizeof(int32_t))};
    w.class_tokens[1] = 1;
    for (int t = 0; t < texts; t++)
        for (int p = 0; p < prompts; p++) {
            int32_t *tokens = xcalloc((size_t)shared + (size_t)own, sizeof *tokens);
            /* Numbers in the digits of the vocabulary. */
            for (long at = 0, left = p; at < shared; at++, left /= c->vocab)
                tokens[at] = (int32_t)(left % c->vocab);
            for (long at = shared, left = t; at < (long)shared + own; at++, left /= c->vocab)
                tokens[at] = (int32_t)(left % c->vocab);
            add_sequence(&w, tokens, (size_t)shared + (size_t)own);
        }
    return w;
}

static void free_work(struct work *w)
{
    for (int i = 0; i < w->n; i++)
        free((void *)w->sequences[i].tokens);
    free(w->sequences);
    free(w->class_tokens);
}

/* The GPU named, with what else was said of it (-1: nothing), or a machine of the user's own. */
static struct machine machine_of(const char *gpu, const struct machine *said)
{
    const struct machine *known = gpu ? machine_find(gpu) : NULL;
    if (gpu && !known)
        usage_error("--gpu: '%s' is none of a100-40, a100-80, h100; describe it by --peak-tflops, "
                    "--bandwidth and --memory",
                    gpu);
    if (!known && (said->product_rate < 0 || said->bandwidth < 0 || said->memory < 0))
        usage_error("--gpu NAME is needed, or --peak-tflops, --bandwidth and --memory");
    struct machine m = known ? *known
                             : (struct machine){.name = "own",
                                                .title = "this machine",
                                                .source = "figures given by options",
                                                .f32_rate = said->product_rate};
    double *to[] = {&m.product_rate, &m.f32_rate, &m.bandwidth, &m.link, &m.memory, &m.launch};
    const double from[] = {said->product_rate, said->f32_rate, said->bandwidth,
                           said->link,         said->memory,   said->launch};
    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        if (from[i] >= 0) {
            *to[i] = from[i];
            m.source = known ? "datasheet, changed by options" : m.source;
        }
    return m;
}

int main(int argc, char **argv)
{
    enum {
        CONFIG = OPTION_OWN,
        STAGE,
        GPU,
        PEAK,
        F32_PEAK,
        BANDWIDTH,
        MEMORY_SIZE,
        LINK_RATE,
        LAUNCH,
        COMPUTE_TYPE,
        BATCH_TOKENS,
        NO_SHARE,
        RANK,
        TARGETS,
        DROPOUT,
        BATCH,
        ACCUMULATE,
        EPOCHS,
        SYNTHETIC,
        JSON
    };
    static const struct option table[] = {{"config", required_argument, NULL, CONFIG},
                                          {"stage", required_argument, NULL, STAGE},
                                          {"gpu", required_argument, NULL, GPU},
                                          {"peak-tflops", required_argument, NULL, PEAK},
                                          {"f32-tflops", required_argument, NULL, F32_PEAK},
                                          {"bandwidth", required_argument, NULL, BANDWIDTH},
                                          {"memory", required_argument, NULL, MEMORY_SIZE},
                                          {"link", required_argument, NULL, LINK_RATE},
                                          {"launch-us", required_argument, NULL, LAUNCH},
                                          {"compute", required_argument, NULL, COMPUTE_TYPE},
                                          {"batch-tokens", required_argument, NULL, BATCH_TOKENS},
                                          {"no-share", no_argument, NULL, NO_SHARE},
                                          {"rank", required_argument, NULL, RANK},
                                          {"targets", required_argument, NULL, TARGETS},
                                          {"dropout", required_argument, NULL, DROPOUT},
                                          {"batch", required_argument, NULL, BATCH},
                                          {"accumulate", required_argument, NULL, ACCUMULATE},
                                          {"epochs", required_argument, NULL, EPOCHS},
                                          {"synthetic", required_argument, NULL, SYNTHETIC},
                                          {"json", no_argument, NULL, JSON},
                                          COMMON_LONG};
    struct common_options common = {0};
    struct plan_settings s = {.stage = PLAN_SCORE,
                              .compute = BF16,
                              .score = {.batch_tokens = 2048, .share = true},
                              .adapter = {.rank = -1, .alpha = 32, .dropout = 0.05},
                              .batch = 16,
                              .accumulate = 1,
                              .epochs = 10};
    adapter_targets(ADAPTER_TARGETS, s.adapter.targets);
    struct machine own = {.product_rate = -1,
                          .f32_rate = -1,
                          .bandwidth = -1,
                          .link = -1,
                          .memory = -1,
                          .launch = -1};
    const char *config_path = NULL, *gpu = NULL, *synthetic = NULL;
    bool json = false;
    program_start(&program, argc, argv);
    for (int c; (c = next_option(argc, argv, COMMON_SHORT, table, &common)) != -1;)
        switch (c) {
        case CONFIG:
            config_path = optarg;
            break;
        case STAGE:
            if (strcmp(optarg, "score") != 0 && strcmp(optarg, "train") != 0)
                usage_error("--stage: '%s' is neither score nor train", optarg);
            s.stage = !strcmp(optarg, "train") ? PLAN_TRAIN : PLAN_SCORE;
            break;
        case GPU:
            gpu = optarg;
            break;
        case PEAK:
            own.product_rate = 1e12 * option_double("--peak-tflops", optarg, 1e-6, 1e9);
            break;
        case F32_PEAK:
            own.f32_rate = 1e12 * option_double("--f32-tflops", optarg, 1e-6, 1e9);
            break;
        case BANDWIDTH:
            own.bandwidth = 1e9 * option_double("--bandwidth", optarg, 1e-3, 1e9);
            break;
        case MEMORY_SIZE:
            own.memory = 1e9 * option_double("--memory", optarg, 1e-3, 1e9);
            break;
        case LINK_RATE:
            own.link = 1e9 * option_double("--link", optarg, 0, 1e9);
            break;
        case LAUNCH:
            own.launch = 1e-6 * option_double("--launch-us", optarg, 0, 1e6);
            break;
        case COMPUTE_TYPE:
            if (strcmp(optarg, "f32") != 0 && strcmp(optarg, "bf16") != 0)
                usage_error("--compute: '%s' is neither f32 nor bf16", optarg);
            s.compute = !strcmp(optarg, "f32") ? F32 : BF16;
            break;
        case BATCH_TOKENS:
            s.score.batch_tokens = (int)option_long("--batch-tokens", optarg, 1, 1 << 20);
            break;
        case NO_SHARE:
            s.score.share = false;
            break;
        case RANK:
            s.adapter.rank = (int)option_long("--rank", optarg, 0, 65536);
            break;
        case TARGETS:
            adapter_targets(optarg, s.adapter.targets);
            break;
        case DROPOUT:
            s.adapter.dropout = option_double("--dropout", optarg, 0, 0.99);
            break;
        case BATCH:
            s.batch = (int)option_long("--batch", optarg, 1, 1 << 16);
            break;
        case ACCUMULATE:
            s.accumulate = (int)option_long("--accumulate", optarg, 1, 1 << 12);
            break;
        case EPOCHS:
            s.epochs = (int)option_long("--epochs", optarg, 1, 1000000);
            break;
        case SYNTHETIC:
            synthetic = optarg;
            break;
        case JSON:
            json = true;
            break;
        }
    if (!config_path)
        usage_error("--config FILE is needed: the model's config.json");
    if (common.compress)
        usage_error("-z: a plan is text, which is not compressed");
    if (synthetic && optind < argc)
        usage_error("--synthetic takes the place of files");
    struct machine machine = machine_of(gpu, &own);
    if (s.adapter.rank < 0)
        s.adapter.rank = s.stage == PLAN_TRAIN ? 16 : 0;
    if (s.stage == PLAN_TRAIN && s.adapter.rank == 0)
        usage_error("--rank: training needs an adapter of rank 1 or more");

    struct config *config = config_read_file(config_path);
    struct work w =
        synthetic ? make_work(synthetic, config) : read_work(argv + optind, argc - optind, config);
    config_free(config);
    if (w.n == 0)
        closing_count(0, 0, 0);
    struct plan *p =
        plan_make(config_path, &machine, &s, w.sequences, w.n, w.class_tokens, w.n_classes);
    struct outfile *out = outfile_open(common.output);
    (json ? plan_print_json : plan_print)(p, outfile_stream(out));
    outfile_finish(out);
    unsigned long n = (unsigned long)w.n;
    plan_free(p);
    free_work(&w);
    closing_count(n, 1, 0);
    return EX_OK;
}
