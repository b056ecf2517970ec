/* lm-score: token ids to the logits of each class's answers behind the last position, or with a
 * head to predictions. */
#include "cmd/lm-score/work.h"
#include "cmd/model_options.h"
#include "common/model/device.h"
#include "common/model/lora.h"
#include "common/plan/fit.h"
#include "common/plan/profile_device.h"
#include "common/score/asked.h"
#include "common/score/head.h"
#include "common/score/read_ahead.h"
#include "common/score/score.h"
#include "common/stream/header.h"
#include "common/stream/record.h"
#include "common/text/tokenizer_match.h"
#include "common/util/clock.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/model_folder.h"
#include "common/util/progress.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a student with a fixed alpha0: scaled to it, as it was trained, or as they are before. */
enum alphas { ALPHAS_TRAINED, ALPHAS_UNSCALED };

struct settings {
    struct common_options common;
    const char *model, *adapter; /* folders; adapter NULL: none */
    const char *list;            /* NULL: the operands are what is scored */
    bool merge, other_task, digest, profile, mass;
    bool head_given;
    enum head_kind head;
    enum alphas alphas;
    struct device_request device;
    struct score_options score; /* batch_tokens 0: what fits */
    /* The command line for headers: one of a list has that of a stream that is scored alone. */
    int argc;
    char **argv;
};

static const struct option_choice heads[] = {
    {"none", HEAD_NONE}, {"softmax", HEAD_SOFTMAX}, {"dirichlet", HEAD_DIRICHLET}, {0}};

static const struct option_choice alphas[] = {
    {"trained", ALPHAS_TRAINED}, {"unscaled", ALPHAS_UNSCALED}, {0}};

static const struct option_row rows[] = {
    {"model", 0, "DIR", "the model's folder, or a GGUF file", OPTION_TEXT(struct settings, model)},
    {"adapter", 0, "DIR", "a LoRA adapter of it, as lora-train and PEFT write them",
     OPTION_TEXT(struct settings, adapter)},
    {"merge", 0, NULL, "add the adapter to the weights first: no slower than without",
     OPTION_SET(struct settings, merge)},
    {"other-task", 0, NULL,
     "texts asked otherwise than those that the adapter was trained\n"
     "on: of another task, with its classes, or by other prompts",
     OPTION_SET(struct settings, other_task)},
    {"head", 0, "NAME", "none, softmax or dirichlet (what the adapter was trained with)",
     OPTION_CHOICE(enum head_kind, struct settings, head, heads),
     OPTION_GIVEN(struct settings, head_given)},
    {"alphas", 0, "WHICH",
     "of a student with a fixed alpha0: trained (scaled to it, the\n"
     "default) or unscaled, as the published code evaluates them",
     OPTION_CHOICE(enum alphas, struct settings, alphas, alphas)},
    {"compute", 0, "TYPE",
     "auto (default), f32 or bf16: what products take in; DUQ_ISA\n"
     "(amx, avx512bf16, avx512, avx2, plain) forces the processor's path",
     OPTION_CHOICE(enum device_compute, struct settings, device.compute, device_computes)},
    {"batch-tokens", 0, "N", "tokens of one pass (on a processor 2048, on a GPU what fits)",
     OPTION_WHOLE(struct settings, score.batch_tokens, 1, 1 << 20)},
    {"mass", 0, NULL, "record the answers' share of the whole vocabulary's probability",
     OPTION_SET(struct settings, mass)},
    {"no-share", 0, NULL, "compute common prefixes again for every record",
     OPTION_CLEAR(struct settings, score.share)},
    {"threads", 0, "N", "processor threads (all)",
     OPTION_WHOLE(struct settings, device.threads, 1, 4096)},
    DEVICE_ROW(struct settings, device.name),
    PROFILE_ROW(struct settings, profile),
    {"list", 0, "FILE",
     "score many streams with the model loaded once: a line of FILE\n"
     "(-: of standard input) is TOKENS, a tab and OUTPUT",
     OPTION_TEXT(struct settings, list)},
    {"digest", 0, NULL, "print the model's digest, as headers have it, and no more",
     OPTION_SET(struct settings, digest)},
    {"output", 0, "FILE", "write there (zstd if it ends in .zst) instead of standard output",
     OPTION_WORDS},
    {"compress", 0, NULL, "compress the output with zstd", OPTION_WORDS},
    {"quiet", 0, NULL, NULL, OPTION_WORDS},
    {"verbose", 0, NULL, "quiet; say what is done and how fast", OPTION_WORDS},
    OPTIONS_END};

static const struct program program = {
    .name = "lm-score",
    .about = "usage: lm-score --model DIR [OPTION]... [FILE]...\n"
             "\n"
             "Reads tokens, writes scores: for each record the logits of the classes' answers\n"
             "after its last token, by the model DIR: a Hugging Face folder, or a GGUF file.\n"
             "\n"
             "  tok --model DIR prompts.mp | lm-score --model DIR >scores.mp\n"
             "\n"
             "With an adapter's head, writes predictions instead, with their uncertainty:\n"
             "\n"
             "  lm-score --model $M --adapter dirichlet.lora --head dirichlet student.mp >test.mp\n"
             "\n",
    .rows = rows,
    .name_column = 2,
    .help_column = 22,
    .brief = true};

struct job {
    struct device *device;
    char *advice; /* what the device keeps, from plan_memory() on */
    struct model *model;
    struct adapter *adapter; /* NULL: none */
    struct lora_set *lora;   /* what passes add of it, unless it is merged */
    struct head head;
    struct score_options options;
    struct asked *asked; /* what records are held against; NULL: nothing */
    char *first_name; /* of the first stream, whose header every one answers to; NULL: none yet */
    json_t *first_header; /* a reference */
    struct answer_tree *tree;
    int32_t *outputs; /* [n_outputs], the tokens whose logits the head takes */
    int n_outputs;
    double *probs, *alpha; /* [loss_outputs()], of one record */
    struct scorer *scorer;
    /* The present stream. */
    struct stream_reader *in;
    struct read_ahead *input;
    struct stream_writer *out;
    unsigned long before, scored; /* records of earlier streams, and of its earlier windows */
    double seconds;               /* of scoring them */
    bool record_mass;             /* of all records; else it is measured of the first window's */
    unsigned long masses;         /* how many were measured */
    double mass, least_mass;      /* of these: the sum, and the least */
};

/* ---- opening what is needed ---- */

/* bf16 where the model is stored in it and the processor multiplies it natively. */
static enum dtype cpu_compute(const struct model *m)
{
    return model_stored_type(m) == BF16 && cpu_has_bf16() ? BF16 : F32;
}

static double gb(double bytes)
{
    return 1e-9 * bytes;
}

static void open_device(struct job *j, const struct settings *s, double started)
{
    struct device_request request = s->device;
    request.stored = model_stored_type(j->model);
    request.cpu_compute = cpu_compute(j->model);
    j->device = device_open(&request);
    if (s->profile)
        j->device = profile_device_open(j->device, started);
    /* -v measures the mass of a few, of a model as it is: a student's says little. Not where passes
     * take what memory there is: they would be smaller ones, and -v changes nothing. */
    j->options.mass = s->mass || (verbosity == VERBOSE && !s->adapter && !j->device->own_memory);
}

static void open_input(struct job *j, const struct settings *s, const struct work *w)
{
    j->in = stream_open_all(w->files, w->count, "tokens");
    tokenizer_match(j->in, s->model);
}

/* What the first stream's header asks for: the answers, the adapter and the head that goes with
 * both. */
static void choose_outputs(struct job *j, const struct settings *s)
{
    j->first_name = xstrdup(stream_name(j->in));
    j->first_header = json_incref((json_t *)stream_header(j->in));
    j->tree = answer_tree_read(j->in);
    if (s->adapter)
        j->adapter =
            adapter_read(s->adapter, j->model->config, j->model->digest, j->model->tensors);
    j->head = head_choose(s->head_given ? &s->head : NULL, j->adapter);
    if (s->alphas == ALPHAS_UNSCALED)
        head_leave_unscaled(&j->head);
    if (j->adapter && !s->other_task) {
        check_adapter_classes(j->adapter, j->in, j->tree);
        j->asked = asked_match(j->adapter, j->in);
    }
    j->outputs = head_tokens(&j->head, j->adapter, j->tree, &j->n_outputs);
    j->options.tree = j->tree;
    if (s->merge)
        model_merge(j->model, j->adapter);
    size_t classes = (size_t)j->tree->n_classes, most = loss_outputs(j->head.loss.kind, classes);
    j->probs = xcalloc(most, sizeof *j->probs);
    j->alpha = xcalloc(most, sizeof *j->alpha);
}

/* What is loaded is for streams like the first. */
static void check_like_first(const struct job *j)
{
    const char *key = header_difference(j->first_header, stream_header(j->in), HEADER_JOINED);
    if (key)
        die(EX_DATAERR,
            "%s: has another '%s' than %s, the list's first: a list of its own scores it",
            stream_name(j->in), key, j->first_name);
}

static void load(struct job *j, const struct settings *s)
{
    double began = clock_seconds();
    struct model *m = j->model;
    j->device->advice = "the weights do not fit: free what others hold there, take a larger GPU, "
                        "or use --device cpu";
    model_load(m, j->device);
    model_set_classes(m, j->outputs, j->n_outputs);
    if (j->adapter && !s->merge)
        j->lora = lora_load(j->device, j->adapter, j->outputs, j->n_outputs);
    inform("%s: %s, %.3g G weights in products, stored as %s, computing in %s on %s; loaded "
           "in %.1f s",
           s->model, m->config->architecture, 1e-9 * model_products(m),
           dtype_name(model_stored_type(m)), j->device->computes, j->device->description,
           clock_seconds() - began);
}

/* What the user can do where a pass does not fit. */
static char *advise(int batch_tokens)
{
    if (batch_tokens <= LEAST_BATCH_TOKENS)
        return xstrdup("this is too little for the model: free what others hold there, take a "
                       "larger GPU, or use --device cpu");
    return xasprintf("lower --batch-tokens (it is %d; a longer record is a pass of its own) or "
                     "free what others hold there",
                     batch_tokens);
}

/* adapter: what is computed beside the model, NULL for none. */
static void plan_memory(struct job *j, const struct adapter *adapter)
{
    struct device *d = j->device;
    struct score_options *o = &j->options;
    if (!o->batch_tokens)
        o->batch_tokens = fitting_batch_tokens(j->model, adapter, *o);
    d->advice = j->advice = advise(o->batch_tokens);
    if (!d->own_memory && verbosity != VERBOSE)
        return;
    struct score_memory need = score_memory(j->model, adapter, *o);
    size_t available, total;
    d->memory(d, &available, &total);
    inform("memory: %.3g GB of weights, %.3g GB of adapter; a pass of %d tokens %.3g GB, prefixes "
           "they share %.3g GB; free for these %.3g of %.3g GB",
           gb(need.weights), gb(need.adapter), o->batch_tokens, gb(need.pass), gb(need.prefixes),
           gb((double)available), gb((double)total));
    double taken = need.pass + need.prefixes;
    if (d->own_memory && taken > (double)available)
        warn("memory: a pass of %d tokens may take %.3g GB where %.3g GB are free; %s",
             o->batch_tokens, gb(taken), gb((double)available), d->advice);
}

static json_t *make_header(const struct job *j, const struct settings *s)
{
    bool scores = j->head.kind == HEAD_NONE;
    json_t *header = stream_header_from(stream_header(j->in), scores ? "scores" : "prediction",
                                        s->argc, s->argv);
    json_object_set_new(header, "model", json_string(j->model->digest));
    json_object_set_new(header, "compute", json_string(j->device->computes));
    if (j->adapter)
        json_object_set_new(header, "adapter", json_string(j->adapter->digest));
    if (s->other_task)
        json_object_set_new(header, "made_for", adapter_made_for(j->adapter));
    if (!scores)
        json_object_set_new(header, "head", json_string(head_name(j->head.kind)));
    if (s->alphas == ALPHAS_UNSCALED)
        json_object_set_new(header, "alphas", json_string("unscaled"));
    return header;
}

static void open_output(struct job *j, const struct settings *s, const struct work *w)
{
    j->out = stream_create(w->output, w->compress, make_header(j, s));
    stream_flush(j->out); /* its header: the next program begins */
}

/* ---- scoring ---- */

/* Between passes; done: records of the present window. */
static void show_progress(void *user, int done)
{
    struct job *j = user;
    read_ahead_check(j->input);
    progress_update(j->scored + (unsigned long)done);
}

static double mass_of(struct job *j, int record)
{
    const double *masses = scorer_masses(j->scorer);
    if (!masses)
        return 0;
    double mass = masses[record];
    j->masses++;
    j->mass += mass;
    if (mass < j->least_mass)
        j->least_mass = mass;
    return mass;
}

static void write_result(struct job *j, const struct window *w, int record, const float *logits)
{
    const char *id = window_id(w, record);
    int label = w->records[record].label;
    size_t classes = (size_t)j->tree->n_classes;
    double mass = mass_of(j, record);
    if (j->head.kind == HEAD_NONE) {
        scores_write(j->out, &(struct scores){.id = id,
                                              .prompt = w->records[record].prompt,
                                              .logits = logits,
                                              .n_classes = classes,
                                              .label = label,
                                              .has_mass = j->record_mass,
                                              .mass = mass});
        return;
    }
    struct prediction p = {.id = id, .label = label, .has_mass = j->record_mass, .mass = mass};
    head_predict(&j->head, logits, classes, j->probs, j->alpha, &p);
    prediction_write(j->out, &p);
}

/* Scores and writes what the window holds, in the order it came. */
static void score_window(struct job *j, const struct window *w)
{
    size_t outputs = (size_t)(j->tree->plain ? j->n_outputs : j->tree->n_classes);
    struct sequence *s = xreallocarray(NULL, (size_t)w->n, sizeof *s);
    float *logits = xreallocarray(NULL, (size_t)w->n * outputs, sizeof *logits);
    for (int i = 0; i < w->n; i++)
        s[i] = (struct sequence){w->tokens + w->records[i].first, w->records[i].n};
    scorer_run(j->scorer, s, w->n, logits, show_progress, j);
    for (int i = 0; i < w->n; i++) {
        for (size_t c = 0; c < outputs; c++)
            if (!isfinite(logits[(size_t)i * outputs + c]))
                die(EX_DATAERR,
                    "record %lu (id %s): the model gives a logit that is not a finite number; are "
                    "its weights whole? With --compute bf16, try f32",
                    j->scored + (unsigned long)i + 1, window_id(w, i));
        write_result(j, w, i, logits + (size_t)i * outputs);
    }
    stream_flush(j->out);
    if (!j->record_mass)
        scorer_stop_mass(j->scorer);
    j->scored += (unsigned long)w->n;
    free(s);
    free(logits);
}

static void report(const struct job *j)
{
    double seconds = j->seconds;
    struct score_counts n = scorer_counts(j->scorer);
    double products = model_products(j->model) * (double)n.computed + n.attention_products;
    inform("%lu tokens in %lu records; %lu computed (%.1f %%) in %lu passes, %lu shared prefixes",
           n.tokens, n.sequences, n.computed, 100.0 * (double)n.computed / (double)n.tokens,
           n.passes, n.prefixes);
    inform("%.1f s: %.1f records/s, %.0f tokens/s as read, %.0f computed, %.0f GFLOP/s", seconds,
           (double)n.sequences / seconds, (double)n.tokens / seconds, (double)n.computed / seconds,
           2e-9 * products / seconds);
}

/* What the model would write otherwise, it was hardly asked. */
static void report_mass(const struct job *j)
{
    static const double small = 0.01;
    double mean = j->mass / (double)j->masses;
    inform("mass: the answers had %.3g of the vocabulary's probability on average, %.3g at least "
           "(%lu records)",
           mean, j->least_mass, j->masses);
    if (mean < small)
        warn("the answers had %.2g %% of the vocabulary's probability on average: the model would "
             "write something else; say in the task's 'answers' what (duq-task(5))",
             100 * mean);
}

/* How many records whoever started the program says will come; 0: nothing is said. */
static unsigned long expected_records(void)
{
    const char *said = getenv("DUQ_RECORDS");
    return said ? strtoul(said, NULL, 10) : 0;
}

/* Loads the model when the first stream says for which answers. */
static void prepare(struct job *j, const struct settings *s)
{
    choose_outputs(j, s);
    load(j, s);
    plan_memory(j, s->merge ? NULL : j->adapter);
    j->scorer = scorer_open(j->model, j->lora, j->options);
}

static void score_stream(struct job *j, const struct settings *s, const struct work *w)
{
    open_input(j, s, w);
    if (!j->scorer)
        prepare(j, s);
    else
        check_like_first(j);
    j->input = read_ahead_open(j->in, j->model->config, j->tree->depth, j->asked);
    open_output(j, s, w);
    double began = clock_seconds();
    progress_start("records", expected_records());
    for (const struct window *window; (window = read_ahead_next(j->input));)
        score_window(j, window);
    progress_end();
    if (s->list && !j->scored)
        die(EX_DATAERR, "%s: holds no records", w->files[0]);
    if (!j->scored)
        closing_count(0, 0, 0);
    stream_finish(j->out);
    read_ahead_close(j->input);
    stream_close(j->in);
    j->seconds += clock_seconds() - began;
    j->before += j->scored;
    j->scored = 0;
}

static void score_all(struct job *j, const struct settings *s, struct work_list *list)
{
    for (const struct work *w; (w = work_next(list)); work_done(list))
        score_stream(j, s, w);
    if (j->before)
        report(j);
    if (j->masses)
        report_mass(j);
}

static void close_job(struct job *j, bool profile)
{
    if (j->scorer)
        scorer_close(j->scorer);
    if (j->lora)
        lora_free(j->lora);
    model_close(j->model);
    if (j->adapter)
        adapter_free(j->adapter);
    if (profile)
        profile_device_print(j->device, stderr);
    j->device->close(j->device);
    free(j->advice);
    asked_free(j->asked);
    free(j->first_name);
    json_decref(j->first_header);
    if (j->tree)
        answer_tree_free(j->tree);
    free(j->outputs);
    free(j->probs);
    free(j->alpha);
}

/* ---- the command line ---- */

/* All but --list and its value, which is a word of its own or a part of one. */
static void keep_command_line(struct settings *s, int argc, char **argv)
{
    s->argv = xcalloc((size_t)argc + 1, sizeof *s->argv);
    for (int i = 0; i < argc; i++) {
        bool has_value = s->list && s->list >= argv[i] && s->list <= argv[i] + strlen(argv[i]);
        if (!has_value)
            s->argv[s->argc++] = argv[i];
        else if (s->list == argv[i])
            s->argc--;
    }
}

int main(int argc, char **argv)
{
    double started = clock_seconds();
    struct settings s = {.device = {.name = "auto"}, .score = {.share = true}};
    program_start(&program, argc, argv);
    int first = options_parse(&program, rows, argc, argv, &s.common);
    if (!s.model)
        usage_error("--model DIR is needed");
    if (s.merge && !s.adapter)
        usage_error("--merge goes with --adapter DIR");
    if (s.other_task && !s.adapter)
        usage_error("--other-task goes with --adapter DIR");
    if (s.list && (first < argc || s.common.output))
        usage_error("with --list FILE its lines name the files, no operand and no -o");

    char *folder = model_folder_find(s.model);
    s.model = folder;
    struct job j = {
        .model = model_open(folder), .options = s.score, .record_mass = s.mass, .least_mass = 1};
    if (s.digest) {
        puts(j.model->digest);
        model_close(j.model);
        free(folder);
        return finish_printing();
    }
    keep_command_line(&s, argc, argv);
    struct work_list *list = work_open(s.list, &(struct work){.files = argv + first,
                                                              .count = argc - first,
                                                              .output = s.common.output,
                                                              .compress = s.common.compress});
    open_device(&j, &s, started);
    score_all(&j, &s, list);
    work_close(list);
    close_job(&j, s.profile);
    free(folder);
    free(s.argv);
    if (j.before)
        closing_count(j.before, j.before, 0);
    return EX_OK;
}
