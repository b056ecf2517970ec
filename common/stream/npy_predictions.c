#include "common/stream/npy_predictions.h"

#include "common/math/dirichlet.h"
#include "common/math/loss.h"
#include "common/stream/npy.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

/* How far a sum may be from 1: members were computed in single precision, or in half. */
static const double SUM_TOLERANCE = 1e-4, SUM_EXACT = 1e-9;

/* Bytes of a record's members: a record takes 64 MiB. */
enum { MOST_MEMBERS = 60 << 20 };

struct npy_predictions {
    struct npy array;
    size_t texts, classes, n_members;
    bool ensemble, keep_members;
    size_t text;      /* the next one */
    double *weights;  /* [n_members] */
    double *members;  /* [n_members * classes], of one text */
    double *probs;    /* [classes] */
    double *mean_log; /* [classes] */
};

static void check_shape(const struct npy *a)
{
    if (a->dimensions != 2 && a->dimensions != 3)
        die(EX_DATAERR,
            "%s: %zu dimensions; probabilities are [texts, classes] or [texts, classes, members]",
            a->name, a->dimensions);
    static const char *const names[] = {"texts", "classes", "members"};
    for (size_t i = 0; i < a->dimensions; i++)
        if (a->shape[i] == 0)
            die(EX_DATAERR, "%s: no %s: dimension %zu is 0", a->name, names[i], i + 1);
}

static void read_weights(struct npy_predictions *p, const char *path)
{
    if (!path) {
        for (size_t m = 0; m < p->n_members; m++)
            p->weights[m] = 1 / (double)p->n_members;
        return;
    }
    struct npy w = npy_open(path);
    if (w.dimensions != 1 || w.shape[0] != p->n_members)
        die(EX_DATAERR, "%s: not one weight for each of the %zu members of %s", path, p->n_members,
            p->array.name);
    double sum = 0;
    for (size_t m = 0; m < p->n_members; m++) {
        p->weights[m] = npy_at(&w, &m);
        if (!(p->weights[m] >= 0 && isfinite(p->weights[m])))
            die(EX_DATAERR, "%s: weight %zu is %g", path, m, p->weights[m]);
        sum += p->weights[m];
    }
    if (!(fabs(sum - 1) < SUM_TOLERANCE))
        die(EX_DATAERR, "%s: the weights sum to %g, not to 1", path, sum);
    for (size_t m = 0; m < p->n_members && fabs(sum - 1) > SUM_EXACT; m++)
        p->weights[m] /= sum;
    npy_close(&w);
}

struct npy_predictions *npy_predictions_open(const struct npy_options *o)
{
    struct npy_predictions *p = xcalloc(1, sizeof *p);
    p->array = npy_open(o->path);
    check_shape(&p->array);
    p->texts = p->array.shape[0];
    p->classes = p->array.shape[1];
    p->ensemble = p->array.dimensions == 3;
    p->n_members = p->ensemble ? p->array.shape[2] : 1;
    p->keep_members = o->keep_members;
    if (!p->ensemble && (o->weights || o->keep_members))
        die(EX_DATAERR, "%s: [texts, classes] has no members to weigh or to keep", o->path);
    size_t bytes;
    if (__builtin_mul_overflow(p->n_members, p->classes * sizeof *p->members, &bytes) ||
        (o->keep_members && bytes > MOST_MEMBERS))
        die(EX_DATAERR, "%s: %zu members make too large a record: leave out --members", o->path,
            p->n_members);
    p->weights = xcalloc(p->n_members, sizeof *p->weights);
    read_weights(p, o->weights);
    p->members = xreallocarray(NULL, p->n_members, p->classes * sizeof *p->members);
    p->probs = xcalloc(p->classes, sizeof *p->probs);
    p->mean_log = xcalloc(p->classes, sizeof *p->mean_log);
    return p;
}

size_t npy_texts(const struct npy_predictions *p)
{
    return p->texts;
}

size_t npy_classes(const struct npy_predictions *p)
{
    return p->classes;
}

const double *npy_weights(const struct npy_predictions *p, size_t *n)
{
    *n = p->n_members;
    return p->ensemble ? p->weights : NULL;
}

/* "text 3 (id x), member 2", for messages; the caller frees it. */
static char *place(const struct npy_predictions *p, const char *id, size_t m)
{
    return p->ensemble ? xasprintf("text %zu (id %s), member %zu", p->text, id, m)
                       : xasprintf("text %zu (id %s)", p->text, id);
}

/* One member's probabilities into out, [classes]. */
static void read_member(const struct npy_predictions *p, const char *id, size_t m, double *out)
{
    double sum = 0;
    for (size_t c = 0; c < p->classes; c++) {
        out[c] = npy_at(&p->array, (size_t[]){p->text, c, m});
        sum += out[c];
        if (!(out[c] >= 0 && out[c] <= 1 + SUM_TOLERANCE))
            die(EX_DATAERR, "%s: %s, class %zu: %g is no probability", p->array.name,
                place(p, id, m), c, out[c]);
    }
    if (!(fabs(sum - 1) < SUM_TOLERANCE))
        die(EX_DATAERR,
            "%s: %s: the probabilities sum to %g, not to 1 (logits? the axes in another "
            "order than texts, classes, members?)",
            p->array.name, place(p, id, m), sum);
    for (size_t c = 0; c < p->classes && fabs(sum - 1) > SUM_EXACT; c++)
        out[c] /= sum;
}

void npy_next(struct npy_predictions *p, const char *id, struct prediction *out)
{
    *out = (struct prediction){.probs = p->probs, .n_classes = p->classes};
    for (size_t m = 0; m < p->n_members; m++)
        read_member(p, id, m, p->members + m * p->classes);
    struct uncertainty u =
        ensemble_uncertainty(p->members, p->weights, p->n_members, p->classes, p->probs);
    out->total = u.total;
    out->aleatoric = p->ensemble ? u.aleatoric : NAN;
    out->epistemic = p->ensemble ? u.epistemic : NAN;
    if (p->keep_members) {
        out->members = p->members;
        out->n_members = p->n_members;
    } else if (p->ensemble) {
        target_from_members(p->members, p->weights, p->n_members, p->classes, p->mean_log);
        out->mean_log = p->mean_log;
    }
    p->text++;
}

void npy_predictions_close(struct npy_predictions *p)
{
    npy_close(&p->array);
    free(p->weights);
    free(p->members);
    free(p->probs);
    free(p->mean_log);
    free(p);
}
