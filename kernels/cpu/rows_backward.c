/* Gradients of the operations in rows.c, and what the backward pass moves about. */
#include "kernels/cpu/cpu.h"

/* Rows, or elements, that one piece takes. */
enum { ROWS = 8, ELEMENTS = 16384 };

struct norm_gradient {
    const struct path *path;
    const float *x, *gain;
    float eps;
    size_t rows, width;
    const float *dy;
    float *dx;
};

static void norm_rows(void *context, size_t first, size_t end)
{
    const struct norm_gradient *n = context;
    for (size_t r = first; r < end; r++)
        n->path->rmsnorm_backward(n->x + r * n->width, n->gain, n->eps, (int)n->width,
                                  n->dy + r * n->width, n->dx + r * n->width);
}

void cpu_rmsnorm_backward(struct device *d, const float *x, const float *gain, float eps, int rows,
                          int width, const float *dy, float *dx)
{
    struct norm_gradient n = {cpu_path(d), x, gain, eps, (size_t)rows, (size_t)width, dy, dx};
    cpu_each(n.rows, ROWS, n.rows * n.width, norm_rows, &n);
}

struct gating_gradient {
    const struct device *device;
    enum activation activation;
    const float *gate, *up, *d_out;
    void *d_gate, *d_up;
};

static void gate_elements(void *context, size_t first, size_t end)
{
    const struct gating_gradient *g = context;
    enum dtype type = g->device->compute;
    cpu_path(g->device)->glu_backward(g->activation, g->gate + first, g->up + first,
                                      g->d_out + first, end - first,
                                      (char *)g->d_gate + first * dtype_size(type),
                                      (char *)g->d_up + first * dtype_size(type), type);
}

void cpu_glu_backward(struct device *d, enum activation activation, const float *gate,
                      const float *up, const float *d_out, size_t n, void *d_gate, void *d_up)
{
    struct gating_gradient g = {d, activation, gate, up, d_out, d_gate, d_up};
    cpu_each(n, ELEMENTS, n, gate_elements, &g);
}

void cpu_cap_backward(struct device *d, float cap, const float *y, float *dx, size_t n)
{
    cpu_path(d)->cap_backward(cap, y, dx, n);
}

void cpu_scatter_add(struct device *d, const float *from, const int32_t *rows, int n, int width,
                     float *to)
{
    (void)d;
    for (int r = 0; r < n; r++) {
        float *row = to + (size_t)rows[r] * (size_t)width;
        for (int i = 0; i < width; i++)
            row[i] += from[(size_t)r * (size_t)width + (size_t)i];
    }
}

struct conversion {
    const struct path *path;
    const char *from;
    enum dtype from_type, to_type;
    char *to;
};

static void convert_elements(void *context, size_t first, size_t end)
{
    const struct conversion *c = context;
    size_t n = end - first;
    const void *from = c->from + first * dtype_size(c->from_type);
    void *to = c->to + first * dtype_size(c->to_type);
    if (c->from_type == c->to_type)
        memcpy(to, from, n * dtype_size(c->to_type));
    else if (c->from_type == F32)
        c->path->narrow(from, n, to);
    else
        c->path->widen(BF16, from, n, to);
}

void cpu_convert(struct device *d, const void *from, enum dtype from_type, void *to,
                 enum dtype to_type, size_t n)
{
    struct conversion c = {cpu_path(d), from, from_type, to_type, to};
    cpu_each(n, ELEMENTS, n, convert_elements, &c);
}
