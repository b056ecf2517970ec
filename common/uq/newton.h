/* What the fits by Newton's method share: a step of their trace, and the solution of the positive
 * definite systems that the steps need. */
#ifndef DUQ_UQ_NEWTON_H
#define DUQ_UQ_NEWTON_H

#include <stddef.h>

struct fit_step {
    double objective; /* at the point then reached */
    double gap;       /* an upper bound on how far the optimum is from it */
};

/* The Cholesky factor of a, [k * k], row-major, lower triangle, in place. a is floor I plus a
 * positive semidefinite matrix; a pivot that rounding brought below floor is put back there. */
void newton_factor(double *a, size_t k, double floor);
/* Solves l l' x = b for a factor l; x holds b, [k], and then the solution. */
void newton_solve(const double *l, size_t k, double *x);

#endif
