/* AMX: bf16 products by tiles of 16 rows, 16 columns and 32 steps of the sum; the rest is
 * AVX-512's. Each step of a tile adds the sum of its even and the sum of its odd products to C, 32
 * at a time. The instruction takes subnormal numbers for zero. */
#if defined(__x86_64__) || defined(tile_load) /* tests bring tiles of their own */
#include "kernels/cpu/path_amx.h"
#include "kernels/cpu/paths.h"

enum { ROWS = 16, TILE_BYTES = 64 };

/* Eight tiles of 16 rows of 64 bytes. Constant, for compilers have taken the instruction to read
 * the first eight bytes alone, and dropped what was written to the others. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tiles = {.palette = 1,
           .row_bytes = {TILE_BYTES, TILE_BYTES, TILE_BYTES, TILE_BYTES, TILE_BYTES, TILE_BYTES,
                         TILE_BYTES, TILE_BYTES},
           .rows = {ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS}};

static void begin(void)
{
    tile_configure(&tiles);
}

/* Tiles in use keep a processor from sleeping deeply. */
static void end(void)
{
    tile_release();
}

/* One panel of A, tile 4, or two, tile 5 as well, by B's first 16 columns, tile 6, or 32, tile 7 as
 * well; sums in tiles 0 and 1, of the second panel in 2 and 3. `two` and `wide` are constants where
 * this is called. */
static inline __attribute__((always_inline)) void multiply_panels(const uint32_t *a, size_t a_step,
                                                                  const uint32_t *b, int n,
                                                                  float *c, bool add, bool two,
                                                                  bool wide)
{
    enum { C_STEP = PANEL * sizeof(float) };
    float *low = c + ROWS * PANEL;
    if (add) {
        tile_load(0, c, C_STEP);
        if (wide)
            tile_load(1, c + CHUNK, C_STEP);
        if (two)
            tile_load(2, low, C_STEP);
        if (two && wide)
            tile_load(3, low + CHUNK, C_STEP);
    } else {
        tile_zero(0);
        tile_zero(1);
        tile_zero(2);
        tile_zero(3);
    }
    for (; n > 0; n -= CHUNK, a += ROWS * CHUNK, b += CHUNK * PANEL) {
        tile_load(4, a, TILE_BYTES);
        tile_load(6, b, C_STEP);
        tile_multiply(0, 4, 6);
        if (wide) {
            tile_load(7, b + CHUNK, C_STEP);
            tile_multiply(1, 4, 7);
        }
        if (!two)
            continue;
        tile_load(5, a + a_step, TILE_BYTES);
        tile_multiply(2, 5, 6);
        if (wide)
            tile_multiply(3, 5, 7);
    }
    tile_store(0, c, C_STEP);
    if (wide)
        tile_store(1, c + CHUNK, C_STEP);
    if (two)
        tile_store(2, low, C_STEP);
    if (two && wide)
        tile_store(3, low + CHUNK, C_STEP);
}

/* The words of bf16 operands fill whole chunks, with zeros at the end. */
static void multiply(const uint32_t *a, size_t a_step, const uint32_t *b, int rows, int columns,
                     int n, float *c, bool add)
{
    bool wide = columns > CHUNK;
    for (; rows > 0; rows -= 2 * ROWS, a += 2 * a_step, c += 2 * ROWS * PANEL)
        if (rows > ROWS && wide)
            multiply_panels(a, a_step, b, n, c, add, true, true);
        else if (rows > ROWS)
            multiply_panels(a, a_step, b, n, c, add, true, false);
        else if (wide)
            multiply_panels(a, a_step, b, n, c, add, false, true);
        else
            multiply_panels(a, a_step, b, n, c, add, false, false);
}

const struct multiplier multiplier_amx = {
    .rows = ROWS, .padded = true, .begin = begin, .end = end, .multiply = multiply};
#endif
