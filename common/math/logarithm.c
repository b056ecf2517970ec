#include "common/math/logarithm.h"

#include <math.h>

/* In operations that IEEE 754 fixes, for the C library's may differ in the last bit: x = 2^n m with
 * m about 1, ln m = 2 artanh((m - 1) / (m + 1)). */
float natural_log(float x)
{
    int n;
    double m = frexp((double)x, &n);
    if (m < 0.70710678118654752) {
        m *= 2;
        n--;
    }
    double t = (m - 1) / (m + 1), square = t * t, sum = 0;
    for (int k = 17; k > 0; k -= 2)
        sum = sum * square + 1.0 / k;
    return (float)(2 * t * sum + n * 0.69314718055994531);
}
