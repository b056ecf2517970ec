/* Products with the model's weights.
 *
 * A weight is packed once, into panels of B for y = x W^T (kernels/cpu/path.h), in the type that
 * it is stored in; to bf16 where that is computed in. The same panels serve dx = dy W: there a
 * block of them is turned on its way to the multiplier. */
#include "common/util/mem.h"
#include "common/util/threads.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"

#include <stdlib.h>

struct weight {
    enum dtype type; /* packed */
    int out, in;
    int words;        /* of a panel's columns: in, or pairs of it filled up with zeros */
    uint32_t *panels; /* [out / PANEL, rounded up][words][PANEL] */
};

static int words_of(enum dtype type, int n)
{
    enum { PAIRS = CHUNK };
    return type == F32 ? n : chunks_of((n + 1) / 2) * PAIRS;
}

/* ---- packing ---- */

struct packing {
    const struct path *path;
    struct weight *weight;
    const char *data;
    enum dtype stored;
};

/* The words of column `out` from `word` on, as many as CHUNK, zeros past its end. */
static void load_words(const struct packing *p, int out, int word, uint32_t *to)
{
    const struct weight *w = p->weight;
    int per_word = w->type == F32 ? 1 : 2, first = word * per_word, n = CHUNK * per_word;
    n = w->in - first < n ? w->in - first : n;
    memset(to, 0, CHUNK * sizeof *to);
    if (out >= w->out || n <= 0)
        return;
    const char *from =
        p->data + ((size_t)out * (size_t)w->in + (size_t)first) * dtype_size(p->stored);
    if (w->type == p->stored) {
        memcpy(to, from, (size_t)n * dtype_size(p->stored));
        return;
    }
    float wide[2 * CHUNK];
    uint16_t narrow[2 * CHUNK];
    p->path->widen(p->stored, from, (size_t)n, wide);
    p->path->narrow(wide, (size_t)n, narrow);
    memcpy(to, narrow, (size_t)n * sizeof *narrow);
}

static void pack_panel(void *context, size_t piece)
{
    const struct packing *p = context;
    const struct weight *w = p->weight;
    uint32_t *panel = w->panels + piece * (size_t)w->words * PANEL;
    for (int word = 0; word < w->words; word += CHUNK)
        for (int half = 0; half < PANEL; half += CHUNK) {
            uint32_t block[CHUNK * CHUNK], turned[CHUNK * CHUNK];
            for (int i = 0; i < CHUNK; i++)
                load_words(p, (int)piece * PANEL + half + i, word, block + i * CHUNK);
            p->path->transpose16(block, CHUNK, turned, CHUNK);
            int n = w->words - word < CHUNK ? w->words - word : CHUNK;
            for (int k = 0; k < n; k++)
                memcpy(panel + (size_t)(word + k) * PANEL + half, turned + k * CHUNK,
                       CHUNK * sizeof *panel);
        }
}

struct weight *cpu_weight_create(struct device *d, const void *data, enum dtype stored, int out,
                                 int in)
{
    struct weight *w = xcalloc(1, sizeof *w);
    enum dtype type = d->compute == BF16 ? BF16 : stored;
    *w = (struct weight){.type = type, .out = out, .in = in, .words = words_of(type, in)};
    size_t panels = (size_t)(out + PANEL - 1) / PANEL;
    w->panels = xaligned(panels * (size_t)w->words * PANEL * sizeof *w->panels);
    struct packing p = {cpu_path(d), w, data, stored};
    threads_run(panels, pack_panel, &p);
    return w;
}

void cpu_weight_free(struct device *d, struct weight *w)
{
    (void)d;
    if (!w)
        return;
    free(w->panels);
    free(w);
}

/* ---- products ---- */

/* What p->context begins with. */
struct weight_product {
    const struct weight *weight;
    const void *x; /* [rows, k], of the compute type */
    enum dtype type;
    int k;
};

static void pack_x(const struct product *p, int first, int count, uint32_t *panel)
{
    const struct weight_product *w = p->context;
    size_t row = (size_t)w->k * dtype_size(w->type);
    const char *x = (const char *)w->x + (size_t)first * row;
    if (w->type == F32 || p->multiplier == &p->path->bf16) {
        panel_of_rows(p->multiplier, x, row, row, count, panel);
        return;
    }
    float *wide = xaligned((size_t)count * (size_t)w->k * sizeof *wide);
    p->path->widen(w->type, x, (size_t)count * (size_t)w->k, wide);
    panel_of_rows(p->multiplier, wide, 2 * row, 2 * row, count, panel);
    free(wide);
}

/* Words of a weight's panel as the multiplier takes them: as they lie, or widened to f32. */
static const uint32_t *weight_columns(const struct product *p, const struct weight *w, int panel,
                                      int first, int n, void *scratch)
{
    const uint32_t *from = w->panels + (size_t)panel * (size_t)w->words * PANEL;
    if (w->type == F32 || p->multiplier == &p->path->bf16)
        return from + (size_t)first * PANEL;
    from += (size_t)(first / 2) * PANEL;
    float *to = scratch;
    for (int k = 0; k < n; k += 2, from += PANEL) {
        float beyond[PANEL];
        p->path->split(w->type, from, PANEL, to + k * PANEL,
                       k + 1 < n ? to + (k + 1) * PANEL : beyond);
    }
    return scratch;
}

static const uint32_t *forward_columns(const struct product *p, int panel, int first, int n,
                                       void *scratch)
{
    const struct weight_product *context = p->context;
    return weight_columns(p, context->weight, panel, first, n, scratch);
}

static const struct multiplier *multiplier_of(const struct device *d)
{
    const struct path *path = cpu_path(d);
    return d->compute == BF16 && path->bf16.multiply ? &path->bf16 : &path->f32;
}

static int words_of_sum(const struct product *p, int k)
{
    return words_of(p->multiplier == &p->path->bf16 ? BF16 : F32, k);
}

void cpu_matmul(struct device *d, const struct weight *w, const void *x, const float *bias,
                float *y, int rows, bool accumulate)
{
    struct weight_product context = {w, x, d->compute, w->in};
    struct product p = {.path = cpu_path(d),
                        .multiplier = multiplier_of(d),
                        .rows = rows,
                        .columns = w->out,
                        .context = &context,
                        .pack_rows = pack_x,
                        .columns_of = forward_columns,
                        .scale = 1,
                        .bias = bias,
                        .y = y,
                        .y_step = (size_t)w->out,
                        .accumulate = accumulate};
    p.words = words_of_sum(&p, w->in);
    product_run(&p, cpu_room(d));
}

/* ---- two products that a gated linear unit takes ---- */

struct gated_product {
    struct weight_product x; /* first, as in all products of weights; and the gate's weight */
    const struct weight *up;
    const float *gate_bias, *up_bias;
    char *out;
    enum activation activation;
};

/* Panels of the gate and of what it gates in turn. */
static const uint32_t *gated_columns(const struct product *p, int panel, int first, int n,
                                     void *scratch)
{
    const struct gated_product *g = p->context;
    return weight_columns(p, panel % 2 ? g->up : g->x.weight, panel / 2, first, n, scratch);
}

static void store_gated(const struct product *p, int row, int rows, int panel, const float *gate,
                        const float *up)
{
    const struct gated_product *g = p->context;
    int column = panel / 2 * PANEL, width = g->up->out;
    size_t at = (size_t)row * (size_t)width + (size_t)column;
    p->path->store_gated(
        g->activation, gate, up, rows, width - column < PANEL ? width - column : PANEL,
        g->gate_bias ? g->gate_bias + column : NULL, g->up_bias ? g->up_bias + column : NULL,
        g->out + at * dtype_size(g->x.type), (size_t)width, g->x.type);
}

void cpu_gated_matmul(struct device *d, enum activation activation, const struct weight *gate,
                      const struct weight *up, const void *x, const float *gate_bias,
                      const float *up_bias, void *out, int rows)
{
    struct gated_product context = {
        {gate, x, d->compute, gate->in}, up, gate_bias, up_bias, out, activation};
    struct product p = {.path = cpu_path(d),
                        .multiplier = multiplier_of(d),
                        .rows = rows,
                        .columns = (gate->out + PANEL - 1) / PANEL * 2 * PANEL,
                        .context = &context,
                        .pack_rows = pack_x,
                        .columns_of = gated_columns,
                        .store_pair = store_gated};
    p.words = words_of_sum(&p, gate->in);
    product_run(&p, cpu_room(d));
}

/* ---- products with the transpose ---- */

/* B's panel of 32 inputs, the words of the sum being outputs: of each panel of W's outputs the
 * words that hold those inputs, turned. */
static const uint32_t *turned_f32(const struct product *p, int panel, int first, int n,
                                  void *scratch)
{
    const struct weight *w = ((const struct weight_product *)p->context)->weight;
    uint32_t *to = scratch;
    for (int k = 0; k < n; k += PANEL) {
        const uint32_t *from = w->panels + (size_t)((first + k) / PANEL) * (size_t)w->words * PANEL;
        float wide[PANEL * PANEL]; /* [input][output] */
        int inputs = w->in - panel * PANEL < PANEL ? w->in - panel * PANEL : PANEL;
        memset(wide, 0, sizeof wide);
        if (w->type == F32)
            memcpy(wide, from + (size_t)panel * PANEL * PANEL,
                   (size_t)inputs * PANEL * sizeof *wide);
        else
            for (int i = 0; i < inputs; i += 2)
                p->path->split(w->type, from + (size_t)(panel * PANEL + i) / 2 * PANEL, PANEL,
                               wide + i * PANEL, wide + (i + 1) * PANEL);
        for (int i = 0; i < PANEL; i += CHUNK)
            for (int o = 0; o < PANEL; o += CHUNK)
                p->path->transpose16(wide + i * PANEL + o, PANEL, to + (k + o) * PANEL + i, PANEL);
    }
    return scratch;
}

/* The same of pairs. */
static const uint32_t *turned_bf16(const struct product *p, int panel, int first, int n,
                                   void *scratch)
{
    const struct weight *w = ((const struct weight_product *)p->context)->weight;
    uint32_t *to = scratch;
    for (int k = 0; k < n; k += CHUNK) {
        size_t of_outputs = (size_t)((first + k) * 2 / PANEL);
        p->path->turn_pairs(w->panels +
                                (of_outputs * (size_t)w->words + (size_t)(panel * CHUNK)) * PANEL,
                            to + k * PANEL);
    }
    return scratch;
}

void cpu_matmul_backward(struct device *d, const struct weight *w, const void *dy, float *dx,
                         int rows, bool accumulate)
{
    struct weight_product context = {w, dy, d->compute, w->out};
    struct product p = {.path = cpu_path(d),
                        .multiplier = multiplier_of(d),
                        .rows = rows,
                        .columns = w->in,
                        .context = &context,
                        .pack_rows = pack_x,
                        .scale = 1,
                        .y = dx,
                        .y_step = (size_t)w->in,
                        .accumulate = accumulate};
    p.columns_of = p.multiplier == &p.path->bf16 ? turned_bf16 : turned_f32;
    p.words = words_of_sum(&p, w->out);
    product_run(&p, cpu_room(d));
}
