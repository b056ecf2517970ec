#include "common/uq/torch_lbfgs.h"

#include "common/util/mem.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ITERATIONS = 100, MAX_EVALUATIONS = 125, HISTORY = 100 };

static const double TOLERANCE_GRADIENT = 1e-7, TOLERANCE_CHANGE = 1e-9;
static const double LEAST_CURVATURE = 1e-10;
/* Of the Wolfe conditions: sufficient decrease, and flatness. */
static const double DECREASE = 1e-4, FLATNESS = 0.9;

/* ---- sums in PyTorch's order ---- */

/* Rows of width numbers, added up into the first row's place in four accumulators as
 * aten/src/ATen/native/cpu/SumKernel.cpp does it, for less than 64 rows: row r goes to accumulator
 * r % 4 while there are four rows left, the others to the first. */
static void add_rows(const float *x, size_t rows, size_t width, float *out)
{
    for (size_t c = 0; c < width; c++) {
        float sums[4] = {0};
        size_t r = 0;
        for (; r + 4 <= rows; r += 4)
            for (size_t a = 0; a < 4; a++)
                sums[a] += x[(r + a) * width + c];
        for (; r < rows; r++)
            sums[0] += x[r * width + c];
        out[c] = sums[0] + sums[1] + sums[2] + sums[3];
    }
}

float torch_sum(const float *x, size_t n)
{
    enum { LANES = 8 };
    float lanes[LANES], sum = 0;
    if (n < LANES) {
        add_rows(x, n, 1, &sum);
        return sum;
    }
    add_rows(x, n / LANES, LANES, lanes);
    for (size_t i = n - n % LANES; i < n; i++)
        sum += x[i];
    for (size_t i = 0; i < LANES; i++)
        sum += lanes[i];
    return sum;
}

/* MKL's order: four accumulators of four lanes. What a block of 16 leaves over goes to the first
 * of them, eight at a time, four at a time, one at a time. */
static float dot(const float *x, const float *y, size_t n)
{
    float sums[4][4] = {{0}};
    size_t i = 0;
    for (size_t width = 16; width >= 4; width /= 2)
        for (; i + width <= n; i += width)
            for (size_t j = 0; j < width; j++)
                sums[j / 4][j % 4] += x[i + j] * y[i + j];
    for (; i < n; i++)
        sums[0][0] += x[i] * y[i];
    float lanes[4];
    for (size_t j = 0; j < 4; j++)
        lanes[j] = sums[0][j] + sums[1][j] + sums[2][j] + sums[3][j];
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

static float largest(const float *x, size_t n)
{
    float max = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > max || isnan(x[i]))
            max = fabsf(x[i]);
    return max;
}

/* x + factor y, rounded once. */
static void add_scaled(float *x, float factor, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = fmaf(factor, y[i], x[i]);
}

/* ---- numbers ---- */

/* A Python float, which is double, or a tensor of one number, which is single. Beside a tensor a
 * float becomes single, and so does the result. */
struct number {
    double value;
    bool single;
};

static struct number in_double(double value)
{
    return (struct number){value, false};
}

static struct number in_single(float value)
{
    return (struct number){(double)value, true};
}

enum operation { ADD, SUBTRACT, MULTIPLY, DIVIDE };

static struct number calculate(struct number a, enum operation o, struct number b)
{
    if (a.single || b.single) {
        float x = (float)a.value, y = (float)b.value;
        return in_single(o == ADD ? x + y : o == SUBTRACT ? x - y : o == MULTIPLY ? x * y : x / y);
    }
    double x = a.value, y = b.value;
    return in_double(o == ADD ? x + y : o == SUBTRACT ? x - y : o == MULTIPLY ? x * y : x / y);
}

static struct number add(struct number a, struct number b)
{
    return calculate(a, ADD, b);
}

static struct number subtract(struct number a, struct number b)
{
    return calculate(a, SUBTRACT, b);
}

static struct number multiply(struct number a, struct number b)
{
    return calculate(a, MULTIPLY, b);
}

static struct number divide(struct number a, struct number b)
{
    return calculate(a, DIVIDE, b);
}

static struct number times(double factor, struct number a)
{
    return multiply(in_double(factor), a);
}

static bool less(struct number a, struct number b)
{
    if (a.single || b.single)
        return (float)a.value < (float)b.value;
    return a.value < b.value;
}

static bool at_most(struct number a, struct number b)
{
    if (a.single || b.single)
        return (float)a.value <= (float)b.value;
    return a.value <= b.value;
}

static struct number magnitude(struct number a)
{
    return (struct number){fabs(a.value), a.single};
}

/* The first one unless the second is beyond it: so a NaN in first place stays. */
static struct number lesser(struct number a, struct number b)
{
    return less(b, a) ? b : a;
}

static struct number greater(struct number a, struct number b)
{
    return less(a, b) ? b : a;
}

/* ---- the line search ---- */

/* A point of the search: x + step d. */
struct trial {
    struct number step;
    double value;
    struct number slope; /* along d */
    float *gradient;     /* [n] */
};

struct pair {
    float *change; /* of the gradient, [n] */
    float *step;   /* [n] */
    float inverse; /* 1 / (change . step) */
};

struct torch_lbfgs {
    size_t n;
    double rate;
    torch_function *function;
    void *data;
    float *x, *sums; /* [n]; sums: the gradients of all evaluations */
    size_t evaluations, iterations;
    double value; /* at the last evaluation */

    float *direction, *gradient, *previous; /* [n] */
    struct number step;
    struct pair pairs[HISTORY]; /* the oldest first */
    size_t n_pairs;
    float scale; /* of the first inverse Hessian */

    float *start;           /* [n], where the line search began */
    struct trial trials[4]; /* those that the search looks at */
};

static double evaluate(struct torch_lbfgs *o, float *gradient)
{
    o->value = o->function(o->data, o->x, o->sums);
    o->evaluations++;
    memcpy(gradient, o->sums, o->n * sizeof *gradient);
    return o->value;
}

/* Evaluates at x + step d, and goes back to x. */
static void try_step(struct torch_lbfgs *o, struct trial *t, struct number step)
{
    memcpy(o->start, o->x, o->n * sizeof *o->x);
    add_scaled(o->x, (float)step.value, o->direction, o->n);
    t->step = step;
    t->value = evaluate(o, t->gradient);
    t->slope = in_single(dot(t->gradient, o->direction, o->n));
    memcpy(o->x, o->start, o->n * sizeof *o->x);
}

static void copy_trial(struct trial *to, const struct trial *from, size_t n)
{
    float *gradient = to->gradient;
    *to = *from;
    to->gradient = gradient;
    memcpy(gradient, from->gradient, n * sizeof *gradient);
}

/* The minimum of the cubic with the values and slopes of two points, within [low, high]. */
static struct number cubic_minimum(const struct trial *a, const struct trial *b, struct number low,
                                   struct number high)
{
    struct number secant = divide(in_double(3 * (a->value - b->value)), subtract(a->step, b->step));
    struct number d1 = subtract(add(a->slope, b->slope), secant);
    struct number square = subtract(multiply(d1, d1), multiply(a->slope, b->slope));
    if (!(square.value >= 0))
        return divide(add(low, high), in_double(2));
    struct number d2 = in_single(sqrtf((float)square.value));
    if (!at_most(a->step, b->step)) {
        const struct trial *c = a;
        a = b;
        b = c;
    }
    struct number over = subtract(add(b->slope, d2), d1);
    struct number under = add(subtract(b->slope, a->slope), times(2, d2));
    struct number at = subtract(b->step, multiply(subtract(b->step, a->step), divide(over, under)));
    return lesser(greater(at, low), high);
}

/* Whether the value at t is above the line of sufficient decrease from origin. */
static bool too_high(const struct trial *origin, const struct trial *t)
{
    struct number line =
        add(in_double(origin->value), multiply(times(DECREASE, t->step), origin->slope));
    return less(line, in_double(t->value));
}

static bool flat_enough(const struct trial *origin, const struct trial *t)
{
    return at_most(magnitude(t->slope), times(-FLATNESS, origin->slope));
}

enum search_end { BRACKETED, FOUND, OUT_OF_EVALUATIONS };

/* Goes outwards until two points have a good one between them, or one is it. previous and t are
 * then the two, or t the one. */
static enum search_end bracket(struct torch_lbfgs *o, const struct trial *origin,
                               struct trial *previous, struct trial *t, size_t *left)
{
    for (size_t i = 0; *left > 0; i++) {
        if (too_high(origin, t) || (i > 1 && t->value >= previous->value))
            return BRACKETED;
        if (flat_enough(origin, t))
            return FOUND;
        if (t->slope.value >= 0)
            return BRACKETED;
        struct number low = add(t->step, times(0.01, subtract(t->step, previous->step)));
        struct number step = cubic_minimum(previous, t, low, times(10, t->step));
        copy_trial(previous, t, o->n);
        try_step(o, t, step);
        --*left;
    }
    copy_trial(previous, origin, o->n);
    previous->step = in_double(0);
    return OUT_OF_EVALUATIONS;
}

/* A step within a bracket: the cubic's, and, where that is twice close to the same end, one a tenth
 * of the bracket away from there. */
static struct number inner_step(const struct trial *a, const struct trial *b, bool *close)
{
    struct number low = lesser(a->step, b->step), high = greater(a->step, b->step);
    struct number step = at_most(a->step, b->step) ? cubic_minimum(a, b, a->step, b->step)
                                                   : cubic_minimum(a, b, b->step, a->step);
    struct number margin = times(0.1, subtract(high, low));
    struct number above = subtract(high, step), below = subtract(step, low);
    bool was_close = *close;
    *close = less(lesser(above, below), margin);
    if (!*close || !(was_close || at_most(high, step) || at_most(step, low)))
        return step;
    *close = false;
    return less(magnitude(subtract(step, high)), magnitude(subtract(step, low)))
               ? subtract(high, margin)
               : add(low, margin);
}

/* Narrows a bracket until a point in it is good; its lower end is then *low. */
static void zoom(struct torch_lbfgs *o, const struct trial *origin, struct trial *ends[2],
                 struct trial *t, size_t left, size_t *low)
{
    struct number longest = in_single(largest(o->direction, o->n));
    bool done = false, close = false;
    *low = ends[0]->value <= ends[1]->value ? 0 : 1;
    for (; !done && left > 0; left--) {
        struct trial *best = ends[*low], *other = ends[1 - *low];
        struct number width = magnitude(subtract(ends[1]->step, ends[0]->step));
        if (less(multiply(width, longest), in_double(TOLERANCE_CHANGE)))
            return;
        try_step(o, t, inner_step(ends[0], ends[1], &close));
        if (too_high(origin, t) || t->value >= best->value) {
            copy_trial(other, t, o->n);
            *low = ends[0]->value <= ends[1]->value ? 0 : 1;
            continue;
        }
        if (flat_enough(origin, t))
            done = true;
        else if (multiply(t->slope, subtract(other->step, best->step)).value >= 0)
            copy_trial(other, best, o->n);
        copy_trial(best, t, o->n);
    }
}

/* A step along the direction that meets the strong Wolfe conditions, as far as left evaluations
 * lead; the gradient becomes the one there. Returns the value there. */
static double search(struct torch_lbfgs *o, double value, struct number slope, size_t left)
{
    struct trial *origin = &o->trials[0], *previous = &o->trials[1], *t = &o->trials[2];
    memcpy(origin->gradient, o->gradient, o->n * sizeof *o->gradient);
    origin->step = in_double(0);
    origin->value = value;
    origin->slope = slope;
    copy_trial(previous, origin, o->n);
    try_step(o, t, o->step);
    enum search_end end = bracket(o, origin, previous, t, &left);
    struct trial *ends[2] = {previous, t};
    size_t low = 1;
    if (end == BRACKETED)
        zoom(o, origin, ends, &o->trials[3], left, &low);
    else if (end == OUT_OF_EVALUATIONS)
        low = previous->value <= t->value ? 0 : 1;
    o->step = ends[low]->step;
    memcpy(o->gradient, ends[low]->gradient, o->n * sizeof *o->gradient);
    return ends[low]->value;
}

/* ---- directions ---- */

/* Keeps what the last step told of the curvature, where it is positive. */
static void remember(struct torch_lbfgs *o)
{
    struct pair new = {xreallocarray(NULL, o->n, sizeof(float)),
                       xreallocarray(NULL, o->n, sizeof(float)), 0};
    for (size_t i = 0; i < o->n; i++) {
        new.change[i] = o->gradient[i] - o->previous[i];
        new.step[i] = o->direction[i] * (float)o->step.value;
    }
    float curvature = dot(new.change, new.step, o->n);
    if (!(curvature > (float)LEAST_CURVATURE)) {
        free(new.change);
        free(new.step);
        return;
    }
    if (o->n_pairs == HISTORY) {
        free(o->pairs[0].change);
        free(o->pairs[0].step);
        memmove(o->pairs, o->pairs + 1, (HISTORY - 1) * sizeof *o->pairs);
        o->n_pairs--;
    }
    new.inverse = 1 / curvature;
    o->scale = curvature / dot(new.change, new.change, o->n);
    o->pairs[o->n_pairs++] = new;
}

/* The two loops of L-BFGS: the approximate inverse Hessian times the negative gradient. */
static void turn(struct torch_lbfgs *o)
{
    float along[HISTORY] = {0}, *d = o->direction;
    for (size_t i = 0; i < o->n; i++)
        d[i] = -o->gradient[i];
    for (size_t j = o->n_pairs; j-- > 0;) {
        along[j] = dot(o->pairs[j].step, d, o->n) * o->pairs[j].inverse;
        add_scaled(d, -along[j], o->pairs[j].change, o->n);
    }
    for (size_t i = 0; i < o->n; i++)
        d[i] *= o->scale;
    for (size_t j = 0; j < o->n_pairs; j++) {
        float back = dot(o->pairs[j].change, d, o->n) * o->pairs[j].inverse;
        add_scaled(d, along[j] - back, o->pairs[j].step, o->n);
    }
}

/* The first guess of a step: the rate, at the very first less where the gradient is large. */
static struct number first_step(const struct torch_lbfgs *o)
{
    if (o->iterations > 1)
        return in_double(o->rate);
    float *sizes = xcalloc(o->n, sizeof *sizes);
    for (size_t i = 0; i < o->n; i++)
        sizes[i] = fabsf(o->gradient[i]);
    struct number inverse = divide(in_double(1), in_single(torch_sum(sizes, o->n)));
    free(sizes);
    return multiply(lesser(in_double(1), inverse), in_double(o->rate));
}

void torch_lbfgs_pass(struct torch_lbfgs *o)
{
    size_t before = o->evaluations;
    double value = evaluate(o, o->gradient);
    if (largest(o->gradient, o->n) <= (float)TOLERANCE_GRADIENT)
        return;
    for (int i = 1; i <= MAX_ITERATIONS; i++) {
        if (o->iterations++)
            remember(o);
        turn(o);
        memcpy(o->previous, o->gradient, o->n * sizeof *o->gradient);
        double last = value;
        o->step = first_step(o);
        struct number slope = in_single(dot(o->gradient, o->direction, o->n));
        if (less(in_double(-TOLERANCE_CHANGE), slope))
            return;
        value = search(o, value, slope, MAX_EVALUATIONS - (o->evaluations - before));
        add_scaled(o->x, (float)o->step.value, o->direction, o->n);
        if (o->evaluations - before >= MAX_EVALUATIONS ||
            largest(o->gradient, o->n) <= (float)TOLERANCE_GRADIENT ||
            fabs(value - last) < TOLERANCE_CHANGE)
            return;
        float moved = 0;
        for (size_t j = 0; j < o->n; j++)
            moved = fmaxf(moved, fabsf(o->direction[j] * (float)o->step.value));
        if (moved <= (float)TOLERANCE_CHANGE)
            return;
    }
}

/* ---- life ---- */

struct torch_lbfgs *torch_lbfgs_new(size_t n, float start, double rate, torch_function *f,
                                    void *data)
{
    struct torch_lbfgs *o = xcalloc(1, sizeof *o);
    o->n = n;
    o->rate = rate;
    o->function = f;
    o->data = data;
    o->scale = 1;
    float **vectors[] = {&o->x,
                         &o->sums,
                         &o->direction,
                         &o->gradient,
                         &o->previous,
                         &o->start,
                         &o->trials[0].gradient,
                         &o->trials[1].gradient,
                         &o->trials[2].gradient,
                         &o->trials[3].gradient};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        *vectors[i] = xcalloc(n, sizeof(float));
    for (size_t i = 0; i < n; i++)
        o->x[i] = start;
    return o;
}

const float *torch_lbfgs_point(const struct torch_lbfgs *o)
{
    return o->x;
}

double torch_lbfgs_last_value(const struct torch_lbfgs *o)
{
    return o->value;
}

size_t torch_lbfgs_evaluations(const struct torch_lbfgs *o)
{
    return o->evaluations;
}

void torch_lbfgs_free(struct torch_lbfgs *o)
{
    for (size_t i = 0; i < o->n_pairs; i++) {
        free(o->pairs[i].change);
        free(o->pairs[i].step);
    }
    for (size_t i = 0; i < 4; i++)
        free(o->trials[i].gradient);
    free(o->x);
    free(o->sums);
    free(o->direction);
    free(o->gradient);
    free(o->previous);
    free(o->start);
    free(o);
}
