/* The rows' losses: few rows of few classes, so a thread for each row. */
#include "kernels/cuda/cuda.h"

#include "common/math/loss_formulas.h"

static __global__ void loss_rows(struct loss_batch b)
{
    int r = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (r >= b.rows)
        return;
    size_t classes = (size_t)b.classes, first = (size_t)r * classes;
    double *x = b.work + first, *gradient = x + (size_t)b.rows * classes;
    for (size_t c = 0; c < classes; c++)
        x[c] = (double)b.logits[first + c];
    b.values[r] =
        loss_formula(&b.loss, x, b.targets + first, classes, b.s, gradient, &b.values[b.rows + r]);
    for (size_t c = 0; c < classes; c++)
        b.d_logits[first + c] = (float)(gradient[c] / b.total);
}

void cuda_loss(struct device *d, const struct loss_batch *b)
{
    if (b->rows > 0)
        LAUNCH(d, loss_rows, (unsigned)div_up((size_t)b->rows, WARP), WARP, 0, *b);
}
