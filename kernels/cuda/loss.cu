/* The rows' losses: few rows of few classes, so a thread for each row. */
#include "kernels/cuda/cuda.h"

#include "common/math/loss_formulas.h"

static __global__ void loss_rows(struct loss_batch b)
{
    int r = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (r >= b.rows)
        return;
    size_t classes = (size_t)b.classes, outputs = loss_outputs(b.loss.kind, classes);
    size_t first = (size_t)r * outputs;
    const double *target = b.targets + (size_t)r * loss_target_size(&b.loss, classes);
    double *x = b.work + first, *gradient = x + (size_t)b.rows * outputs;
    for (size_t c = 0; c < outputs; c++)
        x[c] = (double)b.logits[first + c];
    b.values[r] = loss_formula(&b.loss, x, target, classes, b.s, gradient, &b.values[b.rows + r]);
    double weight = b.weights ? b.weights[r] : 1;
    for (size_t c = 0; c < outputs; c++)
        b.d_logits[first + c] = (float)(weight * gradient[c] / b.total);
}

void cuda_loss(struct device *d, const struct loss_batch *b)
{
    if (b->rows > 0)
        LAUNCH(d, loss_rows, (unsigned)div_up((size_t)b->rows, WARP), WARP, 0, *b);
}
