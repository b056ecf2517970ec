#include "common/eval/abstention.h"
#include "common/eval/report.h"
#include "common/eval/statistic.h"
#include "common/util/mem.h"
#include "common/util/terminal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- aligned tables ---- */

struct table {
    char **cells; /* [rows * columns], the heading first */
    size_t rows, columns;
    size_t text_columns; /* the first ones, aligned to the left */
};

static void put_cell(struct table *t, size_t *column, char *text)
{
    if (*column == 0) {
        t->rows++;
        t->cells = xreallocarray(t->cells, t->rows * t->columns, sizeof *t->cells);
    }
    t->cells[(t->rows - 1) * t->columns + *column] = text;
    *column = (*column + 1) % t->columns;
}

static int columns_of(const char *text)
{
    return (int)text_columns(text, strlen(text));
}

static void print_and_free(struct table *t, FILE *out)
{
    int *width = xcalloc(t->columns, sizeof *width);
    for (size_t i = 0; i < t->rows * t->columns; i++) {
        int n = columns_of(t->cells[i]);
        if (n > width[i % t->columns])
            width[i % t->columns] = n;
    }
    for (size_t i = 0; i < t->rows * t->columns; i++) {
        size_t c = i % t->columns;
        int pad = width[c] - columns_of(t->cells[i]);
        fprintf(out, "%s%*s%s%*s%s", c ? "  " : "", c < t->text_columns ? 0 : pad, "", t->cells[i],
                c < t->text_columns ? pad : 0, "", c + 1 == t->columns ? "\n" : "");
        free(t->cells[i]);
    }
    free(t->cells);
    free(width);
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
    struct buf text = {0};
    buf_addf(&text, "%.4f", x->value);
    if (x->seeds)
        buf_addf(&text, " ± %.4f", x->deviation);
    if (!isnan(x->low))
        buf_addf(&text, " [%.4f, %.4f]", x->low, x->high);
    return buf_str(&text);
}

/* One row per set; metrics without their prefix as headings. */
static void print_sets(const struct report *r, const char *prefix, const char *const *metrics,
                       size_t n_metrics, FILE *out)
{
    struct table t = {.columns = 2 + n_metrics, .text_columns = 1};
    size_t column = 0;
    put_cell(&t, &column, xstrdup("set"));
    put_cell(&t, &column, xstrdup("n"));
    for (size_t m = 0; m < n_metrics; m++)
        put_cell(&t, &column, xstrdup(metrics[m]));
    for (size_t i = 0; i < r->n_results; i++) {
        const struct result *x = &r->results[i];
        char *first = xasprintf("%s%s", prefix, metrics[0]);
        bool begins = !x->against && !strcmp(x->metric, first);
        free(first);
        if (!begins)
            continue;
        put_cell(&t, &column, xstrdup(x->set));
        put_cell(&t, &column, xasprintf("%zu", x->n));
        for (size_t m = 0; m < n_metrics; m++) {
            char *name = xasprintf("%s%s", prefix, metrics[m]);
            put_cell(&t, &column, cell(find(r, x->set, NULL, name)));
            free(name);
        }
    }
    print_and_free(&t, out);
}

static void print_by_uncertainty(const struct report *r, const char *title, const char *prefix,
                                 const char *const *kinds, size_t n_kinds, FILE *out)
{
    fprintf(out, "\n%s\n", title);
    print_sets(r, prefix, kinds, n_kinds, out);
}

/* A row for each uncertainty of each comparison. */
static void print_detection(const struct report *r, FILE *out)
{
    struct table t = {.columns = 4 + N_DETECTIONS, .text_columns = 3};
    size_t column = 0;
    const char *headings[] = {"set", "against", "uncertainty", "n"};
    for (size_t i = 0; i < 4; i++)
        put_cell(&t, &column, xstrdup(headings[i]));
    for (int d = 0; d < N_DETECTIONS; d++)
        put_cell(&t, &column, xstrdup(detection_name(d)));
    const char *first = detection_name(0);
    for (size_t i = 0; i < r->n_results; i++) {
        const struct result *x = &r->results[i];
        if (!x->against || x->difference || strncmp(x->metric, first, strlen(first)))
            continue;
        const char *kind = x->metric + strlen(first) + 1;
        put_cell(&t, &column, xstrdup(x->set));
        put_cell(&t, &column, xstrdup(x->against));
        put_cell(&t, &column, xstrdup(kind));
        put_cell(&t, &column, xasprintf("%zu", x->n));
        for (int d = 0; d < N_DETECTIONS; d++) {
            char *name = xasprintf("%s_%s", detection_name(d), kind);
            put_cell(&t, &column, cell(find(r, x->set, x->against, name)));
            free(name);
        }
    }
    print_and_free(&t, out);
}

/* Bins and norms, a line for each metric that has them. */
static void print_definitions(const struct report *r, FILE *out)
{
    for (int m = 0; m < N_METRICS; m++) {
        if (!metric_is_of(m, r->settings->definitions))
            continue;
        char *definition = metric_definition(m, r->settings->binning);
        if (definition)
            fprintf(out, "%s: %s\n", metric_name(m), definition);
        free(definition);
    }
}

static void print_levels(const struct report *r, enum selection selection,
                         const struct levels *levels, const char *const *kinds, size_t n_kinds,
                         FILE *out)
{
    for (size_t i = 0; i < levels->n; i++) {
        char *prefix = xasprintf("%s_%g_", selection_name(selection), levels->values[i]);
        char *title =
            selection == RISK_AT_COVERAGE
                ? xasprintf("risk at a coverage of %g or more, by uncertainty", levels->values[i])
                : xasprintf("coverage at a risk of %g or less, by uncertainty", levels->values[i]);
        print_by_uncertainty(r, title, prefix, kinds, n_kinds, out);
        free(prefix);
        free(title);
    }
}

static void print_differences(const struct report *r, FILE *out)
{
    struct table t = {.columns = 6, .text_columns = 2};
    size_t column = 0;
    const char *headings[] = {"set", "metric", "n", "difference", "interval", "p"};
    for (size_t i = 0; i < t.columns; i++)
        put_cell(&t, &column, xstrdup(headings[i]));
    for (size_t i = 0; i < r->n_results; i++) {
        const struct result *x = &r->results[i];
        if (!x->difference)
            continue;
        bool none = isnan(x->value), no_interval = none || isnan(x->low);
        put_cell(&t, &column, xstrdup(x->set));
        put_cell(&t, &column, xstrdup(x->metric + strlen("difference_")));
        put_cell(&t, &column, xasprintf("%zu", x->n));
        put_cell(&t, &column, none ? xstrdup("-") : xasprintf("%.4f", x->value));
        put_cell(&t, &column,
                 no_interval ? xstrdup("-") : xasprintf("[%.4f, %.4f]", x->low, x->high));
        put_cell(&t, &column, isnan(x->p) ? xstrdup("-") : xasprintf("%.4f", x->p));
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

static void print_abstention(const struct report *r, FILE *out)
{
    struct table t = {.columns = 6, .text_columns = 1};
    size_t column = 0;
    const char *headings[] = {"set", "at least", "coverage", "answered", "risk"};
    for (size_t i = 0; i < 5; i++)
        put_cell(&t, &column, xstrdup(headings[i]));
    put_cell(&t, &column, xasprintf("%s at most", uncertainty_name(r->abstain_by)));
    for (size_t i = 0; i < r->settings->n_sets; i++) {
        struct risk_point points[N_COVERAGES];
        const struct prediction_set *s = r->settings->sets[i];
        size_t n = abstain(s, r->abstain_by, points);
        for (int c = 0; n && c < N_COVERAGES; c++) {
            put_cell(&t, &column, xstrdup(s->name));
            put_cell(&t, &column, xasprintf("%.2f", abstention_coverages[c]));
            put_cell(&t, &column, xasprintf("%.4f", (double)points[c].answered / (double)n));
            put_cell(&t, &column, xasprintf("%zu", points[c].answered));
            put_cell(&t, &column, xasprintf("%.4f", risk_of(&points[c])));
            put_cell(&t, &column, xasprintf("%.6g", points[c].threshold));
        }
    }
    print_and_free(&t, out);
}

/* ---- the whole ---- */

/* Kinds in use, in order; returns how many. */
static size_t kinds_in_use(const struct report *r, const char **kinds)
{
    size_t n = 0;
    for (int k = 0; k < N_UNCERTAINTIES; k++) {
        bool used = k < N_PARTS;
        for (size_t i = 0; i < r->settings->n_sets; i++)
            used = used || r->settings->sets[i]->uncertainty[k];
        if (used)
            kinds[n++] = uncertainty_name(k);
    }
    return n;
}

static void print_classification(const struct report *r, FILE *out)
{
    const char *metrics[METRIC_SMECE + 1];
    for (int m = 0; m <= METRIC_SMECE; m++)
        metrics[m] = metric_name(metric_as(m, r->settings->definitions));
    print_sets(r, "", metrics, METRIC_ROC_AUC + 1, out);
    fputs("\ncalibration, by other bins and by none\n", out);
    print_sets(r, "", metrics + METRIC_ROC_AUC + 1, METRIC_SMECE - METRIC_ROC_AUC, out);
    print_definitions(r, out);
}

void report_table(const struct report *r, FILE *out)
{
    const struct evaluation_settings *e = r->settings;
    const char *kinds[N_UNCERTAINTIES];
    size_t n = kinds_in_use(r, kinds);
    print_classification(r, out);
    print_by_uncertainty(r, "mean uncertainty (nats)", "mean_", kinds, N_PARTS, out);
    if (n > N_PARTS)
        print_by_uncertainty(r, "mean uncertainty of Dirichlet distributions (vacuity: no unit)",
                             "mean_", kinds + N_PARTS, n - N_PARTS, out);
    print_by_uncertainty(r, "area under the risk-coverage curve, by uncertainty", "aurc_", kinds, n,
                         out);
    print_by_uncertainty(r, "area under the generalised risk-coverage curve, by uncertainty",
                         "augrc_", kinds, n, out);
    print_by_uncertainty(r, "AUROC of errors, by uncertainty", "error_auroc_", kinds, n, out);
    print_levels(r, RISK_AT_COVERAGE, &e->at_coverages, kinds, n, out);
    print_levels(r, COVERAGE_AT_RISK, &e->at_risks, kinds, n, out);
    if (e->n_oods) {
        fputs("\nout-of-distribution detection by uncertainty\n", out);
        print_detection(r, out);
    }
    if (r->abstention) {
        fputs("\nanswering only the more certain texts\n", out);
        print_abstention(r, out);
    }
    if (e->baseline) {
        fprintf(out, "\ndifference from %s, on the same texts\n", e->baseline);
        print_differences(r, out);
    }
    print_reasons(r, out);
}
