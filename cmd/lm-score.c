/* lm-score: token ids to the logits of each class's first token at the last position, or with a
 * head to predictions. */
#include "common/model/device.h"
#include "common/model/lora.h"
#include "common/plan/fit.h"
#include "common/plan/profile_device.h"
#include "common/score/head.h"
#include "common/score/read_ahead.h"
#include "common/score/score.h"
#include "common/stream/record.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/options.h"
#include "common/util/progress.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct program program = {
    "lm-score",
    "usage: lm-score --model DIR [OPTION]... [FILE]...\n"
    "\n"
    "Reads tokens, writes scores: for each record the logits of the classes' first\n"
    "tokens after its last token, by the model in the Hugging Face folder DIR\n"
    "(Mistral, Llama or Qwen2; config.json and safetensors).\n"
    "\n"
    "  tok --model DIR prompts.mp | lm-score --model DIR >scores.mp\n"
    "\n"
    "With an adapter's head, writes predictions instead, with their uncertainty:\n"
    "\n"
    "  lm-score --model $M --adapter dirichlet.lora --head dirichlet student.mp >test.mp\n"
    "\n"
    "  --model DIR         the model's folder\n"
    "  --adapter DIR       a LoRA adapter of it, as lora-train and PEFT write them\n"
    "  --merge             add the adapter to the weights first: no slower than without\n"
    "  --head NAME         none, softmax or dirichlet (what the adapter was trained with)\n"
    "  --compute TYPE      auto (default), f32 or bf16: what products take in; DUQ_ISA\n"
    "                      (amx, avx512bf16, avx512, avx2, plain) forces the processor's path\n"
    "  --batch-tokens N    tokens of one pass (on a processor 2048, on a GPU what fits)\n"
    "  --no-share          compute common prefixes again for every record\n"
    "  --threads N         processor threads (all)\n"
    "  --device NAME       auto (default), cpu, cuda or cuda:N\n"
    "  --profile           in the end say where the time went, operation by operation\n"
    "  --digest            print the model's digest, as headers have it, and no more\n"
    "  -o FILE             write there (zstd if it ends in .zst) instead of standard output\n"
    "  -z                  compress the output with zstd\n"
    "  -q, -v              quiet; say what is done and how fast\n"
    "  --help, --version\n"};

static struct read_ahead *input;
static unsigned long scored; /* records of earlier windows */

/* Between passes. */
static void show_progress(int done)
{
    read_ahead_check(input);
    progress_update(scored + (unsigned long)done);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Where results go, and what is made of them. */
struct results {
    struct stream_writer *out;
    struct head head;
    size_t n_classes;
    double *probs, *alpha; /* [n_classes], of one record */
};

static void write_result(struct results *r, const struct window *w, int record, const float *logits)
{
    const char *id = window_id(w, record);
    int label = w->records[record].label;
    if (r->head.kind == HEAD_NONE) {
        scores_write(r->out, &(struct scores){.id = id,
                                              .prompt = w->records[record].prompt,
                                              .logits = logits,
                                              .n_classes = r->n_classes,
                                              .label = label});
        return;
    }
    struct prediction p = {.id = id, .label = label};
    head_predict(&r->head, logits, r->n_classes, r->probs, r->alpha, &p);
    prediction_write(r->out, &p);
}

/* Scores and writes what the window holds, in the order it came. */
static void score_window(const struct window *w, struct scorer *scorer, struct results *r)
{
    size_t classes = r->n_classes;
    struct sequence *s = xreallocarray(NULL, (size_t)w->n, sizeof *s);
    float *logits = xreallocarray(NULL, (size_t)w->n * classes, sizeof *logits);
    for (int i = 0; i < w->n; i++)
        s[i] = (struct sequence){w->tokens + w->records[i].first, w->records[i].n};
    scorer_run(scorer, s, w->n, logits, show_progress);
    for (int i = 0; i < w->n; i++) {
        for (size_t c = 0; c < classes; c++)
            if (!isfinite(logits[(size_t)i * classes + c]))
                die(EX_DATAERR,
                    "record %lu (id %s): the model gives a logit that is not a finite number; are "
                    "its weights whole? With --compute bf16, try f32",
                    scored + (unsigned long)i + 1, window_id(w, i));
        write_result(r, w, i, logits + (size_t)i * classes);
    }
    stream_flush(r->out);
    scored += (unsigned long)w->n;
    free(s);
    free(logits);
}

/* bf16 where the model is stored in it and the processor multiplies it natively. */
static enum dtype cpu_compute(const struct model *m)
{
    return model_stored_type(m) == BF16 && cpu_has_bf16() ? BF16 : F32;
}

static double gb(double bytes)
{
    return 1e-9 * bytes;
}

static void plan_memory(const struct model *m, const struct adapter *a,
                        struct score_options *options)
{
    struct device *d = m->device;
    if (!options->batch_tokens)
        options->batch_tokens = fitting_batch_tokens(m, a, options->share);
    static char advice[160]; /* the device keeps it */
    snprintf(advice, sizeof advice,
             "lower --batch-tokens (it is %d; a longer record is a pass of its own) or free what "
             "others hold there",
             options->batch_tokens);
    d->advice = advice;
    if (options->batch_tokens <= LEAST_BATCH_TOKENS)
        d->advice = "this is too little for the model: free what others hold there, take a larger "
                    "GPU, or use --device cpu";
    if (!d->copies && verbosity != VERBOSE)
        return;
    struct score_memory need = score_memory(m, a, *options);
    size_t available, total;
    d->memory(d, &available, &total);
    inform("memory: %.3g GB of weights, %.3g GB of adapter; a pass of %d tokens %.3g GB, prefixes "
           "they share %.3g GB; free for these %.3g of %.3g GB",
           gb(need.weights), gb(need.adapter), options->batch_tokens, gb(need.pass),
           gb(need.prefixes), gb((double)available), gb((double)total));
    double taken = need.pass + need.prefixes;
    if (d->copies && taken > (double)available)
        warn("memory: a pass of %d tokens may take %.3g GB where %.3g GB are free; %s",
             options->batch_tokens, gb(taken), gb((double)available), d->advice);
}

static void report(const struct scorer *scorer, const struct model *m, double seconds)
{
    struct score_counts n = scorer_counts(scorer);
    double products = model_products(m) * (double)n.computed + n.attention_products;
    inform("%lu tokens in %lu records; %lu computed (%.1f %%) in %lu passes, %lu shared prefixes",
           n.tokens, n.sequences, n.computed, 100.0 * (double)n.computed / (double)n.tokens,
           n.passes, n.prefixes);
    inform("%.1f s: %.1f records/s, %.0f tokens/s as read, %.0f computed, %.0f GFLOP/s", seconds,
           (double)n.sequences / seconds, (double)n.tokens / seconds, (double)n.computed / seconds,
           2e-9 * products / seconds);
}

static json_t *make_header(const struct stream_reader *in, const struct model *m,
                           const struct adapter *a, const struct head *h, int argc, char **argv)
{
    bool scores = h->kind == HEAD_NONE;
    json_t *header =
        stream_header_from(stream_header(in), scores ? "scores" : "prediction", argc, argv);
    json_object_set_new(header, "model", json_string(m->digest));
    json_object_set_new(header, "compute", json_string(m->device->computes));
    if (a)
        json_object_set_new(header, "adapter", json_string(a->digest));
    if (!scores)
        json_object_set_new(header, "head", json_string(head_name(h->kind)));
    return header;
}

static void print_digest(struct model *model)
{
    printf("%s\n", model->digest);
    if (fflush(stdout) || ferror(stdout))
        die(EX_IOERR, "standard output: not written: %s", strerror(errno));
    model_close(model);
}

int main(int argc, char **argv)
{
    enum {
        MODEL = OPTION_OWN,
        ADAPTER,
        MERGE,
        HEAD,
        COMPUTE,
        BATCH_TOKENS,
        NO_SHARE,
        THREADS,
        DEVICE,
        PROFILE,
        DIGEST
    };
    static const struct option table[] = {{"model", required_argument, NULL, MODEL},
                                          {"adapter", required_argument, NULL, ADAPTER},
                                          {"merge", no_argument, NULL, MERGE},
                                          {"head", required_argument, NULL, HEAD},
                                          {"compute", required_argument, NULL, COMPUTE},
                                          {"batch-tokens", required_argument, NULL, BATCH_TOKENS},
                                          {"no-share", no_argument, NULL, NO_SHARE},
                                          {"threads", required_argument, NULL, THREADS},
                                          {"device", required_argument, NULL, DEVICE},
                                          {"profile", no_argument, NULL, PROFILE},
                                          {"digest", no_argument, NULL, DIGEST},
                                          COMMON_LONG};
    struct common_options common = {0};
    struct score_options options = {.share = true}; /* batch_tokens 0: what fits */
    const char *folder = NULL, *adapter_folder = NULL, *head = NULL;
    bool merge = false, digest = false, profile = false;
    double started = profile_clock();
    struct device_request request = {.name = "auto", .compute = "auto"};
    program_start(&program, argc, argv);
    for (int c; (c = next_option(argc, argv, COMMON_SHORT, table, &common)) != -1;)
        switch (c) {
        case MODEL:
            folder = optarg;
            break;
        case ADAPTER:
            adapter_folder = optarg;
            break;
        case MERGE:
            merge = true;
            break;
        case HEAD:
            head = optarg;
            break;
        case COMPUTE:
            request.compute = optarg;
            break;
        case BATCH_TOKENS:
            options.batch_tokens = (int)option_long("--batch-tokens", optarg, 1, 1 << 20);
            break;
        case NO_SHARE:
            options.share = false;
            break;
        case THREADS:
            request.threads = (int)option_long("--threads", optarg, 1, 4096);
            break;
        case DEVICE:
            request.name = optarg;
            break;
        case PROFILE:
            profile = true;
            break;
        case DIGEST:
            digest = true;
            break;
        }
    if (!folder)
        usage_error("--model DIR is needed");
    if (merge && !adapter_folder)
        usage_error("--merge goes with --adapter DIR");

    struct model *model = model_open(folder);
    if (digest) {
        print_digest(model);
        return EX_OK;
    }
    request.stored = model_stored_type(model);
    request.cpu_compute = cpu_compute(model);
    struct device *device = device_open(&request);
    if (profile)
        device = profile_device_open(device, started);
    struct stream_reader *in = stream_open_all(argv + optind, argc - optind, "tokens");
    int n_classes;
    int32_t *class_tokens = header_class_tokens(in, &n_classes);

    struct adapter *adapter =
        adapter_folder ? adapter_read(adapter_folder, model->config, model->digest, model->tensors)
                       : NULL;
    struct results results = {.head = head_choose(head, adapter), .n_classes = (size_t)n_classes};
    if (adapter)
        check_adapter_classes(adapter, in, class_tokens, n_classes);
    if (merge)
        model_merge(model, adapter);

    input = read_ahead_open(in, model->config);

    double began = now();
    device->advice = "the weights do not fit: free what others hold there, take a larger GPU, or "
                     "use --device cpu";
    model_load(model, device);
    model_set_classes(model, class_tokens, n_classes);
    struct lora_set *lora =
        adapter && !merge ? lora_load(device, adapter, class_tokens, n_classes) : NULL;
    inform("%s: %s, %.3g G weights in products, stored as %s, computing in %s on %s; loaded "
           "in %.1f s",
           folder, model->config->architecture, 1e-9 * model_products(model),
           dtype_name(model_stored_type(model)), device->computes, device->description,
           now() - began);

    plan_memory(model, merge ? NULL : adapter, &options);

    results.out = stream_create(common.output, common.compress,
                                make_header(in, model, adapter, &results.head, argc, argv));
    stream_flush(results.out); /* its header: the next program begins */
    results.probs = xcalloc(results.n_classes, sizeof *results.probs);
    results.alpha = xcalloc(results.n_classes, sizeof *results.alpha);

    struct scorer *scorer = scorer_open(model, lora, options);
    began = now();
    progress_start("records", 0);
    for (const struct window *w; (w = read_ahead_next(input));)
        score_window(w, scorer, &results);
    progress_end();
    stream_finish(results.out);
    read_ahead_close(input);
    stream_close(in);
    if (scored)
        report(scorer, model, now() - began);
    scorer_close(scorer);
    if (lora)
        lora_free(lora);
    model_close(model);
    if (adapter)
        adapter_free(adapter);
    if (profile)
        profile_device_print(device, stderr);
    device->close(device);
    free(class_tokens);
    free(results.probs);
    free(results.alpha);
    closing_count(scored, scored, 0);
    return EX_OK;
}
