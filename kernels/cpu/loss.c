/* The rows' losses: few rows of few classes. */
#include "kernels/cpu/cpu.h"

void cpu_loss(struct device *d, const struct loss_batch *b)
{
    (void)d;
    size_t classes = (size_t)b->classes, outputs = loss_outputs(b->loss.kind, classes);
    size_t target_size = loss_target_size(&b->loss, classes);
    double *x = b->work, *gradient = b->work + outputs;
    for (int r = 0; r < b->rows; r++) {
        size_t first = (size_t)r * outputs;
        const double *target = b->targets + (size_t)r * target_size;
        for (size_t c = 0; c < outputs; c++)
            x[c] = (double)b->logits[first + c];
        b->values[r] =
            loss_value(&b->loss, x, target, classes, b->s, gradient, &b->values[b->rows + r]);
        double weight = b->weights ? b->weights[r] : 1;
        for (size_t c = 0; c < outputs; c++)
            b->d_logits[first + c] = (float)(weight * gradient[c] / b->total);
    }
}
