/* Cosine and sine in operations that IEEE 754 fixes, so the same on every machine: the C library's
 * may differ in the last bit. */
#ifndef DUQ_MATH_CIRCLE_H
#define DUQ_MATH_CIRCLE_H

/* Within 1e-15 of the cosine and sine of an angle (radians) of at most 2^20 on either side of 0. */
void cosine_and_sine(double angle, double *cosine, double *sine);

#endif
