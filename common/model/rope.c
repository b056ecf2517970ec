#include "common/model/rope.h"

#include <math.h>
#include <stddef.h>

void rope_tables(const struct config *c, int positions, float *cosine, float *sine)
{
    size_t half = (size_t)c->head_dim / 2;
    for (int p = 0; p < positions; p++)
        for (size_t i = 0; i < half; i++) {
            float angle = (float)p * c->frequency[i];
            cosine[(size_t)p * half + i] = cosf(angle) * c->rope_magnitude;
            sine[(size_t)p * half + i] = sinf(angle) * c->rope_magnitude;
        }
}
