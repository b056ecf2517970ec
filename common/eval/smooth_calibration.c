/* Smooth ECE as relplot, its authors' program, computes it, on the same grids: what others report
 * is that program's. */
#include "common/eval/calibration.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

enum { HALVINGS = 10, MESH_POINTS = 200, GRID_CELLS = 2000 };
static const double narrowest = 0.001, density_floor = 0.0001;

/* Beyond so many widths a Gaussian is below a double's precision. */
static const double reach = 9;

/* Claims on a grid over [0, 1], reflected at both ends. */
struct grid {
    size_t points;
    double *residuals, *counts; /* [3 * points - 2] */
    double *kernel;             /* [points], the Gaussian's centre in the middle */
    size_t first, last;         /* of the kernel's points within reach */
};

/* Each claim is shared between the two points beside it. */
static void add_claim(struct grid *g, struct scored claim)
{
    double at = claim.score * (double)(g->points - 1), residual = claim.score - claim.positive;
    size_t i = (size_t)fmin(at, (double)(g->points - 2)), origin = g->points - 1;
    double right = at - (double)i;
    g->residuals[origin + i] += (1 - right) * residual;
    g->residuals[origin + i + 1] += right * residual;
    g->counts[origin + i] += 1 - right;
    g->counts[origin + i + 1] += right;
}

static void reflect(double *values, size_t points)
{
    double *origin = values + points - 1, *end = origin + points - 1;
    for (size_t i = 1; i < points; i++) {
        origin[-(ptrdiff_t)i] = origin[i];
        end[i] = end[-(ptrdiff_t)i];
    }
}

static struct grid grid_new(const struct scored *claims, size_t n, double width)
{
    struct grid g = {.points = (size_t)fmax(GRID_CELLS, nearbyint(20 / width)) / 2 + 1};
    g.residuals = xcalloc(3 * g.points - 2, sizeof *g.residuals);
    g.counts = xcalloc(3 * g.points - 2, sizeof *g.counts);
    for (size_t i = 0; i < n; i++)
        add_claim(&g, claims[i]);
    reflect(g.residuals, g.points);
    reflect(g.counts, g.points);
    g.kernel = xreallocarray(NULL, g.points, sizeof *g.kernel);
    g.first = g.points;
    for (size_t j = 0; j < g.points; j++) {
        double z = ((double)j / (double)(g.points - 1) - 0.5) / width;
        g.kernel[j] = exp(-z * z / 2) / (sqrt(2 * M_PI) * width);
        if (fabs(z) > reach)
            continue;
        g.first = j < g.first ? j : g.first;
        g.last = j;
    }
    return g;
}

static void grid_free(struct grid *g)
{
    free(g->residuals);
    free(g->counts);
    free(g->kernel);
}

/* Four sums, for one alone waits for each addition. */
static double product(const double *a, const double *b, size_t n)
{
    double s[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t k = 0; k < 4; k++)
            s[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        s[0] += a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* Reflected values smoothed at a grid point. */
static double smoothed(const struct grid *g, const double *values, size_t point)
{
    return product(values + point + g->points / 2 + g->first, g->kernel + g->first,
                   g->last - g->first + 1);
}

/* Sums over a mesh, between whose points and the grid's lies a linear interpolation. */
static double error_at_width(const struct scored *claims, size_t n, double width)
{
    struct grid g = grid_new(claims, n, width);
    size_t mesh = (size_t)fmax(MESH_POINTS, nearbyint(10 / width));
    double residuals = 0, density = 0;
    for (size_t m = 0; m < mesh; m++) {
        double t = (double)m / (double)(mesh - 1), at = t * (double)(g.points - 1);
        size_t i = (size_t)fmin(at, (double)(g.points - 2));
        double right = at - (double)i;
        residuals += fabs((1 - right) * smoothed(&g, g.residuals, i) +
                          right * smoothed(&g, g.residuals, i + 1));
        density += (1 - right) * smoothed(&g, g.counts, i) + right * smoothed(&g, g.counts, i + 1) +
                   density_floor;
    }
    grid_free(&g);
    return residuals / density;
}

double smooth_error(const struct scored *claims, size_t n)
{
    double wide = 1, narrow = 0;
    for (int i = 0; i < HALVINGS; i++) {
        double width = (wide + narrow) / 2;
        if (width < narrowest || width < error_at_width(claims, n, width))
            narrow = width;
        else
            wide = width;
    }
    return error_at_width(claims, n, wide);
}
