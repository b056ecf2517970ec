/* Predictions that are evaluated, and rules that decide on them: parts "=== rule",
 * "=== predictions". */
#include "common/decide/decide.h"
#include "common/decide/rule.h"
#include "common/eval/evaluation.h"
#include "common/util/mem.h"
#include "tests/fuzz/harness.h"

#include <stdlib.h>

void fuzz_start(void)
{
}

static void measure(const char *path)
{
    struct prediction_set *set = prediction_set_read(NULL, path, true);
    struct prediction_set *sets[] = {set};
    size_t n;
    if (set->n * (set->n_members + 1) * set->n_classes < 4096) {
        struct evaluation_settings e = {
            .sets = sets, .n_sets = 1, .members = true, .binning = {.bins = 10}};
        struct result *results = evaluate(&e, &n);
        results_free(results, n);
    }
    prediction_set_free(set);
}

static void apply(const char *path, const char *rule_path)
{
    struct stream_reader *r = stream_open(path, "prediction");
    json_t *fit;
    struct rule rule = rule_read(rule_path, r, &fit);
    for (struct prediction p; prediction_read(r, &p);) {
        prediction_check(r, &p);
        double *room = xcalloc(p.n_classes, sizeof *room);
        int32_t *set = xcalloc(p.n_classes, sizeof *set);
        struct prediction tempered = tempered_prediction(&p, rule.temperature, room);
        if (rule.n_limits == 1 || rule.n_limits == p.n_classes)
            decide(&rule, &tempered, set);
        free(room);
        free(set);
    }
    rule_free(&rule);
    json_decref(fit);
    stream_close(r);
}

void fuzz_one(const char *data, size_t size)
{
    struct fuzz_part predictions = fuzz_part(data, size, "predictions");
    struct fuzz_part rule = fuzz_part(data, size, "rule");
    if (!predictions.data)
        return;
    const char *path = fuzz_stream("predictions.mp", predictions.data, predictions.size);
    if (rule.data)
        apply(path, fuzz_stream("rule.mp", rule.data, rule.size));
    else
        measure(path);
}
