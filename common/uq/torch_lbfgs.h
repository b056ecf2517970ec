/* L-BFGS with a strong Wolfe line search as torch.optim.LBFGS has it (PyTorch 2; the search is
 * minFunc's), for a caller that wants its steps and not a minimum: every number has the precision
 * that it has there, and sums of single-precision numbers the order of PyTorch's processor build
 * (dot products that of MKL with MKL_CBWR=COMPATIBLE). */
#ifndef DUQ_UQ_TORCH_LBFGS_H
#define DUQ_UQ_TORCH_LBFGS_H

#include <stddef.h>

/* The value at x, [n]; its gradient there is added to sums, [n], which are never set to zero. */
typedef double torch_function(void *data, const float *x, float *sums);

struct torch_lbfgs;

/* Starts with all n numbers at start. Tolerances, history (100) and iterations (100 a pass, with
 * 125 evaluations at most) are PyTorch's defaults for max_iter=100. */
struct torch_lbfgs *torch_lbfgs_new(size_t n, float start, double rate, torch_function *f,
                                    void *data);
/* One call of its step(); what it has learnt of the function's curvature is kept between calls. */
void torch_lbfgs_pass(struct torch_lbfgs *o);
const float *torch_lbfgs_point(const struct torch_lbfgs *o);
double torch_lbfgs_last_value(const struct torch_lbfgs *o); /* at the last evaluation */
size_t torch_lbfgs_evaluations(const struct torch_lbfgs *o);
void torch_lbfgs_free(struct torch_lbfgs *o);

/* The sum of n single-precision numbers in the order of torch.sum. */
float torch_sum(const float *x, size_t n);

#endif
