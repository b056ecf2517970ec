/* Draws from N(0, 1): Philox's numbers by Box and Muller's transform (1958). */
#ifndef DUQ_MATH_NORMAL_H
#define DUQ_MATH_NORMAL_H

#include <stddef.h>
#include <stdint.h>

/* to: [n], receives the draws of a row of a numbered pass: the same for one seed whichever rank
 * computes the row. No draw of a training shares a counter with them. */
void draw_normals(double *to, size_t n, uint64_t seed, uint32_t pass, uint32_t row);

#endif
