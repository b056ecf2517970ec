#include "common/eval/figures.h"

#include "common/eval/gnuplot.h"
#include "common/eval/risk.h"
#include "common/eval/statistic.h"
#include "common/util/options.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Okabe and Ito's colours, told apart by all kinds of colour vision. */
static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                      "#E69F00", "#56B4E9", "#000000"};
enum { N_COLOURS = sizeof colours / sizeof *colours };
#define GREY "#808080"
#define PALE "#9FC5E8"

enum { PER_ROW = 3, TITLE_LENGTH = 26, LABEL_LENGTH = 15 };

static const char common_style[] = "set tics nomirror out scale 0.6\n"
                                   "set border 3 lc rgb '#404040'\n"
                                   "set style fill solid 1 noborder\n"
                                   "unset key\n";

/* ---- shared pieces ---- */

/* The plot area of the next panel, in points from the figure's upper left corner. */
static void place(struct figure *f, int left, int top, int width, int height)
{
    buf_addf(&f->draw,
             "set lmargin at screen %.5f\nset rmargin at screen %.5f\n"
             "set tmargin at screen %.5f\nset bmargin at screen %.5f\n",
             (double)left / f->width, (double)(left + width) / f->width,
             1 - (double)top / f->height, 1 - (double)(top + height) / f->height);
}

/* A name cut to so many bytes, at a character's boundary. */
static char *short_name(const char *name, size_t length)
{
    if (strlen(name) <= length)
        return xstrdup(name);
    size_t n = length - 1;
    while (n > 0 && ((unsigned char)name[n] & 0xC0) == 0x80)
        n--;
    return xasprintf("%.*s…", (int)n, name);
}

/* Text over the panel's upper left corner; number: gnuplot's tag for it. */
static void heading(struct figure *f, int number, const char *text, double above, bool title)
{
    buf_addf(&f->draw, "set label %d ", number);
    gnuplot_quote(&f->draw, text);
    buf_addf(&f->draw, " at graph 0, graph 1 offset 0, character %.2f left%s\n", above,
             title ? " font title_font" : "");
}

/* The y axis's title, so many points to the left of a panel that begins there: gnuplot's own would
 * move with the width of the tics' numbers. */
static void y_title(struct figure *f, int left, int distance, const char *text)
{
    buf_addf(&f->draw, "set label 9 '%s' at screen %.5f, graph 0.5 center rotate\n", text,
             (double)(left - distance) / f->width);
}

/* "NAME VALUE" of a result, or an empty string. */
static char *annotation(const struct result *results, size_t n, const char *set,
                        const char *against, const char *metric, const char *shown)
{
    for (size_t i = 0; i < n; i++) {
        const struct result *r = &results[i];
        bool same = !strcmp(r->set, set) && !strcmp(r->metric, metric) &&
                    (against ? r->against && !strcmp(r->against, against) : !r->against);
        if (same && !isnan(r->value))
            return xasprintf("%s %.3f", shown, r->value);
    }
    return xstrdup("");
}

/* 1, 2 or 5 times a power of ten: the distance of at most about so many tics over a range. */
static double tic_step(double range, int tics)
{
    double rough = range / tics, power = pow(10, floor(log10(rough)));
    double digit = rough / power;
    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

/* A range from 0 for the axis 'x' or 'y'; rounded: up to a tic. */
static void axis_from_zero(struct figure *f, char axis, double max, int tics, bool rounded)
{
    double step = tic_step(max, tics);
    if (rounded)
        max = step * ceil(max / step * (1 - 1e-9));
    buf_addf(&f->draw, "set %crange [0:%.9g]\nset %ctics %.3g format '%%g'\n", axis, max, axis,
             step);
}

/* A set's name as part of a file's. */
static char *file_name(const char *prefix, const char *set)
{
    char *name = xasprintf("%s-%s", prefix, set);
    for (char *c = name; *c; c++)
        if ((unsigned char)*c < 0x80 && !isalnum((unsigned char)*c) && !strchr("-_.", *c))
            *c = '_';
    return name;
}

void check_figure_names(const struct evaluation_settings *e)
{
    for (size_t i = 0; i < e->n_sets; i++)
        for (size_t j = 0; j < i; j++) {
            char *a = file_name("uncertainty", e->sets[j]->name);
            char *b = file_name("uncertainty", e->sets[i]->name);
            if (!strcmp(a, b))
                usage_error(
                    "the figures of '%s' and '%s' would both be %s.svg; name the sets apart",
                    e->sets[j]->name, e->sets[i]->name, a);
            free(a);
            free(b);
        }
}

static int rows_of(size_t panels)
{
    return (int)((panels + PER_ROW - 1) / PER_ROW);
}

static int columns_of(size_t panels)
{
    return panels < PER_ROW ? (int)panels : PER_ROW;
}

/* ---- reliability ---- */

/* Of the texts that have a label, [*n]; the caller frees them. */
static struct bin *bins_of(const struct prediction_set *s, struct binning binning, size_t *n)
{
    size_t *rows = labelled_rows(s, n);
    struct sample sample = {s->probs, s->n_classes, s->n_classes, s->labels, rows, *n};
    struct scored *claims = top_claims(&sample);
    struct bin *bins = calibration_bins(claims, *n, binning);
    free(claims);
    free(rows);
    return bins;
}

/* The share of a set's texts, in percent, that its fullest bin has, of all sets. */
static double fullest_bin(const struct evaluation_settings *e)
{
    double highest = 0;
    for (size_t i = 0; i < e->n_sets; i++) {
        size_t n;
        struct bin *bins = bins_of(e->sets[i], e->binning, &n);
        for (size_t k = 0; k < bin_count(e->binning); k++)
            highest = fmax(highest, 100 * (double)bins[k].count / (double)n);
        free(bins);
    }
    return highest > 0 ? highest : 1;
}

/* fullest: the highest bar of the texts' shares, of all panels. */
static void reliability_panel(struct figure *f, const struct evaluation_settings *e, size_t number,
                              const char *ece, double fullest)
{
    const struct prediction_set *s = e->sets[number];
    size_t n, asked = e->binning.bins;
    struct bin *bins = bins_of(s, e->binning, &n);
    buf_addf(&f->data, "$bins%zu << EOD\n", number);
    for (size_t k = 0; k < bin_count(e->binning); k++) {
        if (bins[k].count) /* a bin of confidence 1 alone joins the last bar's place */
            buf_addf(&f->data, "%.6g %.6g %.6g %.6g %.6g\n",
                     k < asked ? (bins[k].low + bins[k].high) / 2 : 1, bins[k].accuracy,
                     bins[k].confidence, 100 * (double)bins[k].count / (double)n,
                     (k < asked ? 0.94 : 0.1) / (double)asked);
    }
    buf_addf(&f->data, "EOD\n");
    free(bins);

    int left = 66 + (int)(number % PER_ROW) * 300, top = 50 + (int)(number / PER_ROW) * 400;
    double from = floor(10 / (double)s->n_classes) / 10; /* the top class has at least 1/C */
    char *name = short_name(s->name, TITLE_LENGTH);
    char *counts = xasprintf("%s  (n = %zu)", ece, n);
    place(f, left, top, 220, 220);
    buf_addf(&f->draw,
             "set xrange [%.3g:1.02]\nset yrange [0:1.02]\nset xtics %.3g format ''\n"
             "set ytics 0.2 format '%%.1f'\nunset xlabel\n",
             from, from >= 0.5 ? 0.1 : 0.2);
    y_title(f, left, 50, "accuracy");
    heading(f, 1, name, 1.9, true);
    heading(f, 2, counts, 0.7, false);
    buf_addf(&f->draw,
             "plot $bins%zu using 1:2:5 with boxes lc rgb '" PALE "', "
             "[%.3g:1] x with lines lc rgb '" GREY "' dt 2 lw 1.2, "
             "$bins%zu using 3:2 with linespoints lc rgb '#0072B2' lw 1.8 pt 7 ps 0.6\n",
             number, from, number);
    buf_addf(&f->draw, "unset label\n");
    place(f, left, top + 234, 220, 60);
    axis_from_zero(f, 'y', fullest, 2, true);
    y_title(f, left, 50, "texts (%)");
    buf_addf(&f->draw,
             "set xtics %.3g format '%%.1f'\nset xlabel 'confidence' offset 0,0.4\n"
             "plot $bins%zu using 1:4:5 with boxes lc rgb '" GREY "'\nunset label\n",
             from >= 0.5 ? 0.1 : 0.2, number);
    free(counts);
    free(name);
}

void draw_reliability(const char *folder, const struct evaluation_settings *e,
                      const struct result *results, size_t n_results)
{
    struct figure f = {.width = 300 * columns_of(e->n_sets) + 10,
                       .height = 400 * rows_of(e->n_sets)};
    double fullest = fullest_bin(e);
    buf_addf(&f.draw, "%sset multiplot\n", common_style);
    for (size_t i = 0; i < e->n_sets; i++) {
        char *ece = annotation(results, n_results, e->sets[i]->name, NULL, "ece", "ECE");
        reliability_panel(&f, e, i, ece, fullest);
        free(ece);
    }
    buf_addf(&f.draw, "unset multiplot\n");
    gnuplot_draw(folder, "reliability", &f);
}

/* ---- uncertainty ---- */

enum { HISTOGRAM_BINS = 40 };

/* How many percent of the texts are in each bin from 0 to max. */
static void fill_bars(const struct prediction_set *s, enum uncertainty_kind kind, double max,
                      double bars[HISTOGRAM_BINS])
{
    memset(bars, 0, HISTOGRAM_BINS * sizeof *bars);
    for (size_t i = 0; i < s->n; i++) {
        double at = fmax(s->uncertainty[kind][i], 0) / max * HISTOGRAM_BINS;
        bars[at < HISTOGRAM_BINS ? (size_t)at : HISTOGRAM_BINS - 1] += 100 / (double)s->n;
    }
}

static void add_histogram(struct figure *f, const char *name, const double *bars, double max)
{
    buf_addf(&f->data, "$%s << EOD\n", name);
    for (size_t k = 0; k < HISTOGRAM_BINS; k++)
        buf_addf(&f->data, "%.6g %.6g\n", ((double)k + 0.5) * max / HISTOGRAM_BINS, bars[k]);
    buf_addf(&f->data, "EOD\n");
}

static double highest(const double *values, size_t n, double at_least)
{
    for (size_t i = 0; values && i < n; i++)
        at_least = fmax(at_least, values[i]);
    return at_least;
}

/* The data sets of one figure: the set's own, then those compared with it. */
struct data_sets {
    const struct prediction_set **list;
    size_t count;
};

static struct data_sets data_sets_of(const struct evaluation_settings *e,
                                     const struct prediction_set *s)
{
    struct data_sets d = {xcalloc(e->n_oods + 1, sizeof *d.list), 1};
    d.list[0] = s;
    for (size_t i = 0; i < e->n_oods; i++)
        if (e->oods[i].of == s)
            d.list[d.count++] = e->oods[i].set;
    return d;
}

/* Total and aleatoric uncertainty share their scales, for one is part of the other. */
static bool shares_scale(enum uncertainty_kind a, enum uncertainty_kind b)
{
    return a == b || (a != EPISTEMIC && b != EPISTEMIC);
}

/* Of all figures, for they are compared. */
static double scale_of(const struct evaluation_settings *e, enum uncertainty_kind kind)
{
    double max = 0;
    for (size_t i = 0; i < e->n_sets + e->n_oods; i++) {
        const struct prediction_set *s = i < e->n_sets ? e->sets[i] : e->oods[i - e->n_sets].set;
        for (int k = 0; k < N_PARTS; k++)
            if (shares_scale(kind, k))
                max = highest(s->uncertainty[k], s->n, max);
    }
    return max > 0 ? max : 1;
}

/* Of one figure: the highest bar of its histograms that share a scale, which ends at max. */
static double highest_bar(const struct data_sets *d, enum uncertainty_kind kind, double max)
{
    double top = 0, bars[HISTOGRAM_BINS];
    for (size_t i = 0; i < d->count; i++)
        for (int k = 0; k < N_PARTS; k++) {
            if (!shares_scale(kind, k) || !d->list[i]->uncertainty[k])
                continue;
            fill_bars(d->list[i], k, max, bars);
            top = highest(bars, HISTOGRAM_BINS, top);
        }
    return top;
}

/* max, top: where the axes end. */
static void histogram_panel(struct figure *f, const struct prediction_set *s,
                            enum uncertainty_kind kind, double max, double top, int column, int row,
                            bool last_row, const char *text)
{
    char *data = xasprintf("h%d_%d", column, row);
    double bars[HISTOGRAM_BINS];
    fill_bars(s, kind, max, bars);
    add_histogram(f, data, bars, max);
    int left = 62 + column * 260;
    place(f, left, 80 + row * 148, 200, 92);
    if (row == 0) {
        char *title = xasprintf("%s uncertainty", uncertainty_name(kind));
        *title = (char)toupper((unsigned char)*title);
        heading(f, 1, title, 1.9, false);
        free(title);
    }
    heading(f, 2, text, 0.7, false);
    axis_from_zero(f, 'x', max, 4, false);
    axis_from_zero(f, 'y', top, 3, true);
    if (column == 0)
        y_title(f, left, 48, "texts (%)");
    buf_addf(&f->draw,
             "set xlabel '%s' offset 0,0.4\n"
             "plot $%s using 1:2:(%.9g) with boxes lc rgb '%s'\nunset label\n",
             last_row ? "nats" : "", data, 0.92 * max / HISTOGRAM_BINS, colours[row == 0 ? 0 : 1]);
    free(data);
}

static void uncertainty_figure(const char *folder, const struct evaluation_settings *e,
                               const struct prediction_set *s, const struct result *results,
                               size_t n_results)
{
    struct data_sets d = data_sets_of(e, s);
    int kinds = 0, column = 0;
    for (int k = 0; k < N_PARTS; k++)
        kinds += s->uncertainty[k] != NULL;
    struct figure f = {.width = 260 * kinds + 20, .height = 148 * (int)d.count + 74};
    buf_addf(&f.draw, "%sset multiplot\nset label 3 ", common_style);
    gnuplot_quote(&f.draw, s->name);
    buf_addf(&f.draw, " at screen %.5f, screen %.5f left font title_font\n", 62.0 / f.width,
             1 - 20.0 / f.height);
    for (int k = 0; k < N_PARTS; k++) {
        if (!s->uncertainty[k])
            continue;
        double max = scale_of(e, k), top = highest_bar(&d, k, max);
        char *metric = xasprintf("auroc_%s", uncertainty_name(k));
        for (size_t i = 0; i < d.count; i++) {
            if (!d.list[i]->uncertainty[k])
                continue;
            char *auroc = i == 0 ? xstrdup("")
                                 : annotation(results, n_results, s->name, d.list[i]->name, metric,
                                              ", AUROC");
            char *name =
                i == 0 ? xstrdup("in distribution") : short_name(d.list[i]->name, LABEL_LENGTH);
            char *text = xasprintf("%s, n = %zu%s", name, d.list[i]->n, auroc);
            histogram_panel(&f, d.list[i], k, max, top, column, (int)i, i + 1 == d.count, text);
            free(text);
            free(name);
            free(auroc);
        }
        free(metric);
        column++;
    }
    buf_addf(&f.draw, "unset multiplot\n");
    char *name = file_name("uncertainty", s->name);
    if (kinds)
        gnuplot_draw(folder, name, &f);
    free(name);
    free(d.list);
}

void draw_uncertainty(const char *folder, const struct evaluation_settings *e,
                      const struct result *results, size_t n_results)
{
    for (size_t i = 0; i < e->n_sets; i++)
        uncertainty_figure(folder, e, e->sets[i], results, n_results);
}

/* ---- risk and coverage ---- */

enum { CURVE_POINTS = 400 };

/* False when the set has nothing to draw. */
static bool add_risk_curve(struct figure *f, const struct prediction_set *s,
                           enum uncertainty_kind kind, size_t number)
{
    size_t n, count;
    struct scored *scored = risk_scores(s, kind, &n);
    if (!scored)
        return false;
    struct risk_point *curve = risk_curve(scored, n, &count);
    size_t step = count / CURVE_POINTS + 1;
    buf_addf(&f->data, "$risk%d_%zu << EOD\n", (int)kind, number);
    for (size_t i = (count - 1) % step; i < count; i += step)
        buf_addf(&f->data, "%.6g %.6g\n", (double)curve[i].answered / (double)n,
                 (double)curve[i].wrong / (double)curve[i].answered);
    buf_addf(&f->data, "EOD\n");
    free(curve);
    free(scored);
    return true;
}

/* The highest risk from a coverage of 0.1 on, of all curves: the first few texts' would leave the
 * rest no room. */
static double highest_shown_risk(const struct evaluation_settings *e)
{
    double max = 0;
    for (size_t i = 0; i < e->n_sets; i++)
        for (int k = 0; k < N_PARTS; k++) {
            size_t n, count = 0;
            struct scored *scored = risk_scores(e->sets[i], k, &n);
            struct risk_point *curve = scored ? risk_curve(scored, n, &count) : NULL;
            for (size_t j = 0; j < count; j++)
                if ((double)curve[j].answered >= 0.1 * (double)n)
                    max = fmax(max, (double)curve[j].wrong / (double)curve[j].answered);
            free(curve);
            free(scored);
        }
    return max > 0 ? max : 0.1;
}

static bool any_has(const struct evaluation_settings *e, enum uncertainty_kind kind)
{
    for (size_t i = 0; i < e->n_sets; i++)
        if (e->sets[i]->uncertainty[kind])
            return true;
    return false;
}

static void risk_panel(struct figure *f, const struct evaluation_settings *e,
                       enum uncertainty_kind kind, int column, double highest_risk,
                       const struct result *results, size_t n_results)
{
    char *title = xasprintf("By %s uncertainty", uncertainty_name(kind));
    char *metric = xasprintf("aurc_%s", uncertainty_name(kind));
    place(f, 66 + column * 310, 40, 230, 210);
    heading(f, 1, title, 0.8, true);
    axis_from_zero(f, 'y', highest_risk, 6, true);
    if (column == 0)
        y_title(f, 66, 52, "risk (share of answers wrong)");
    buf_addf(&f->draw,
             "set xrange [0:1]\nset xtics 0.2 format '%%.1f'\n"
             "set xlabel 'coverage (share of texts answered)'\n"
             "set key at graph -0.05, graph -0.31 left top Left reverse samplen 2 spacing 1.1\n"
             "plot NaN notitle");
    for (size_t i = 0; i < e->n_sets; i++) {
        if (!add_risk_curve(f, e->sets[i], kind, i))
            continue;
        char *area = annotation(results, n_results, e->sets[i]->name, NULL, metric, "area");
        char *name = short_name(e->sets[i]->name, TITLE_LENGTH);
        char *text = xasprintf("%s, %s", name, area);
        buf_addf(
            &f->draw,
            ", $risk%d_%zu using 1:2 with linespoints lc rgb '%s' dt %zu lw 1.8 pt 7 ps 0.2 title ",
            (int)kind, i, colours[i % N_COLOURS], i / N_COLOURS + 1);
        gnuplot_quote(&f->draw, text);
        free(text);
        free(name);
        free(area);
    }
    buf_addf(&f->draw, "\nunset label\n");
    free(metric);
    free(title);
}

void draw_risk_coverage(const char *folder, const struct evaluation_settings *e,
                        const struct result *results, size_t n_results)
{
    int kinds = 0, column = 0;
    for (int k = 0; k < N_PARTS; k++)
        kinds += any_has(e, k);
    if (kinds == 0)
        return;
    struct figure f = {.width = 310 * kinds + 20, .height = 330 + 20 * (int)e->n_sets};
    double highest_risk = highest_shown_risk(e);
    buf_addf(&f.draw, "%sset multiplot\n", common_style);
    for (int k = 0; k < N_PARTS; k++)
        if (any_has(e, k))
            risk_panel(&f, e, k, column++, highest_risk, results, n_results);
    buf_addf(&f.draw, "unset multiplot\n");
    gnuplot_draw(folder, "risk-coverage", &f);
}

/* ---- training ---- */

enum { TRAINING_POINTS = 200 };

/* Groups of steps: step, mean loss, lowest, highest, learning rate. */
static void add_training(struct figure *f, const struct training_log *log, size_t number)
{
    size_t group = (log->n + TRAINING_POINTS - 1) / TRAINING_POINTS;
    buf_addf(&f->data, "$log%zu << EOD\n", number);
    for (size_t from = 0; from < log->n; from += group) {
        double sum = 0, low = INFINITY, high = -INFINITY;
        size_t n = 0, to = from + group < log->n ? from + group : log->n;
        for (size_t i = from; i < to; i++) {
            if (!isfinite(log->loss[i]))
                continue;
            n++;
            sum += log->loss[i];
            low = fmin(low, log->loss[i]);
            high = fmax(high, log->loss[i]);
        }
        if (n)
            buf_addf(&f->data, "%.9g %.9g %.9g %.9g %.9g\n", log->step[to - 1], sum / (double)n,
                     low, high, log->rate[to - 1]);
        else
            buf_addf(&f->data, "\n"); /* a gap in the lines */
    }
    buf_addf(&f->data, "EOD\n");
}

/* Steps and their validation loss; whether there are any. */
static bool add_validation(struct figure *f, const struct training_log *log, size_t number)
{
    size_t n = 0;
    buf_addf(&f->data, "$validation%zu << EOD\n", number);
    for (size_t i = 0; i < log->n; i++)
        if (isfinite(log->validation[i])) {
            buf_addf(&f->data, "%.9g %.9g\n", log->step[i], log->validation[i]);
            n++;
        }
    buf_addf(&f->data, "EOD\n");
    return n > 0;
}

static void training_panel(struct figure *f, const struct training_log *log, size_t number)
{
    int left = 76 + (int)(number % PER_ROW) * 340, top = 40 + (int)(number / PER_ROW) * 380;
    double highest_rate = -INFINITY;
    for (size_t i = 0; i < log->n; i++)
        highest_rate = fmax(highest_rate, log->rate[i]);
    bool rates = highest_rate >= 0;
    char *name = short_name(log->name, TITLE_LENGTH);
    add_training(f, log, number);
    bool validated = add_validation(f, log, number);
    place(f, left, top, 240, rates ? 200 : 270);
    heading(f, 1, name, 0.8, true);
    axis_from_zero(f, 'x', fmax(log->step[log->n - 1], 1), 4, false);
    y_title(f, left, 58, "loss");
    if (validated)
        buf_addf(&f->draw,
                 "set label 2 'training' at graph 0.97, graph 0.95 right tc rgb '%s'\n"
                 "set label 3 'validation' at graph 0.97, graph 0.87 right tc rgb '%s'\n",
                 colours[0], colours[1]);
    buf_addf(&f->draw,
             "set yrange [*:*]\nset ytics autofreq\nset ytics format '%%g'\n"
             "set xtics format '%s'\nset xlabel '%s' offset 0,0.4\n"
             "plot $log%zu using 1:3:4 with filledcurves lc rgb '" PALE "', "
             "$log%zu using 1:2 with lines lc rgb '%s' lw 1.8",
             rates ? "" : "%g", rates ? "" : "step", number, number, colours[0]);
    if (validated)
        buf_addf(&f->draw,
                 ", $validation%zu using 1:2 with linespoints lc rgb '%s' lw 1.8 pt 7 ps 0.5",
                 number, colours[1]);
    buf_addf(&f->draw, "\nunset label\n");
    if (rates) {
        place(f, left, top + 216, 240, 56);
        axis_from_zero(f, 'y', highest_rate > 0 ? 1.1 * highest_rate : 1, 2, false);
        y_title(f, left, 58, "rate");
        buf_addf(&f->draw,
                 "set xtics format '%%g'\n"
                 "set xlabel 'step' offset 0,0.4\n"
                 "plot $log%zu using 1:5 with lines lc rgb '" GREY "' lw 1.5\nunset label\n",
                 number);
    }
    free(name);
}

void draw_training(const char *folder, const struct training_log *logs, size_t n)
{
    struct figure f = {.width = 340 * columns_of(n) + 10, .height = 380 * rows_of(n)};
    buf_addf(&f.draw, "%sset multiplot\n", common_style);
    for (size_t i = 0; i < n; i++)
        training_panel(&f, &logs[i], i);
    buf_addf(&f.draw, "unset multiplot\n");
    gnuplot_draw(folder, "training", &f);
}
