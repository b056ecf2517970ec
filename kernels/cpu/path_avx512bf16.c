/* AVX-512 BF16: bf16 products by the dot product of pairs; the rest is AVX-512's. The instruction
 * rounds after each of its two products and takes subnormal numbers for zero. */
#ifdef __x86_64__
#include "kernels/cpu/path_tiles.h"
#include "kernels/cpu/paths.h"

enum { ROWS = 14, VECTORS = 2 };

INLINE vec multiply_bf16(uint32_t a, words b, vec sum)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
}

static void multiply(const uint32_t *a, size_t a_step, const uint32_t *b, int rows, int columns,
                     int n, float *c, bool add)
{
    multiply_panels(a, a_step, b, rows, columns, n, c, add, ROWS, VECTORS, multiply_bf16);
}

const struct multiplier multiplier_avx512bf16 = {.rows = ROWS, .multiply = multiply};
#endif
