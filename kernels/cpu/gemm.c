/* Products of single-precision matrices that are no frozen weights: those of the adapters. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"

static void pack_a(const struct product *p, int first, int count, uint32_t *panel)
{
    const struct matrix_product *m = p->context;
    if (m->transpose_a)
        panel_of_columns(p->path, m->a + first, m->a_step, m->k, count, panel);
    else
        panel_of_rows(p->multiplier, m->a + (size_t)first * m->a_step, m->a_step * sizeof(float),
                      (size_t)m->k * sizeof(float), count, panel);
}

static const uint32_t *pack_b(const struct product *p, int panel, int first, int n, void *scratch)
{
    const struct matrix_product *m = p->context;
    int column = panel * PANEL, left = p->columns - column;
    int columns = left < PANEL ? left : PANEL;
    size_t step = m->b_step;
    float *to = scratch;
    if (!m->transpose_b) {
        const float *from = m->b + (size_t)first * step + (size_t)column;
        for (int k = 0; k < n; k++, from += step)
            memcpy(to + k * PANEL, from, (size_t)columns * sizeof *from);
        return scratch;
    }
    const float *rows = m->b + (size_t)column * step + (size_t)first;
    for (int i = 0; i < columns; i += CHUNK)
        for (int k = 0; k < n; k += CHUNK) {
            const float *block = rows + (size_t)i * step + (size_t)k;
            if (i + CHUNK <= columns && k + CHUNK <= n) {
                p->path->transpose16(block, step, to + k * PANEL + i, PANEL);
                continue;
            }
            for (int r = 0; r < CHUNK && i + r < columns; r++)
                for (int e = 0; e < CHUNK && k + e < n; e++)
                    to[(k + e) * PANEL + i + r] = block[(size_t)r * step + (size_t)e];
        }
    return scratch;
}

void cpu_gemm(struct device *d, const struct matrix_product *m)
{
    struct product p = {.path = cpu_path(d),
                        .multiplier = &cpu_path(d)->f32,
                        .rows = m->m,
                        .columns = m->n,
                        .words = m->k,
                        .context = m,
                        .pack_rows = pack_a,
                        .columns_of = pack_b,
                        .scale = m->scale,
                        .y = m->c,
                        .y_step = m->c_step,
                        .accumulate = m->accumulate};
    product_run(&p, cpu_room(d));
}
