/* lm-plan: what scoring or training on a token stream would ask of a GPU, before there is one. */
#include "cmd/model_options.h"
#include "common/model/token_input.h"
#include "common/plan/plan.h"
#include "common/stream/record.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/outfile.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A machine in the units of its options; -1 where not given. */
struct figures {
    double product_rate, f32_rate; /* TFLOP/s */
    double bandwidth, link;        /* GB/s */
    double memory;                 /* GB */
    double launch;                 /* microseconds */
};

struct settings {
    struct common_options common;
    const char *config, *gpu, *synthetic, *validation;
    bool json, of_score, of_train; /* options that go with one stage were given */
    struct figures figures;
    struct plan_settings plan; /* its adapter's rank -1: not given */
};

static const struct option_choice stages[] = {{"score", PLAN_SCORE}, {"train", PLAN_TRAIN}, {0}};
static const struct option_choice computes[] = {{"f32", F32}, {"bf16", BF16}, {0}};

#define FIGURE(m, min, max) OPTION_REAL(struct settings, figures.m, min, max)

static const struct option_row rows[] = {
    {"config", 0, "FILE", "the model's config.json, or a GGUF file",
     OPTION_TEXT(struct settings, config)},
    {"stage", 0, "NAME", "score (default) or train",
     OPTION_CHOICE(enum plan_stage, struct settings, plan.stage, stages)},
    {"gpu", 0, "NAME",
     "a100-40, a100-80, a100-80-pcie, h100, h100-pcie, h100-nvl,\n"
     "h200, or as nvidia-smi calls it; or a machine of your own:",
     OPTION_TEXT(struct settings, gpu)},
    {"peak-tflops", 0, "F", "TFLOP/s of its bf16 products", FIGURE(product_rate, 1e-6, 1e9)},
    {"f32-tflops", 0, "F", "TFLOP/s in f32 (as --peak-tflops)", FIGURE(f32_rate, 1e-6, 1e9)},
    {"bandwidth", 0, "B", "GB/s of its memory", FIGURE(bandwidth, 1e-3, 1e9)},
    {"memory", 0, "M", "GB of it", FIGURE(memory, 1e-3, 1e9)},
    {"link", 0, "B", "GB/s to and from the host (0: not counted)", FIGURE(link, 0, 1e9)},
    {"launch-us", 0, "T", "microseconds of a kernel's launch", FIGURE(launch, 0, 1e6)},
    {"compute", 0, "TYPE", "bf16 (default) or f32: what products take in",
     OPTION_CHOICE(enum dtype, struct settings, plan.compute, computes)},
    {"batch-tokens", 0, "N", "of score: tokens of one pass (2048)",
     OPTION_WHOLE(struct settings, plan.score.batch_tokens, 1, 1 << 20),
     OPTION_GIVEN(struct settings, of_score)},
    {"no-share", 0, NULL, "of score: common prefixes again for every record",
     OPTION_CLEAR(struct settings, plan.score.share), OPTION_GIVEN(struct settings, of_score)},
    {"rank", 0, "N", "the adapter's rank (score: 0, none; train: 16)",
     OPTION_WHOLE(struct settings, plan.adapter.rank, 0, 65536)},
    TARGETS_ROW(struct settings, plan.adapter),
    {"dropout", 0, "P", "of train: of the adapter's input (0.05)",
     OPTION_REAL(struct settings, plan.adapter.dropout, 0, 0.99),
     OPTION_GIVEN(struct settings, of_train)},
    {"batch", 0, "N", "of train: examples of a pass (16)",
     OPTION_WHOLE(struct settings, plan.batch, 1, 1 << 16),
     OPTION_GIVEN(struct settings, of_train)},
    {"accumulate", 0, "N", "of train: passes of an optimizer step (1)",
     OPTION_WHOLE(struct settings, plan.accumulate, 1, 1 << 12),
     OPTION_GIVEN(struct settings, of_train)},
    {"epochs", 0, "N", "of train (10)", OPTION_REAL(struct settings, plan.epochs, 1e-6, 1e6),
     OPTION_GIVEN(struct settings, of_train)},
    {"validation", 0, "FILE", "of train: tokens that each epoch is validated on",
     OPTION_TEXT(struct settings, validation), OPTION_GIVEN(struct settings, of_train)},
    {"synthetic", 0, "T,P,S,O",
     "instead of a stream: T texts under P prompts, each of\n"
     "S tokens that its texts share and O of their own",
     OPTION_TEXT(struct settings, synthetic)},
    {"json", 0, NULL, "all of it as JSON", OPTION_SET(struct settings, json)},
    {"output", 0, "FILE", "write there instead of standard output", OPTION_WORDS},
    {"compress", 0, NULL, NULL, OPTION_UNSAID},
    OPTIONS_END};

static const struct program program = {
    .name = "lm-plan",
    .about = "usage: lm-plan --config FILE --gpu NAME [OPTION]... [FILE]...\n"
             "\n"
             "Reads tokens and counts what lm-score or lora-train would do with them: operations,\n"
             "FLOPs, bytes, launches, memory; and the least time a GPU can take for it. Computes\n"
             "nothing and needs no weights: of the model only its config.json.\n"
             "\n"
             "  lm-plan --config config.json --gpu a100-80 --stage score tokens.mp\n"
             "\n",
    .rows = rows,
    .name_column = 2,
    .help_column = 24,
    .brief = true};

struct work {
    struct sequence *sequences;
    int n, cap;
    struct answer_tree *tree;
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
    w.tree = answer_tree_read(in);
    for (struct tokens t; tokens_read(in, &t);) {
        check_tokens(in, &t, c, w.tree->depth);
        if (w.n == INT_MAX)
            stream_bad_record(in, t.id, "more records than a plan can take; plan for a part");
        int32_t *copy = xreallocarray(NULL, t.n_tokens, sizeof *copy);
        memcpy(copy, t.tokens, t.n_tokens * sizeof *copy);
        add_sequence(&w, copy, t.n_tokens);
    }
    stream_close(in);
    return w;
}

/* n whole numbers with commas between them, of digits alone. */
static bool read_numbers(const char *text, int *numbers, int n)
{
    for (int i = 0; i < n; i++) {
        char *end;
        long number = strtol(text, &end, 10); /* LONG_MAX where it does not fit */
        if (!isdigit((unsigned char)*text) || number > INT_MAX || *end != (i < n - 1 ? ',' : 0))
            return false;
        numbers[i] = (int)number;
        text = end + 1;
    }
    return true;
}

/* Prompts that begin differently from each other, texts that begin differently within a prompt. */
static struct work make_work(const char *option, const struct config *c)
{
    enum { TEXTS, PROMPTS, SHARED, OWN, NUMBERS };
    int n[NUMBERS];
    if (!read_numbers(option, n, NUMBERS) || n[TEXTS] < 1 || n[PROMPTS] < 1 || n[OWN] < 1 ||
        c->vocab < 4 || (long)n[TEXTS] * n[PROMPTS] > 1 << 24 ||
        (long)n[SHARED] + n[OWN] > c->max_positions)
        usage_error("--synthetic: '%s' is not texts,prompts,shared,own: whole numbers, at most %d "
                    "tokens a prompt and 16 million prompts",
                    option, c->max_positions);
    int texts = n[TEXTS], prompts = n[PROMPTS], shared = n[SHARED], own = n[OWN];
    struct work w = {.tree = answer_tree_plain((const int32_t[]){0, 1}, 2)};
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
    answer_tree_free(w->tree);
}

static void check_machine(const char *gpu, const struct machine *known, const struct figures *said)
{
    if (gpu && !known)
        usage_error("--gpu: '%s' is none that --help names; describe it by --peak-tflops, "
                    "--bandwidth and --memory",
                    gpu);
    if (!known && (said->product_rate < 0 || said->bandwidth < 0 || said->memory < 0))
        usage_error("--gpu NAME is needed, or --peak-tflops, --bandwidth and --memory");
}

/* The GPU named, with what else was said of it, or a machine of the user's own. */
static struct machine machine_of(const char *gpu, const struct figures *said)
{
    const struct machine *known = gpu ? machine_find(gpu) : NULL;
    check_machine(gpu, known, said);
    struct machine m = known ? *known
                             : (struct machine){.name = "own",
                                                .title = "this machine",
                                                .source = "figures given by options",
                                                .f32_rate = 1e12 * said->product_rate};
    double *to[] = {&m.product_rate, &m.f32_rate, &m.bandwidth, &m.link, &m.memory, &m.launch};
    const double from[] = {1e12 * said->product_rate, 1e12 * said->f32_rate, 1e9 * said->bandwidth,
                           1e9 * said->link,          1e9 * said->memory,    1e-6 * said->launch};
    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        if (from[i] >= 0) {
            *to[i] = from[i];
            m.source = known ? "datasheet, changed by options" : m.source;
        }
    return m;
}

static struct settings default_settings(void)
{
    struct settings s = {.figures = {-1, -1, -1, -1, -1, -1},
                         .plan = {.stage = PLAN_SCORE,
                                  .compute = BF16,
                                  .score = {.batch_tokens = 2048, .share = true},
                                  .adapter = {.rank = -1, .alpha = 32, .dropout = 0.05},
                                  .batch = 16,
                                  .accumulate = 1,
                                  .epochs = 10}};
    adapter_targets(ADAPTER_TARGETS, &s.plan.adapter);
    return s;
}

static void complete_settings(struct settings *s, int n_files)
{
    if (!s->config)
        usage_error("--config FILE is needed: the model's config.json");
    if (s->common.compress)
        usage_error("-z: a plan is text, which is not compressed");
    if (s->synthetic && n_files)
        usage_error("--synthetic takes the place of files");
    struct plan_settings *p = &s->plan;
    if (s->of_train && p->stage != PLAN_TRAIN)
        usage_error("--dropout, --batch, --accumulate, --epochs and --validation go with --stage "
                    "train");
    if (s->of_score && p->stage != PLAN_SCORE)
        usage_error("--batch-tokens and --no-share go with --stage score");
    if (p->adapter.rank < 0)
        p->adapter.rank = p->stage == PLAN_TRAIN ? 16 : 0;
}

static void print(const struct settings *s, const struct plan *p)
{
    struct outfile *out = outfile_open(s->common.output);
    (s->json ? plan_print_json : plan_print)(p, outfile_stream(out));
    outfile_finish(out);
}

int main(int argc, char **argv)
{
    struct settings s = default_settings();
    program_start(&program, argc, argv);
    int first = options_parse(&program, rows, argc, argv, &s.common);
    complete_settings(&s, argc - first);
    struct machine machine = machine_of(s.gpu, &s.figures);
    if (s.plan.stage == PLAN_TRAIN && s.plan.adapter.rank == 0)
        usage_error("--rank: training needs an adapter of rank 1 or more");

    struct config *config = config_read_file(s.config);
    struct work w = s.synthetic ? make_work(s.synthetic, config)
                                : read_work(argv + first, argc - first, config);
    struct work validation = {0};
    if (s.validation)
        validation = read_work((char *const[]){(char *)s.validation}, 1, config);
    s.plan.stored = config->stored;
    config_free(config);
    if (w.n == 0 || (s.validation && validation.n == 0))
        closing_count(0, 0, 0);
    s.plan.tree = w.tree;
    s.plan.validation = validation.sequences;
    s.plan.n_validation = validation.n;
    struct plan *p =
        plan_make(s.config, &machine, &s.plan, w.sequences, w.n, w.tree->tokens, w.tree->n_tokens);
    print(&s, p);
    unsigned long n = (unsigned long)w.n;
    plan_free(p);
    free_work(&w);
    if (s.validation)
        free_work(&validation);
    closing_count(n, 1, 0);
    return EX_OK;
}
