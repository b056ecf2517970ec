/* Operations that treat rows, or elements, one by one: embedding, gather, RMSNorm, rotary
 * positions, gated linear units, caps, class logits. Each is bound by memory; products are where
 * the time goes. */
#include "kernels/cpu/cpu.h"

/* Rows, or elements, that one piece takes. */
enum { ROWS = 8, ELEMENTS = 16384 };

struct embedding {
    const struct path *path;
    const void *table;
    enum dtype stored;
    size_t width, n;
    const int32_t *ids;
    float *out;
};

static void embed_rows(void *context, size_t first, size_t end)
{
    const struct embedding *e = context;
    for (size_t r = first; r < end; r++)
        e->path->widen(e->stored,
                       (const char *)e->table +
                           (size_t)e->ids[r] * e->width * dtype_size(e->stored),
                       e->width, e->out + r * e->width);
}

void cpu_embed(struct device *d, const void *table, enum dtype stored, int width,
               const int32_t *ids, int n, float *out)
{
    struct embedding e = {cpu_path(d), table, stored, (size_t)width, (size_t)n, ids, out};
    cpu_each(e.n, ROWS, e.n * e.width, embed_rows, &e);
}

void cpu_gather(struct device *d, const float *from, const int32_t *rows, int n, int width,
                float *to)
{
    (void)d;
    for (int r = 0; r < n; r++)
        memcpy(to + (size_t)r * (size_t)width, from + (size_t)rows[r] * (size_t)width,
               (size_t)width * sizeof *to);
}

struct norm {
    const struct path *path;
    const float *x, *gain;
    float eps;
    size_t rows, width;
    void *out;
    enum dtype out_type;
};

static void norm_rows(void *context, size_t first, size_t end)
{
    const struct norm *n = context;
    for (size_t r = first; r < end; r++)
        n->path->rmsnorm(n->x + r * n->width, n->gain, n->eps, (int)n->width,
                         (char *)n->out + r * n->width * dtype_size(n->out_type), n->out_type);
}

void cpu_rmsnorm(struct device *d, const float *x, const float *gain, float eps, int rows,
                 int width, void *out, enum dtype out_type)
{
    struct norm n = {cpu_path(d), x, gain, eps, (size_t)rows, (size_t)width, out, out_type};
    cpu_each(n.rows, ROWS, n.rows * n.width, norm_rows, &n);
}

struct rotation {
    const struct path *path;
    float *x;
    size_t rows;
    int heads, head_dim, dims;
    const int32_t *positions;
    const float *cosine, *sine;
};

static void rotate_rows(void *context, size_t first, size_t end)
{
    const struct rotation *t = context;
    size_t width = (size_t)t->heads * (size_t)t->head_dim, half = (size_t)t->dims / 2;
    for (size_t r = first; r < end; r++)
        t->path->rope(t->x + r * width, t->heads, t->head_dim, t->dims,
                      t->cosine + (size_t)t->positions[r] * half,
                      t->sine + (size_t)t->positions[r] * half);
}

void cpu_rope(struct device *d, float *x, int rows, int heads, int head_dim, int dims,
              const int32_t *positions, const float *cosine, const float *sine)
{
    struct rotation t = {cpu_path(d), x,         (size_t)rows, heads, head_dim,
                         dims,        positions, cosine,       sine};
    cpu_each(t.rows, ROWS, t.rows * (size_t)heads * (size_t)head_dim, rotate_rows, &t);
}

struct gating {
    const struct device *device;
    enum activation activation;
    const float *gate, *up;
    void *out;
};

static void gate_elements(void *context, size_t first, size_t end)
{
    const struct gating *g = context;
    enum dtype type = g->device->compute;
    cpu_path(g->device)->glu(g->activation, g->gate + first, g->up + first, end - first,
                             (char *)g->out + first * dtype_size(type), type);
}

void cpu_glu(struct device *d, enum activation activation, const float *gate, const float *up,
             size_t n, void *out)
{
    struct gating g = {d, activation, gate, up, out};
    cpu_each(n, ELEMENTS, n, gate_elements, &g);
}

void cpu_cap(struct device *d, float cap, float *x, size_t n)
{
    cpu_path(d)->cap(cap, x, n);
}

struct addition {
    const struct path *path;
    float factor;
    const float *from;
    float *to;
};

static void add_elements(void *context, size_t first, size_t end)
{
    const struct addition *a = context;
    a->path->add(a->factor, a->from + first, a->to + first, end - first);
}

void cpu_add(struct device *d, float factor, const float *from, float *to, size_t n)
{
    struct addition a = {cpu_path(d), factor, from, to};
    cpu_each(n, ELEMENTS, n, add_elements, &a);
}

void cpu_class_logits(struct device *d, const float *h, int rows, const float *w, int classes,
                      int width, float *logits)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < classes; c++)
            *logits++ = cpu_path(d)->dot(h + (size_t)r * (size_t)width,
                                         w + (size_t)c * (size_t)width, width);
}
