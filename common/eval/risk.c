#include "common/eval/risk.h"

#include "common/util/mem.h"

#include <math.h>

struct risk_point *risk_curve(const struct scored *s, size_t n, size_t *count)
{
    struct risk_point *curve = xreallocarray(NULL, n, sizeof *curve);
    size_t wrong = 0;
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        wrong += s[i].positive;
        if (i + 1 == n || s[i + 1].score != s[i].score)
            curve[(*count)++] = (struct risk_point){-s[i].score, i + 1, wrong};
    }
    return curve;
}

double risk_area(const struct scored *s, size_t n)
{
    double sum = 0;
    size_t wrong = 0;
    for (size_t from = 0, to; from < n; from = to) {
        size_t here = 0;
        for (to = from; to < n && s[to].score == s[from].score; to++)
            here += s[to].positive;
        double each = (double)here / (double)(to - from);
        for (size_t k = from + 1; k <= to; k++)
            sum += ((double)wrong + each * (double)(k - from)) / (double)k;
        wrong += here;
    }
    return n ? sum / (double)n : NAN;
}

double generalised_risk_area(const struct scored *s, size_t n)
{
    double doubled = 0;
    size_t wrong = 0;
    for (size_t from = 0, to; from < n; from = to) {
        size_t before = wrong;
        for (to = from; to < n && s[to].score == s[from].score; to++)
            wrong += s[to].positive;
        doubled += (double)(before + wrong) * (double)(to - from);
    }
    return n ? doubled / 2 / ((double)n * (double)n) : NAN;
}

double coverage_at_risk(const struct risk_point *curve, size_t count, double risk)
{
    for (size_t i = count; i-- > 0;)
        if ((double)curve[i].wrong / (double)curve[i].answered <= risk)
            return (double)curve[i].answered / (double)curve[count - 1].answered;
    return 0;
}

const struct risk_point *risk_at_coverage(const struct risk_point *curve, size_t count,
                                          double coverage)
{
    double all = (double)curve[count - 1].answered;
    for (size_t i = 0; i < count; i++)
        if ((double)curve[i].answered / all >= coverage)
            return &curve[i];
    return &curve[count - 1];
}
