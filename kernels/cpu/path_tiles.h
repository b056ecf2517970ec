/* Products of panels (kernels/cpu/path.h) with accumulators in registers: a template of the files
 * path_*.c, which say how many rows fill the registers. */
#ifndef DUQ_CPU_PATH_TILES_H
#define DUQ_CPU_PATH_TILES_H

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/path.h"

/* sum + the products of a word of A with VECTOR words of B. */
typedef vec multiply_word(uint32_t a, words b, vec sum);

INLINE vec multiply_f32(uint32_t a, words b, vec sum)
{
    float value;
    memcpy(&value, &a, sizeof value);
    return multiply_add_lanes(value - (vec){0}, (vec)b, sum);
}

/* `rows` rows of A's panel by `vectors` vectors of B's columns; both are constants where this is
 * inlined. */
INLINE void multiply_tile(const uint32_t *a, const uint32_t *b, int words_left, float *c, bool add,
                          int rows, int vectors, multiply_word *multiply)
{
    enum { MOST_ROWS = 16, MOST_VECTORS = 4 };
    vec sum[MOST_ROWS][MOST_VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            sum[i][j] = add ? *(const vec *)(c + i * PANEL + j * VECTOR) : (vec){0};
    for (; words_left > 0; words_left -= CHUNK, a += rows * CHUNK) {
        int n = words_left < CHUNK ? words_left : CHUNK;
        for (int k = 0; k < n; k++, b += PANEL) {
            words column[MOST_VECTORS];
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++)
                column[j] = *(const words *)(b + j * VECTOR);
#pragma GCC unroll 16
            for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
                for (int j = 0; j < vectors; j++)
                    sum[i][j] = multiply(a[i * CHUNK + k], column[j], sum[i][j]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            *(vec *)(c + i * PANEL + j * VECTOR) = sum[i][j];
}

/* Columns of B, as many at once as `vectors` vectors are, or all there are. */
INLINE void multiply_columns(const uint32_t *a, const uint32_t *b, int columns, int n, float *c,
                             bool add, int rows, int vectors, multiply_word *multiply)
{
    const int half = CHUNK / VECTOR;
    if (vectors > half && columns == CHUNK)
        multiply_tile(a, b, n, c, add, rows, half, multiply);
    else
        for (int j = 0; j < columns; j += vectors * VECTOR)
            multiply_tile(a, b + j, n, c + j, add, rows, vectors, multiply);
}

#define MULTIPLY_ROWS(N)                                                                           \
    case N:                                                                                        \
        if (N <= most)                                                                             \
            multiply_columns(a, b, columns, n, c, add, N < most ? N : most, vectors, multiply);    \
        break;

/* multiplier.multiply() for panels of `most` rows. */
INLINE void multiply_panels(const uint32_t *a, size_t a_step, const uint32_t *b, int rows,
                            int columns, int n, float *c, bool add, int most, int vectors,
                            multiply_word *multiply)
{
    for (; rows > 0; rows -= most, a += a_step, c += most * PANEL)
        switch (rows < most ? rows : most) {
            MULTIPLY_ROWS(1)
            MULTIPLY_ROWS(2)
            MULTIPLY_ROWS(3)
            MULTIPLY_ROWS(4)
            MULTIPLY_ROWS(5)
            MULTIPLY_ROWS(6)
            MULTIPLY_ROWS(7)
            MULTIPLY_ROWS(8)
            MULTIPLY_ROWS(9)
            MULTIPLY_ROWS(10)
            MULTIPLY_ROWS(11)
            MULTIPLY_ROWS(12)
            MULTIPLY_ROWS(13)
            MULTIPLY_ROWS(14)
        }
}

#endif
