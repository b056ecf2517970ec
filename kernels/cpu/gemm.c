/* Products of matrices that are no frozen weights: those of the adapters. */
#include "kernels/cpu/operand.h"

/* The columns of C^T, panels of which are C's rows, to where these are. */
static void store_turned(const struct product *p, int row, int rows, int panel, const float *even,
                         const float *odd)
{
    const float *sums[] = {even, odd};
    for (int i = 0; i < 2; i++)
        for (int c = 0, column = (panel + i) * PANEL; c < PANEL && column < p->columns;
             c++, column++) {
            float *y = p->y + (size_t)column * p->y_step + (size_t)row;
            for (int r = 0; r < rows; r++) {
                float sum = p->scale * sums[i][r * PANEL + c];
                y[r] = p->accumulate ? y[r] + sum : sum;
            }
        }
}

/* Rows of A^T lie far apart, so a narrow C = A^T B is computed as C^T = B^T A, of the same sums. */
void cpu_gemm(struct device *d, const struct matrix_product *m)
{
    struct operand a = {.type = m->type, .p = m->a, .step = m->a_step, .transpose = m->transpose_a};
    struct operand b = {.type = m->type, .p = m->b, .step = m->b_step, .transpose = m->transpose_b};
    bool turned = m->transpose_a && !m->transpose_b && m->n < m->m;
    struct operand_pair pair = {a, b, m->k};
    struct product p = {.rows = m->m,
                        .columns = m->n,
                        .scale = m->scale,
                        .y = m->c,
                        .y_step = m->c_step,
                        .accumulate = m->accumulate};
    if (turned) {
        pair = (struct operand_pair){b, a, m->k};
        pair.a.transpose = true;
        pair.b.transpose = false;
        p.rows = m->n;
        p.columns = m->m;
        p.store_pair = store_turned;
    }
    operands_set(&p, d, &pair);
    product_run(&p, cpu_room(d));
}
