#include "common/decide/risk_control.h"

#include "common/math/binomial.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

static int surer(const void *a, const void *b)
{
    const struct judged *x = a, *y = b;
    if (x->uncertainty != y->uncertainty)
        return x->uncertainty < y->uncertainty ? -1 : 1;
    return (x->tie > y->tie) - (x->tie < y->tie);
}

void order_by_certainty(struct judged *texts, size_t n)
{
    qsort(texts, n, sizeof *texts, surer);
}

/* What the uncertainty of the j surest texts is below, ties apart. */
static double limit_above(const struct judged *texts, size_t n, size_t j)
{
    return j < n ? texts[j].uncertainty : INFINITY;
}

/* How many texts lie strictly below the limit of the j surest. */
static size_t whole_groups(const struct judged *texts, size_t n, size_t j)
{
    if (j < n)
        while (j > 0 && texts[j - 1].uncertainty == texts[j].uncertainty)
            j--;
    return j;
}

static size_t count_wrong(const struct judged *texts, size_t from, size_t to)
{
    size_t wrong = 0;
    for (size_t i = from; i < to; i++)
        wrong += texts[i].wrong;
    return wrong;
}

/* The number of the i-th test's texts, of count tests from start to n, evenly spaced. */
static size_t size_of_test(size_t i, size_t count, size_t start, size_t n)
{
    return count < 2 ? start
                     : start + (size_t)((double)i * (double)(n - start) / (double)(count - 1));
}

/* ---- risk with confidence ---- */

static void take_limit(struct risk_limit *l, const struct judged *texts, size_t n, size_t j)
{
    l->limit = limit_above(texts, n, j);
    l->answered = whole_groups(texts, n, j);
    l->wrong = count_wrong(texts, 0, l->answered);
    l->found = l->answered > 0;
    if (!l->found)
        l->limit = -INFINITY;
}

struct risk_limit control_risk(const struct judged *texts, size_t n, const struct risk_target *t)
{
    struct risk_limit l = {.limit = -INFINITY};
    bool sequence = t->testing == TESTING_SEQUENCE;
    size_t start = t->start < n ? t->start : n;
    size_t count = t->tests < n - start + 1 ? t->tests : n - start + 1;
    l.level = sequence ? t->delta : t->delta / (double)count;
    l.tests = xcalloc(count, sizeof *l.tests);
    for (size_t i = 0, seen = 0, wrong = 0; i < count; i++) {
        size_t rank = size_of_test(i, count, start, n);
        size_t j = sequence ? rank : whole_groups(texts, n, rank);
        if (j == 0 || (!sequence && l.n_tests && j == seen))
            continue; /* the group's ties are of one limit, which is tested once */
        wrong += count_wrong(texts, seen, j);
        seen = j;
        double p = binomial_at_most(wrong, j, t->risk);
        l.tests[l.n_tests++] = (struct risk_test){j, wrong, limit_above(texts, n, rank), p};
        if (p <= l.level)
            take_limit(&l, texts, n, rank);
        else if (sequence)
            break;
    }
    return l;
}

void risk_limit_free(struct risk_limit *l)
{
    free(l->tests);
    *l = (struct risk_limit){0};
}

/* ---- expected risk ---- */

struct risk_limit control_expected_risk(const struct judged *texts, size_t n, double risk)
{
    struct risk_limit l = {.limit = -INFINITY};
    size_t wrong = 0, j = 0;
    /* The text at which one error too many would come is the first not answered. A quotient is
     * rounded once, as the risk was when it was read: 30 / 300 is 0.1. */
    for (; j < n; j++) {
        wrong += texts[j].wrong;
        if (!((double)(wrong + 1) / (double)(n + 1) <= risk))
            break;
    }
    if (1 / (double)(n + 1) <= risk)
        take_limit(&l, texts, n, j);
    return l;
}

/* ---- how many texts it takes ---- */

size_t fewest_answered(double risk, double delta)
{
    size_t n = (size_t)ceil(log(delta) / log1p(-risk));
    while (n > 1 && binomial_at_most(0, n - 1, risk) <= delta)
        n--;
    while (binomial_at_most(0, n, risk) > delta)
        n++;
    return n;
}

static bool would_pass(size_t n, double wrong_share, double risk, double delta)
{
    return binomial_at_most((size_t)ceil(wrong_share * (double)n), n, risk) <= delta;
}

size_t answered_needed(double wrong_share, double risk, double delta)
{
    static const size_t MOST = 1000000000;
    if (!(wrong_share < risk))
        return 0;
    size_t high = fewest_answered(risk, delta);
    while (high <= MOST && !would_pass(high, wrong_share, risk, delta))
        high *= 2;
    if (high > MOST)
        return 0;
    size_t low = high / 2; /* would not pass, or is below the fewest */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (would_pass(middle, wrong_share, risk, delta))
            high = middle;
        else
            low = middle;
    }
    return high;
}

size_t first_test(size_t n, double risk, double level)
{
    size_t fewest = fewest_answered(risk, level),
           robust = answered_needed(risk * 3 / 4, risk, level);
    size_t start = n / 4;
    if (robust && start > robust)
        start = robust;
    if (start < fewest)
        start = fewest;
    return start < n ? start : n;
}

size_t fewest_for_expected(double risk)
{
    size_t n = (size_t)fmax(0, ceil(1 / risk) - 2);
    while (!(1 / (double)(n + 1) <= risk))
        n++;
    return n;
}
