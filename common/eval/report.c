#include "common/eval/report.h"

#include "common/eval/risk.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- aligned tables ---- */

enum { MAX_COLUMNS = 12 };

struct table {
    char **cells; /* [rows * columns], the heading first */
    size_t rows, columns;
    size_t text_columns; /* the first ones, aligned to the left */
};

static void add_cell(struct table *t, size_t *column, char *text)
{
    if (*column == 0) {
        t->rows++;
        t->cells = xreallocarray(t->cells, t->rows * t->columns, sizeof *t->cells);
    }
    t->cells[(t->rows - 1) * t->columns + *column] = text;
    *column = (*column + 1) % t->columns;
}

static void print_and_free(struct table *t, FILE *out)
{
    int width[MAX_COLUMNS] = {0};
    for (size_t i = 0; i < t->rows * t->columns; i++) {
        int n = (int)strlen(t->cells[i]);
        if (n > width[i % t->columns])
            width[i % t->columns] = n;
    }
    for (size_t i = 0; i < t->rows * t->columns; i++) {
        size_t c = i % t->columns;
        fprintf(out, "%s%*s%s", c ? "  " : "", c < t->text_columns ? -width[c] : width[c],
                t->cells[i], c + 1 == t->columns ? "\n" : "");
        free(t->cells[i]);
    }
    free(t->cells);
}

static const struct result *find(const struct report *r, const char *set, const char *against,
                                 const char *metric)
{
    for (size_t i = 0; i < r->n_results; i++) {
        const struct result *x = &r->results[i];
        if (!strcmp(x->set, set) && !strcmp(x->metric, metric) &&
            (against ? x->against && !strcmp(x->against, against) : !x->against))
            return x;
    }
    return NULL;
}

static char *cell(const struct result *x)
{
    if (!x || isnan(x->value))
        return xstrdup("-");
    if (isnan(x->low))
        return xasprintf("%.4f", x->value);
    return xasprintf("%.4f [%.4f, %.4f]", x->value, x->low, x->high);
}

/* One row per set; metrics without their prefix as headings. */
static void print_sets(const struct report *r, const char *prefix, const char *const *metrics,
                       size_t n_metrics, FILE *out)
{
    struct table t = {.columns = 2 + n_metrics, .text_columns = 1};
    size_t column = 0;
    add_cell(&t, &column, xstrdup("set"));
    add_cell(&t, &column, xstrdup("n"));
    for (size_t m = 0; m < n_metrics; m++)
        add_cell(&t, &column, xstrdup(metrics[m]));
    for (size_t i = 0; i < r->n_results; i++) {
        const struct result *x = &r->results[i];
        char *first = xasprintf("%s%s", prefix, metrics[0]);
        bool begins = !x->against && !strcmp(x->metric, first);
        free(first);
        if (!begins)
            continue;
        add_cell(&t, &column, xstrdup(x->set));
        add_cell(&t, &column, xasprintf("%zu", x->n));
        for (size_t m = 0; m < n_metrics; m++) {
            char *name = xasprintf("%s%s", prefix, metrics[m]);
            add_cell(&t, &column, cell(find(r, x->set, NULL, name)));
            free(name);
        }
    }
    print_and_free(&t, out);
}

static void print_detection(const struct report *r, FILE *out)
{
    static const char *const names[] = {"auroc", "aupr", "fpr95", "wasserstein"};
    struct table t = {.columns = 8, .text_columns = 3};
    size_t column = 0;
    const char *headings[] = {"set", "against", "uncertainty", "n"};
    for (size_t i = 0; i < 4; i++)
        add_cell(&t, &column, xstrdup(headings[i]));
    for (size_t i = 0; i < 4; i++)
        add_cell(&t, &column, xstrdup(names[i]));
    for (size_t i = 0; i < r->settings->n_oods; i++)
        for (int k = 0; k < N_UNCERTAINTIES; k++) {
            const char *set = r->settings->oods[i].of->name;
            const char *against = r->settings->oods[i].set->name;
            add_cell(&t, &column, xstrdup(set));
            add_cell(&t, &column, xstrdup(against));
            add_cell(&t, &column, xstrdup(uncertainty_name(k)));
            for (size_t m = 0; m < 4; m++) {
                char *name = xasprintf("%s_%s", names[m], uncertainty_name(k));
                const struct result *x = find(r, set, against, name);
                if (m == 0)
                    add_cell(&t, &column, xasprintf("%zu", x->n));
                add_cell(&t, &column, cell(x));
                free(name);
            }
        }
    print_and_free(&t, out);
}

static bool same_reason(const struct result *a, const struct result *b)
{
    return isnan(a->value) && isnan(b->value) && !strcmp(a->set, b->set) &&
           (a->against ? b->against && !strcmp(a->against, b->against) : !b->against) &&
           !strcmp(a->reason, b->reason);
}

/* Why cells are empty: a line for all figures of a set that have one reason. */
static void print_reasons(const struct report *r, FILE *out)
{
    const struct result *x = r->results, *end = x + r->n_results;
    bool begun = false;
    for (; x < end; x++) {
        bool told = !isnan(x->value);
        for (const struct result *before = r->results; before < x; before++)
            told = told || same_reason(before, x);
        if (told)
            continue;
        fputs(begun ? "" : "\nno value (-)\n", out);
        begun = true;
        fprintf(out, "%s%s%s: ", x->set, x->against ? " against " : "",
                x->against ? x->against : "");
        for (const struct result *y = x; y < end; y++)
            if (same_reason(x, y))
                fprintf(out, "%s%s", y == x ? "" : ", ", y->metric);
        fprintf(out, ": %s\n", x->reason);
    }
}

/* ---- abstention ---- */

static const double coverages[] = {1, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5};
enum { N_COVERAGES = sizeof coverages / sizeof *coverages };

/* Fills points [N_COVERAGES]; returns the number of texts, 0 when there is nothing to tell. */
static size_t abstain(const struct report *r, const struct prediction_set *s,
                      struct risk_point *points)
{
    size_t n, count;
    struct scored *scored = risk_scores(s, r->abstain_by, &n);
    if (!scored)
        return 0;
    struct risk_point *curve = risk_curve(scored, n, &count);
    for (int i = 0; i < N_COVERAGES; i++)
        points[i] = *risk_at_coverage(curve, count, coverages[i]);
    free(curve);
    free(scored);
    return n;
}

static double risk_of(const struct risk_point *p)
{
    return (double)p->wrong / (double)p->answered;
}

static void print_abstention(const struct report *r, FILE *out)
{
    struct table t = {.columns = 6, .text_columns = 1};
    size_t column = 0;
    const char *headings[] = {"set", "at least", "coverage", "answered", "risk"};
    for (size_t i = 0; i < 5; i++)
        add_cell(&t, &column, xstrdup(headings[i]));
    add_cell(&t, &column, xasprintf("%s at most", uncertainty_name(r->abstain_by)));
    for (size_t i = 0; i < r->settings->n_sets; i++) {
        struct risk_point points[N_COVERAGES];
        const struct prediction_set *s = r->settings->sets[i];
        size_t n = abstain(r, s, points);
        for (int c = 0; n && c < N_COVERAGES; c++) {
            add_cell(&t, &column, xstrdup(s->name));
            add_cell(&t, &column, xasprintf("%.2f", coverages[c]));
            add_cell(&t, &column, xasprintf("%.4f", (double)points[c].answered / (double)n));
            add_cell(&t, &column, xasprintf("%zu", points[c].answered));
            add_cell(&t, &column, xasprintf("%.4f", risk_of(&points[c])));
            add_cell(&t, &column, xasprintf("%.6g", points[c].threshold));
        }
    }
    print_and_free(&t, out);
}

/* ---- the whole ---- */

void report_table(const struct report *r, FILE *out)
{
    const char *metrics[N_METRICS];
    for (int m = 0; m < N_METRICS; m++)
        metrics[m] = metric_name(m);
    print_sets(r, "", metrics, N_METRICS, out);
    const char *kinds[N_UNCERTAINTIES];
    for (int k = 0; k < N_UNCERTAINTIES; k++)
        kinds[k] = uncertainty_name(k);
    fputs("\nmean uncertainty (nats)\n", out);
    print_sets(r, "mean_", kinds, N_UNCERTAINTIES, out);
    fputs("\narea under the risk-coverage curve, by uncertainty\n", out);
    print_sets(r, "aurc_", kinds, N_UNCERTAINTIES, out);
    if (r->settings->n_oods) {
        fputs("\nout-of-distribution detection by uncertainty\n", out);
        print_detection(r, out);
    }
    if (r->abstention) {
        fputs("\nanswering only the more certain texts\n", out);
        print_abstention(r, out);
    }
    print_reasons(r, out);
}

static json_t *real_or_null(double v)
{
    return isnan(v) ? json_null() : json_real(v);
}

static json_t *result_json(const struct result *x)
{
    json_t *o = json_pack("{s:o, s:I}", "value", real_or_null(x->value), "n", (json_int_t)x->n);
    if (isnan(x->value))
        json_object_set_new(o, "reason", json_string(x->reason));
    if (!isnan(x->low)) {
        json_object_set_new(o, "low", json_real(x->low));
        json_object_set_new(o, "high", json_real(x->high));
    }
    return o;
}

static json_t *abstention_json(const struct report *r, const struct prediction_set *s)
{
    struct risk_point points[N_COVERAGES];
    size_t n = abstain(r, s, points);
    json_t *list = json_array();
    for (int c = 0; n && c < N_COVERAGES; c++)
        json_array_append_new(list,
                              json_pack("{s:f, s:f, s:I, s:f, s:f}", "at_least", coverages[c],
                                        "coverage", (double)points[c].answered / (double)n,
                                        "answered", (json_int_t)points[c].answered, "risk",
                                        risk_of(&points[c]), "threshold", points[c].threshold));
    return json_pack("{s:s, s:o}", "uncertainty", uncertainty_name(r->abstain_by), "thresholds",
                     list);
}

/* The set's own entry among the sets, made on first use: sets come one after another. */
static json_t *entry_for(json_t *sets, const struct report *r, const char *name)
{
    json_t *last = json_array_get(sets, json_array_size(sets) - 1);
    if (last && !strcmp(json_string_value(json_object_get(last, "name")), name))
        return last;
    json_t *entry = json_pack("{s:s}", "name", name);
    for (size_t i = 0; i < r->settings->n_sets; i++) {
        const struct prediction_set *s = r->settings->sets[i];
        if (strcmp(s->name, name))
            continue;
        json_object_set_new(entry, "file", json_string(s->file));
        json_object_set_new(entry, "texts", json_integer((json_int_t)s->n));
        if (r->abstention)
            json_object_set_new(entry, "abstention", abstention_json(r, s));
    }
    json_object_set_new(entry, "metrics", json_object());
    json_array_append_new(sets, entry);
    return entry;
}

static json_t *detection_entry(json_t *list, const struct result *x)
{
    json_t *last = json_array_get(list, json_array_size(list) - 1);
    if (last && !strcmp(json_string_value(json_object_get(last, "set")), x->set) &&
        !strcmp(json_string_value(json_object_get(last, "against")), x->against))
        return last;
    json_t *entry = json_pack("{s:s, s:s, s:{}}", "set", x->set, "against", x->against, "metrics");
    json_array_append_new(list, entry);
    return entry;
}

json_t *report_json(const struct report *r)
{
    json_t *sets = json_array(), *detection = json_array();
    for (size_t i = 0; i < r->n_results; i++) {
        const struct result *x = &r->results[i];
        json_t *entry = x->against ? detection_entry(detection, x) : entry_for(sets, r, x->set);
        json_object_set_new(json_object_get(entry, "metrics"), x->metric, result_json(x));
    }
    json_t *all = json_pack("{s:o, s:I}", "sets", sets, "bins", (json_int_t)r->settings->bins);
    if (r->settings->n_oods)
        json_object_set_new(all, "detection", detection);
    else
        json_decref(detection);
    if (r->settings->replicates)
        json_object_set_new(all, "bootstrap",
                            json_pack("{s:I, s:I, s:f}", "replicates",
                                      (json_int_t)r->settings->replicates, "seed",
                                      (json_int_t)r->settings->seed, "level", 0.95));
    return all;
}

static void stream_abstention(const struct report *r, struct stream_writer *w)
{
    for (size_t i = 0; i < r->settings->n_sets; i++) {
        struct risk_point points[N_COVERAGES];
        const struct prediction_set *s = r->settings->sets[i];
        size_t n = abstain(r, s, points);
        for (int c = 0; n && c < N_COVERAGES; c++) {
            const double values[] = {(double)points[c].answered / (double)n, risk_of(&points[c]),
                                     points[c].threshold};
            static const char *const names[] = {"coverage", "risk", "threshold"};
            for (size_t v = 0; v < 3; v++) {
                char *metric = xasprintf("%s_at_%.2f", names[v], coverages[c]);
                measurement_write(w, &(struct measurement){.set = s->name,
                                                           .metric = metric,
                                                           .value = values[v],
                                                           .n = n,
                                                           .low = NAN,
                                                           .high = NAN});
                free(metric);
            }
        }
    }
}

void report_stream(const struct report *r, struct stream_writer *w)
{
    for (size_t i = 0; i < r->n_results; i++) {
        const struct result *x = &r->results[i];
        measurement_write(w, &(struct measurement){.set = x->set,
                                                   .metric = x->metric,
                                                   .against = x->against,
                                                   .value = x->value,
                                                   .reason = isnan(x->value) ? x->reason : NULL,
                                                   .n = x->n,
                                                   .low = x->low,
                                                   .high = x->high});
    }
    if (r->abstention)
        stream_abstention(r, w);
}
