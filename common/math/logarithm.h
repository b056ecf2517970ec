/* Logarithms whose bits are the same on every processor. */
#ifndef DUQ_MATH_LOGARITHM_H
#define DUQ_MATH_LOGARITHM_H

/* ln x of a normal x > 0. */
float natural_log(float x);

#endif
