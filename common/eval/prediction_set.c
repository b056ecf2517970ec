#include "common/eval/prediction_set.h"

#include "common/math/dirichlet.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *uncertainty_name(enum uncertainty_kind k)
{
    static const char *const names[N_UNCERTAINTIES] = {
        "total", "aleatoric", "epistemic", "vacuity", "differential_entropy", "pairwise_kl"};
    return names[k];
}

static char *name_of_file(const char *path)
{
    if (!path || !strcmp(path, "-"))
        return xstrdup("stdin");
    const char *slash = strrchr(path, '/');
    char *name = xstrdup(slash ? slash + 1 : path);
    static const char *const endings[] = {".zst", ".mp"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n = strlen(name), m = strlen(endings[i]);
        if (n > m && !strcmp(name + n - m, endings[i]))
            name[n - m] = '\0';
    }
    return name;
}

void prediction_check(struct stream_reader *r, const struct prediction *p)
{
    if (p->label != NO_LABEL && (size_t)p->label >= p->n_classes)
        stream_bad_record(r, p->id, "label %d, but there are %zu classes", p->label, p->n_classes);
    probabilities_check(r, p->id, "probs", p->probs, p->n_classes);
    for (size_t m = 0; m < p->n_members; m++)
        probabilities_check(r, p->id, "members", p->members + m * p->n_classes, p->n_classes);
    const double parts[N_PARTS] = {p->total, p->aleatoric, p->epistemic};
    for (int k = 0; k < N_PARTS; k++)
        if (isinf(parts[k]))
            stream_bad_record(r, p->id, "field '%s' is infinite", uncertainty_name(k));
}

static void check(struct stream_reader *r, const struct prediction *p, struct prediction_set *s)
{
    if (s->n == 0) {
        s->n_classes = p->n_classes;
        s->n_members = p->n_members;
    }
    if (p->n_classes != s->n_classes)
        stream_bad_record(r, p->id, "%zu classes where other records have %zu", p->n_classes,
                          s->n_classes);
    if (p->n_members != s->n_members)
        stream_bad_record(r, p->id, "%zu members where other records have %zu", p->n_members,
                          s->n_members);
    prediction_check(r, p);
    bool added;
    id_index_add(s->ids, p->id, &added);
    if (!added)
        stream_bad_record(r, p->id, "the id is there twice");
}

static void keep_uncertainty(struct stream_reader *r, const char *id, struct prediction_set *s,
                             enum uncertainty_kind k, bool has, double value, size_t capacity)
{
    const char *field = k < N_PARTS ? uncertainty_name(k) : "alpha";
    if (s->n > 0 && has != (s->uncertainty[k] != NULL))
        stream_bad_record(r, id, "field '%s' is %s, unlike in the records before it", field,
                          has ? "there" : "missing");
    if (!has)
        return;
    if (!isfinite(value))
        stream_bad_record(r, id, "field '%s': %s is not finite", field, uncertainty_name(k));
    s->uncertainty[k] = xreallocarray(s->uncertainty[k], capacity, sizeof(double));
    s->uncertainty[k][s->n] = value;
}

static void check_alpha(struct stream_reader *r, const struct prediction *p)
{
    for (size_t c = 0; c < p->n_classes; c++)
        if (!(p->alpha[c] > 0 && isfinite(p->alpha[c])))
            stream_bad_record(r, p->id, "alpha: that of class %zu is %g, not above 0", c,
                              p->alpha[c]);
}

static void keep_uncertainties(struct stream_reader *r, const struct prediction *p,
                               struct prediction_set *s, size_t capacity)
{
    double values[N_UNCERTAINTIES] = {p->total, p->aleatoric, p->epistemic, NAN, NAN, NAN};
    if (p->alpha) {
        check_alpha(r, p);
        values[VACUITY] = dirichlet_vacuity(p->alpha, p->n_classes);
        values[DIFFERENTIAL_ENTROPY] = dirichlet_entropy(p->alpha, p->n_classes);
        values[PAIRWISE_KL] = dirichlet_pairwise_kl(p->alpha, p->n_classes);
    }
    for (int k = 0; k < N_UNCERTAINTIES; k++) {
        bool has = k < N_PARTS ? !isnan(values[k]) : p->alpha != NULL;
        keep_uncertainty(r, p->id, s, k, has, values[k], capacity);
    }
}

static void keep(struct stream_reader *r, const struct prediction *p, struct prediction_set *s,
                 size_t capacity, bool with_members)
{
    size_t row = s->n_classes, all = s->n_members * s->n_classes;
    s->labels = xreallocarray(s->labels, capacity, sizeof *s->labels);
    s->labels[s->n] = p->label;
    s->probs = xreallocarray(s->probs, capacity, row * sizeof *s->probs);
    memcpy(s->probs + s->n * row, p->probs, row * sizeof *s->probs);
    if (with_members && all) {
        s->members = xreallocarray(s->members, capacity, all * sizeof *s->members);
        memcpy(s->members + s->n * all, p->members, all * sizeof *s->members);
    }
    keep_uncertainties(r, p, s, capacity);
    s->n++;
}

struct prediction_set *prediction_set_take(struct stream_reader *r, bool with_members)
{
    struct prediction_set *s = xcalloc(1, sizeof *s);
    s->file = xstrdup(stream_name(r));
    s->header = json_deep_copy(stream_header(r));
    s->ids = id_index_new();
    struct prediction p;
    size_t capacity = 0;
    while (prediction_read(r, &p)) {
        check(r, &p, s);
        if (s->n == capacity)
            capacity = capacity ? 2 * capacity : 64;
        keep(r, &p, s, capacity, with_members);
    }
    if (s->n == 0)
        die(EX_DATAERR, "%s: no predictions", s->file);
    if (!with_members)
        s->n_members = 0;
    return s;
}

struct prediction_set *prediction_set_read(const char *name, const char *path, bool with_members)
{
    struct stream_reader *r = stream_open(path, "prediction");
    struct prediction_set *s = prediction_set_take(r, with_members);
    s->name = name ? xstrdup(name) : name_of_file(path);
    stream_close(r);
    return s;
}

void prediction_set_free(struct prediction_set *s)
{
    if (!s)
        return;
    free(s->name);
    free(s->file);
    free(s->seeds_of);
    json_decref(s->header);
    id_index_free(s->ids);
    free(s->labels);
    free(s->probs);
    free(s->members);
    for (int k = 0; k < N_UNCERTAINTIES; k++)
        free(s->uncertainty[k]);
    free(s);
}

size_t *labelled_rows(const struct prediction_set *s, size_t *count)
{
    size_t *rows = xreallocarray(NULL, s->n, sizeof *rows);
    *count = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->labels[i] != NO_LABEL)
            rows[(*count)++] = i;
    return rows;
}

/* ---- alignment ---- */

static _Noreturn void only_in(const struct prediction_set *a, const struct prediction_set *b,
                              size_t row)
{
    die(EX_DATAERR,
        "%s and %s hold different texts (id %s is in %s only); compare predictions for the same "
        "texts",
        a->file, b->file, id_index_name(a->ids, row), a->file);
}

/* rows of elements of the given size, row i taken from order[i]. */
static void *permute(void *data, const size_t *order, size_t n, size_t size)
{
    if (!data || size == 0)
        return data;
    char *moved = xreallocarray(NULL, n, size);
    for (size_t i = 0; i < n; i++)
        memcpy(moved + i * size, (char *)data + order[i] * size, size);
    free(data);
    return moved;
}

void prediction_sets_align(const struct prediction_set *a, struct prediction_set *b)
{
    const json_t *x = json_object_get(a->header, "classes");
    const json_t *y = json_object_get(b->header, "classes");
    if (a->n_classes != b->n_classes || (x && y && !json_equal(x, y)))
        die(EX_DATAERR, "%s and %s have different classes; they cannot be compared", a->file,
            b->file);
    for (size_t i = 0, j; i < b->n; i++)
        if (!id_index_find(a->ids, id_index_name(b->ids, i), &j))
            only_in(b, a, i);
    size_t *order = xreallocarray(NULL, a->n, sizeof *order);
    for (size_t i = 0; i < a->n; i++)
        if (!id_index_find(b->ids, id_index_name(a->ids, i), &order[i]))
            only_in(a, b, i);
    for (size_t i = 0; i < a->n; i++)
        if (a->labels[i] != b->labels[order[i]])
            die(EX_DATAERR, "id %s has label %d in %s and %d in %s (-1: none)",
                id_index_name(a->ids, i), a->labels[i], a->file, b->labels[order[i]], b->file);
    size_t row = b->n_classes * sizeof(double);
    b->labels = permute(b->labels, order, b->n, sizeof *b->labels);
    b->probs = permute(b->probs, order, b->n, row);
    b->members = permute(b->members, order, b->n, b->n_members * row);
    for (int k = 0; k < N_UNCERTAINTIES; k++)
        b->uncertainty[k] = permute(b->uncertainty[k], order, b->n, sizeof(double));
    free(order);
    /* The index now numbers ids as a's rows are numbered. */
    id_index_free(b->ids);
    b->ids = id_index_new();
    for (size_t i = 0; i < a->n; i++)
        id_index_add(b->ids, id_index_name(a->ids, i), NULL);
}
