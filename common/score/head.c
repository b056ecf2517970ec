#include "common/score/head.h"

#include "common/math/dirichlet.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <string.h>

const char *head_name(enum head_kind k)
{
    return k == HEAD_SOFTMAX ? "softmax" : k == HEAD_DIRICHLET ? "dirichlet" : "none";
}

/* Of the adapter's. */
static enum head_kind kind_of(const char *name)
{
    for (enum head_kind k = HEAD_NONE; k <= HEAD_DIRICHLET; k++)
        if (!strcmp(name, head_name(k)))
            return k;
    die(EX_DATAERR, "the adapter's duq.json: 'head' is '%s', none of none, softmax, dirichlet",
        name);
}

struct head head_choose(const enum head_kind *asked, const struct adapter *a)
{
    const json_t *facts = a ? a->facts : NULL;
    const char *trained = json_string_value(json_object_get(facts, "head"));
    struct head h = {.loss = {.kind = LOSS_DIRICHLET}};
    if (asked)
        h.kind = *asked;
    else if (trained)
        h.kind = kind_of(trained);
    if (trained && h.kind != HEAD_NONE && strcmp(trained, head_name(h.kind)) != 0)
        die(EX_DATAERR, "--head %s: the adapter was trained with the head %s", head_name(h.kind),
            trained);
    if (h.kind == HEAD_DIRICHLET && json_object_get(facts, "deviation_tokens"))
        h.loss.kind = LOSS_IB_EDL;
    const char *mode = json_string_value(json_object_get(facts, "alpha0_mode"));
    if (mode && !strcmp(mode, "fixed")) {
        h.loss.mode = ALPHA0_FIXED;
        h.loss.alpha0 = json_number_value(json_object_get(facts, "alpha0"));
        if (!(h.loss.alpha0 > 0))
            die(EX_DATAERR, "the adapter's duq.json: 'alpha0' is missing or not a positive number");
    }
    return h;
}

void head_leave_unscaled(struct head *h)
{
    if (h->kind != HEAD_DIRICHLET || h->loss.mode != ALPHA0_FIXED)
        die(EX_DATAERR, "--alphas unscaled: nothing scales the alphas, for the adapter was not "
                        "trained with --alpha0 fixed; leave the option out");
    h->loss.mode = ALPHA0_STANDARD;
}

void check_adapter_classes(const struct adapter *a, const struct stream_reader *r,
                           const struct answer_tree *t)
{
    const json_t *single = json_object_get(a->facts, "class_tokens");
    const json_t *several = json_object_get(a->facts, "answer_tokens");
    if (!single && !several)
        return;
    const json_t *layout = json_object_get(stream_header(r), "layout");
    const json_t *trained = json_object_get(a->facts, "layout");
    if (layout != trained && !json_equal(layout, trained))
        die(EX_DATAERR,
            "%s: prompts in the layout '%s', the adapter was trained on those in '%s': make them "
            "with the same task",
            stream_name(r), layout ? json_string_value(layout) : "plain",
            trained ? json_string_value(trained) : "plain");
    if (!json_equal(single ? single : several, t->json))
        die(EX_DATAERR,
            "%s: its class tokens are not those that the adapter was trained on: another task's "
            "stream, or another tokenizer's; --other-task asks the student about it all the same",
            stream_name(r));
}

json_t *adapter_made_for(const struct adapter *a)
{
    json_t *made_for = json_object();
    json_t *classes = json_object_get(a->facts, "classes");
    if (classes)
        json_object_set(made_for, "classes", classes);
    return made_for;
}

int32_t *head_tokens(const struct head *h, const struct adapter *a, const struct answer_tree *t,
                     int *count)
{
    int n_classes = t->n_classes;
    bool deviations = loss_outputs(h->loss.kind, (size_t)n_classes) > (size_t)n_classes;
    if (deviations && !t->plain)
        die(EX_DATAERR,
            "the adapter's duq.json: it has 'deviation_tokens' of an ib-edl student, "
            "which has one token for each class, and the stream's answers have several");
    *count = t->n_tokens + (deviations ? n_classes : 0);
    int32_t *tokens = xreallocarray(NULL, (size_t)*count, sizeof *tokens);
    memcpy(tokens, t->tokens, (size_t)t->n_tokens * sizeof *tokens);
    if (!deviations)
        return tokens;
    const json_t *list = json_object_get(a->facts, "deviation_tokens");
    bool good = json_array_size(list) == (size_t)n_classes;
    for (int c = 0; good && c < n_classes; c++) {
        const json_t *v = json_array_get(list, (size_t)c);
        good =
            json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= INT32_MAX;
        tokens[n_classes + c] = (int32_t)json_integer_value(v);
    }
    if (!good)
        die(EX_DATAERR,
            "the adapter's duq.json: 'deviation_tokens' are not %d tokens, one for "
            "each class",
            n_classes);
    return tokens;
}

static void head_alpha(const struct head *h, const double *logits, size_t n, double *alpha)
{
    if (h->loss.kind == LOSS_IB_EDL)
        ib_edl_alpha(logits, n, alpha);
    else
        dirichlet_alpha(&h->loss, logits, n, alpha);
}

void head_predict(const struct head *h, const float *logits, size_t n, double *probs, double *alpha,
                  struct prediction *p)
{
    p->probs = probs;
    p->n_classes = n;
    for (size_t c = 0; c < loss_outputs(h->loss.kind, n); c++)
        alpha[c] = (double)logits[c];
    if (h->kind == HEAD_DIRICHLET) {
        head_alpha(h, alpha, n, alpha);
        struct uncertainty u = dirichlet_uncertainty(alpha, n, probs);
        p->alpha = alpha;
        p->total = u.total;
        p->aleatoric = u.aleatoric;
        p->epistemic = u.epistemic;
    } else {
        softmax_probs(alpha, n, probs);
        p->total = entropy(probs, n);
        p->aleatoric = p->epistemic = NAN;
    }
}
