/* The tokens of a task's answers, as headers have them: JSON. */
#include "common/model/answer_tree.h"
#include "tests/fuzz/harness.h"

#include <stdlib.h>

void fuzz_start(void)
{
}

void fuzz_one(const char *data, size_t size)
{
    json_t *list = json_loadb(data, size, 0, NULL);
    if (!json_is_array(list)) {
        json_decref(list);
        return;
    }
    struct answer_tree *t = answer_tree_from_json(list, "answer_tokens", "header");
    json_decref(list);
    size_t cells = (size_t)t->n_nodes * (size_t)t->n_tokens;
    if (cells < 1 << 16) {
        float *logits = calloc(cells, sizeof *logits), *gradient = calloc(cells, sizeof *gradient);
        float *by_class = calloc((size_t)t->n_classes, sizeof *by_class);
        double *norms = calloc((size_t)t->n_nodes, sizeof *norms);
        answer_tree_positions(t);
        answer_tree_logits(t, logits, t->n_tokens, by_class);
        answer_tree_gradient(t, logits, t->n_tokens, by_class, gradient);
        answer_tree_mass(t, logits, t->n_tokens, norms);
        free(logits);
        free(gradient);
        free(by_class);
        free(norms);
    }
    answer_tree_free(t);
}
