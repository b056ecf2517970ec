/* Plain C: whatever the compiler makes of it (SSE2, NEON). */
#include "kernels/cpu/path_rows.h"
#include "kernels/cpu/path_tiles.h"
#include "kernels/cpu/paths.h"

/* 12 accumulators. */
enum { ROWS = 6, VECTORS = 2 };

static void multiply(const uint32_t *a, size_t a_step, const uint32_t *b, int rows, int columns,
                     int n, float *c, bool add)
{
    multiply_panels(a, a_step, b, rows, columns, n, c, add, ROWS, VECTORS, multiply_f32);
}

const struct path path_plain = {
    .name = "plain", .f32 = {.rows = ROWS, .multiply = multiply}, PATH_ROWS};
