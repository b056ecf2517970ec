/* Scores on which an ensemble is fitted, and weights that are applied to them: parts "=== weights",
 * "=== scores". */
#include "common/uq/ensemble.h"
#include "common/uq/ensemble_fit.h"
#include "common/uq/fit_header.h"
#include "common/uq/validation.h"
#include "tests/fuzz/harness.h"

void fuzz_start(void)
{
}

static void fit(const char *path, bool calibrate)
{
    struct stream_reader *r = stream_open(path, "scores");
    struct validation v = validation_read(r, true);
    struct ensemble_settings s = {.objective = OBJECTIVE_PAPER,
                                  .entropy_weight = 0.1,
                                  .tolerance = 1e-3,
                                  .calibrate = calibrate ? CALIBRATE_SCALE : CALIBRATE_NONE,
                                  .strength = 1};
    if (v.n_texts && v.n_texts * v.n_prompts * v.n_classes < 4096) {
        validation_sort(&v);
        struct ensemble_fit f = ensemble_fit(&v, &s);
        json_decref(fit_header(&s, &f, v.n_texts));
        json_decref(fitted_on_json(&v, 0));
        ensemble_fit_free(&f);
    }
    validation_free(&v);
    stream_close(r);
}

static void apply(const char *scores, const char *weights)
{
    struct stream_reader *r = stream_open(scores, "scores");
    struct prompt_weights w = prompt_weights_read(weights, r, false);
    char digest[DIGEST_SIZE];
    prompt_weights_digest(&w, digest);
    struct ensemble *e = ensemble_open(r, &w);
    struct ensemble_text t;
    while (ensemble_next(e, &t))
        ;
    ensemble_close(e);
    prompt_weights_free(&w);
    stream_close(r);
}

void fuzz_one(const char *data, size_t size)
{
    struct fuzz_part scores = fuzz_part(data, size, "scores");
    struct fuzz_part weights = fuzz_part(data, size, "weights");
    if (!scores.data)
        return;
    const char *path = fuzz_stream("scores.mp", scores.data, scores.size);
    if (weights.data)
        apply(path, fuzz_stream("weights.mp", weights.data, weights.size));
    else
        fit(path, *data == 'c');
}
