#include "common/math/normal.h"

#include "common/math/philox.h"

#include <math.h>

/* Beside the Philox streams of dropout, of the initial values and of an epoch's order. */
enum { NOISE_STREAM = 0x7ffffffe };

void draw_normals(double *to, size_t n, uint64_t seed, uint32_t pass, uint32_t row)
{
    for (size_t i = 0; i < n; i++) {
        struct philox counter = {{(uint32_t)(i / 2), row, NOISE_STREAM, pass}};
        counter = philox4x32(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
        /* Between 0 and 1, neither of them. */
        double u = (counter.v[0] + 0.5) * 0x1p-32, v = (counter.v[1] + 0.5) * 0x1p-32;
        double angle = 2 * M_PI * v;
        to[i] = sqrt(-2 * log(u)) * (i % 2 ? sin(angle) : cos(angle));
    }
}
