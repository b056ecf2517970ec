#include "common/math/circle.h"

#include <math.h>

/* A quarter turn in three parts: products of the first two with a whole number of quarter turns up
 * to 2^20 are exact (Cody and Waite 1980). */
static const double QUARTER[] = {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2e037073p-69};

void cosine_and_sine(double angle, double *cosine, double *sine)
{
    double quarters = floor(angle * (2 / 3.14159265358979323846) + 0.5);
    double x = angle - quarters * QUARTER[0] - quarters * QUARTER[1] - quarters * QUARTER[2];
    /* |x| is at most an eighth of a turn: Taylor's series to 1e-17. */
    double square = x * x, c = 1, s = 1;
    for (int k = 17; k > 1; k -= 2) {
        c = 1 - c * square / ((k - 1) * (k - 2));
        s = 1 - s * square / (k * (k - 1));
    }
    s *= x;
    switch ((int)(quarters - 4 * floor(quarters / 4))) {
    case 0:
        *cosine = c;
        *sine = s;
        break;
    case 1:
        *cosine = -s;
        *sine = c;
        break;
    case 2:
        *cosine = -c;
        *sine = -s;
        break;
    default:
        *cosine = s;
        *sine = -c;
    }
}
