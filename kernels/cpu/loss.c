/* The rows' losses: few rows of few classes. */
#include "kernels/cpu/cpu.h"

void cpu_loss(struct device *d, const struct loss_batch *b)
{
    (void)d;
    size_t classes = (size_t)b->classes;
    double *x = b->work, *gradient = b->work + classes;
    for (int r = 0; r < b->rows; r++) {
        size_t first = (size_t)r * classes;
        for (size_t c = 0; c < classes; c++)
            x[c] = (double)b->logits[first + c];
        b->values[r] = loss_value(&b->loss, x, b->targets + first, classes, b->s, gradient,
                                  &b->values[b->rows + r]);
        for (size_t c = 0; c < classes; c++)
            b->d_logits[first + c] = (float)(gradient[c] / b->total);
    }
}
