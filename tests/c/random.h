/* The same random numbers in every run and on every machine (Knuth's linear congruential generator,
 * its upper half). */
#ifndef DUQ_TESTS_RANDOM_H
#define DUQ_TESTS_RANDOM_H

#include "common/util/mem.h"

#include <stdint.h>

static inline uint32_t random_word(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 32);
}

/* Between -1 and 1. */
static inline float random_number(uint64_t *seed)
{
    return (float)(int32_t)random_word(seed) * 0x1p-31f;
}

/* n of them, one after another; the caller frees them. */
static inline float *random_numbers(uint64_t *seed, size_t n)
{
    float *x = (float *)xaligned(n * sizeof *x + 1);
    for (size_t i = 0; i < n; i++)
        x[i] = random_number(seed);
    return x;
}

#endif
