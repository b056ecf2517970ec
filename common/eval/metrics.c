#include "common/eval/metrics.h"

#include "common/util/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *metric_name(enum metric m)
{
    static const char *const names[N_METRICS] = {[METRIC_ACCURACY] = "accuracy",
                                                 [METRIC_MACRO_F1] = "macro_f1",
                                                 [METRIC_NLL] = "nll",
                                                 [METRIC_ECE] = "ece",
                                                 [METRIC_MCE] = "mce",
                                                 [METRIC_BRIER] = "brier",
                                                 [METRIC_ROC_AUC] = "roc_auc",
                                                 [METRIC_ECE_EQUAL_MASS] = "ece_equal_mass",
                                                 [METRIC_ECE_CLASS_WISE] = "ece_class_wise",
                                                 [METRIC_SMECE] = "smece",
                                                 [METRIC_REFERENCE_MCE] = "reference_mce",
                                                 [METRIC_REFERENCE_BRIER] = "reference_brier"};
    return names[m];
}

enum metric metric_as(enum metric m, enum definitions d)
{
    if (d == DEFINITIONS_REFERENCE && m == METRIC_MCE)
        return METRIC_REFERENCE_MCE;
    if (d == DEFINITIONS_REFERENCE && m == METRIC_BRIER)
        return METRIC_REFERENCE_BRIER;
    return m;
}

bool metric_is_of(enum metric m, enum definitions d)
{
    bool reference = m == METRIC_REFERENCE_MCE || m == METRIC_REFERENCE_BRIER;
    return d == DEFINITIONS_REFERENCE ? metric_as(m, d) == m : !reference;
}

char *metric_definition(enum metric m, struct binning b)
{
    const char *last = b.own_bin_for_1 ? "1 in a bin of its own" : "1 in the last";
    switch (m) {
    case METRIC_ECE:
        return xasprintf("l1 norm, %zu bins of equal width, %s", b.bins, last);
    case METRIC_MCE:
        return xasprintf("max norm, %zu bins of equal width, %s", b.bins, last);
    case METRIC_ECE_EQUAL_MASS:
        return xasprintf("l1 norm, %zu bins of equal numbers of texts", b.bins);
    case METRIC_ECE_CLASS_WISE:
        return xasprintf("l1 norm, mean over classes, %zu bins of equal width, %s", b.bins, last);
    case METRIC_SMECE:
        return xstrdup("l1 norm, no bins, reflected Gaussian kernel");
    case METRIC_REFERENCE_MCE:
        return xstrdup("max norm, every class's probability, rounded to one of 11 bins");
    case METRIC_REFERENCE_BRIER:
        return xstrdup("mean over texts and classes, 0.00001 for other classes");
    default:
        return NULL;
    }
}

static double none(char *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));

static double none(char *reason, const char *format, ...)
{
    if (reason) {
        va_list args;
        va_start(args, format);
        vsnprintf(reason, REASON_SIZE, format, args);
        va_end(args);
    }
    return NAN;
}

static const double *row(const struct sample *s, size_t i)
{
    return s->probs + s->rows[i] * s->stride;
}

static size_t label(const struct sample *s, size_t i)
{
    return (size_t)s->labels[s->rows[i]];
}

size_t predicted_class(const double *probs, size_t n)
{
    size_t best = 0;
    for (size_t c = 1; c < n; c++)
        if (probs[c] > probs[best])
            best = c;
    return best;
}

static double accuracy(const struct sample *s)
{
    size_t right = 0;
    for (size_t i = 0; i < s->n; i++)
        right += predicted_class(row(s, i), s->n_classes) == label(s, i);
    return (double)right / (double)s->n;
}

/* The mean over the classes that are a label or a prediction somewhere. */
static double macro_f1(const struct sample *s)
{
    size_t *hits = xcalloc(3 * s->n_classes, sizeof *hits);
    size_t *predicted = hits + s->n_classes, *labelled = predicted + s->n_classes, present = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t p = predicted_class(row(s, i), s->n_classes), y = label(s, i);
        hits[y] += p == y;
        predicted[p]++;
        labelled[y]++;
    }
    double sum = 0;
    for (size_t c = 0; c < s->n_classes; c++) {
        if (predicted[c] + labelled[c] == 0)
            continue;
        present++;
        sum += 2 * (double)hits[c] / (double)(predicted[c] + labelled[c]);
    }
    free(hits);
    return sum / (double)present;
}

static double nll(const struct sample *s, char *reason)
{
    double sum = 0;
    size_t impossible = 0;
    for (size_t i = 0; i < s->n; i++) {
        double p = row(s, i)[label(s, i)];
        impossible += p <= 0;
        sum -= p > 0 ? log(p) : 0;
    }
    if (impossible)
        return none(reason, "infinite: %zu texts' labels have probability 0", impossible);
    return sum / (double)s->n;
}

static double brier(const struct sample *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->n; i++)
        for (size_t c = 0; c < s->n_classes; c++) {
            double d = row(s, i)[c] - (c == label(s, i));
            sum += d * d;
        }
    return sum / (double)s->n;
}

/* ---- calibration ---- */

struct scored *top_claims(const struct sample *s)
{
    struct scored *claims = xreallocarray(NULL, s->n, sizeof *claims);
    for (size_t i = 0; i < s->n; i++) {
        size_t top = predicted_class(row(s, i), s->n_classes);
        claims[i] = (struct scored){row(s, i)[top], top == label(s, i)};
    }
    return claims;
}

/* The claims that each text is of class c; claims: [n]. Returns how many are. */
static size_t class_claims(const struct sample *s, size_t c, struct scored *claims)
{
    size_t positives = 0;
    for (size_t i = 0; i < s->n; i++) {
        claims[i] = (struct scored){row(s, i)[c], label(s, i) == c};
        positives += claims[i].positive;
    }
    return positives;
}

static double top_label_error(enum metric m, const struct sample *s, struct binning b)
{
    struct scored *claims = top_claims(s);
    double error = m == METRIC_ECE              ? binned_error(claims, s->n, b)
                   : m == METRIC_MCE            ? largest_error(claims, s->n, b)
                   : m == METRIC_ECE_EQUAL_MASS ? equal_mass_error(claims, s->n, b.bins)
                                                : smooth_error(claims, s->n);
    free(claims);
    return error;
}

static double class_wise_error(const struct sample *s, struct binning b)
{
    struct scored *claims = xreallocarray(NULL, s->n, sizeof *claims);
    double sum = 0;
    for (size_t c = 0; c < s->n_classes; c++) {
        class_claims(s, c, claims);
        sum += binned_error(claims, s->n, b);
    }
    free(claims);
    return sum / (double)s->n_classes;
}

/* ---- the published code's ---- */

static const double REFERENCE_SMALL_CONSTANT = 1e-5;

/* Each probability is a claim, in the bin of the nearest tenth (of 0.05, 0.15 ... the even one). */
static double reference_mce(const struct sample *s)
{
    enum { BINS = 10 };
    double claims[BINS + 1] = {0}, sums[BINS + 1] = {0}, right[BINS + 1] = {0};
    for (size_t i = 0; i < s->n; i++)
        for (size_t c = 0; c < s->n_classes; c++) {
            double p = row(s, i)[c];
            int bin = (int)rint(fmin(p, 1) * BINS);
            claims[bin]++;
            sums[bin] += p;
            right[bin] += c == label(s, i);
        }
    double largest = 0;
    for (int b = 0; b <= BINS; b++)
        largest = fmax(largest, fabs(right[b] - sums[b]) / (claims[b] + REFERENCE_SMALL_CONSTANT));
    return largest;
}

static double reference_brier(const struct sample *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->n; i++)
        for (size_t c = 0; c < s->n_classes; c++) {
            double d = row(s, i)[c] - (c == label(s, i) ? 1 : REFERENCE_SMALL_CONSTANT);
            sum += d * d;
        }
    return sum / ((double)s->n * (double)s->n_classes);
}

/* ---- ROC AUC ---- */

static double class_auc(const struct sample *s, size_t c, struct scored *scored, char *reason)
{
    size_t positives = class_claims(s, c, scored);
    if (positives == 0)
        return none(reason, "no text has label %zu", c);
    if (positives == s->n)
        return none(reason, "all texts have label %zu", c);
    rank_scores(scored, s->n);
    return ranked_auroc(scored, s->n);
}

/* Two classes: of class 1. More: the mean over the classes of each one against the rest. */
static double roc_auc(const struct sample *s, char *reason)
{
    if (s->n_classes < 2)
        return none(reason, "there is one class only");
    struct scored *scored = xreallocarray(NULL, s->n, sizeof *scored);
    size_t first = s->n_classes == 2 ? 1 : 0;
    double sum = 0;
    for (size_t c = first; c < s->n_classes && !isnan(sum); c++)
        sum += class_auc(s, c, scored, reason);
    free(scored);
    return sum / (double)(s->n_classes - first);
}

double metric_value(enum metric m, const struct sample *s, struct binning b, char *reason)
{
    if (s->n == 0)
        return none(reason, "no text has a label");
    switch (m) { /* the compiler warns where one is missing */
    case METRIC_ACCURACY:
        return accuracy(s);
    case METRIC_MACRO_F1:
        return macro_f1(s);
    case METRIC_NLL:
        return nll(s, reason);
    case METRIC_ECE:
    case METRIC_MCE:
    case METRIC_ECE_EQUAL_MASS:
    case METRIC_SMECE:
        return top_label_error(m, s, b);
    case METRIC_ECE_CLASS_WISE:
        return class_wise_error(s, b);
    case METRIC_BRIER:
        return brier(s);
    case METRIC_ROC_AUC:
        return roc_auc(s, reason);
    case METRIC_REFERENCE_MCE:
        return reference_mce(s);
    case METRIC_REFERENCE_BRIER:
        return reference_brier(s);
    case N_METRICS:
        break;
    }
    return NAN;
}
