/* What LoRA's A matrices make of their input, and its gradients. Dropout is done as operands are
 * packed and as results are stored: what it keeps is a bit for each element, drawn once a call. */
#include "kernels/cpu/operand.h"

enum { ROWS = 8, WORD = 32 };

struct keeping {
    const struct path *path;
    const struct dropout *dropout;
    size_t first, rows, words; /* row numbers begin at `first` */
    int width;
    uint32_t *kept; /* [rows, words] */
};

static void keep_rows(void *context, size_t first, size_t end)
{
    const struct keeping *k = context;
    for (size_t r = first; r < end; r++)
        k->path->keep(k->dropout, (int)(k->first + r), k->width, k->kept + r * k->words);
}

/* What dropout keeps of rows first, ..., first + rows - 1 of [., width]: [rows, words]. */
static const uint32_t *keep(struct device *d, const struct dropout *o, int first, int rows,
                            int width, size_t *words)
{
    struct cpu *cpu = d->state;
    struct keeping k = {cpu->path, o, (size_t)first, (size_t)rows, 0, width, NULL};
    k.words = *words = (size_t)(width + WORD - 1) / WORD;
    k.kept = room_reserve(&cpu->kept, k.rows * k.words * sizeof *k.kept);
    cpu_each(k.rows, ROWS, k.rows * (size_t)width, keep_rows, &k);
    return k.kept;
}

/* Of one adapter, or several that lie one below the other, rows first, ..., first + rows - 1. */
static void lower_rows(struct device *d, const struct lowering *l, const struct dropout *o,
                       int first, int rows, int before, int rank)
{
    size_t size = dtype_size(l->type), in = (size_t)l->in;
    size_t step = (size_t)lowered_width(l);
    struct operand_pair operands = {
        .a = {.type = l->type, .p = (const char *)l->x + (size_t)first * in * size, .step = in},
        .b = {.type = l->type,
              .p = (const char *)l->a + (size_t)before * in * size,
              .step = in,
              .transpose = true},
        .k = l->in};
    struct product p = {.rows = rows,
                        .columns = rank,
                        .scale = 1,
                        .y = l->low + (size_t)first * step + (size_t)before,
                        .y_step = step};
    if (o) {
        operands.a.kept = keep(d, o, first, rows, l->in, &operands.a.kept_step);
        operands.a.scale = dropout_scale(o->rate);
        p.scale = l->type == F32 ? 1 : dropout_scale(o->rate);
    }
    operands_set(&p, d, &operands);
    product_run(&p, cpu_room(d));
}

/* Adapters that drop apart take so many rows in turn that these stay in a cache. */
void cpu_lower(struct device *d, const struct lowering *l)
{
    if (!(l->dropout[0].rate > 0)) {
        lower_rows(d, l, NULL, 0, l->rows, 0, lowered_width(l));
        return;
    }
    for (int first = 0; first < l->rows; first += ROWS_AT_ONCE) {
        int rows = l->rows - first < ROWS_AT_ONCE ? l->rows - first : ROWS_AT_ONCE;
        for (int i = 0, before = 0; i < l->n; before += l->ranks[i++])
            lower_rows(d, l, &l->dropout[i], first, rows, before, l->ranks[i]);
    }
}

/* ---- gradients ---- */

/* d_low A, of which some is dropped before it is added to dx. */
struct dropped_product {
    struct operand_pair operands; /* first, as in all products of pairs */
    const uint32_t *kept;
    size_t words;
    float scale, *dx;
};

static void add_dropped(const struct product *p, int row, int rows, int panel, const float *even,
                        const float *odd)
{
    const struct dropped_product *o = p->context;
    const float *sums[] = {even, odd};
    for (int i = 0; i < 2; i++) {
        int column = (panel + i) * PANEL, n = p->columns - column;
        n = n < PANEL ? n : PANEL;
        for (int r = 0; r < rows && n > 0; r++) {
            float left[PANEL];
            size_t at = (size_t)(row + r);
            p->path->drop(o->kept + at * o->words + column / WORD, n, sums[i] + r * PANEL, o->scale,
                          left);
            p->path->add(1, left, o->dx + at * (size_t)p->columns + column, (size_t)n);
        }
    }
}

void cpu_lower_backward(struct device *d, const struct lowering_backward *b)
{
    if (b->rows == 0)
        return;
    size_t in = (size_t)b->in, rank = (size_t)b->rank;
    bool drops = b->dropout.rate > 0;
    float scale = drops ? dropout_scale(b->dropout.rate) : 1;
    struct operand_pair by_a = {
        .a = {.type = b->type, .p = b->d_low, .step = rank, .transpose = true},
        .b = {.type = b->type, .p = b->x, .step = in, .scale = scale},
        .k = b->rows};
    struct product p = {.rows = b->rank,
                        .columns = b->in,
                        .scale = b->type == F32 ? 1 : scale,
                        .y = b->da,
                        .y_step = in,
                        .accumulate = true};
    if (drops)
        by_a.b.kept = keep(d, &b->dropout, 0, b->rows, b->in, &by_a.b.kept_step);
    operands_set(&p, d, &by_a);
    product_run(&p, cpu_room(d));
    if (!b->dx)
        return;
    struct dropped_product by_x = {{.a = {.type = b->type, .p = b->d_low, .step = rank},
                                    .b = {.type = b->type, .p = b->a, .step = in},
                                    .k = b->rank},
                                   by_a.b.kept,
                                   by_a.b.kept_step,
                                   scale,
                                   b->dx};
    p = (struct product){.rows = b->rows,
                         .columns = b->in,
                         .store_pair = drops ? add_dropped : NULL,
                         .scale = 1,
                         .y = b->dx,
                         .y_step = in,
                         .accumulate = true};
    operands_set(&p, d, &by_x.operands);
    product_run(&p, cpu_room(d));
}
