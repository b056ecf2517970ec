/* Products of single-precision matrices that are no frozen weights: those of the adapters and of
 * attention's gradients, thin or small as a rule. Operands are packed into panels (Goto & van de
 * Geijn 2008). Each element of C sums over k in blocks of a fixed size and order, so its bits
 * depend neither on the threads nor on the other rows. */
#include "kernels/cpu/cpu.h"

enum { PANEL_M = 8, PANEL_N = LANES, BLOCK_M = 64, BLOCK_N = 64, BLOCK_K = 256 };

/* to[k * panel + i] = from[(first + i) * along + k * down] for i < n; zero up to the panel's width
 */
INLINE void pack_panel(const float *from, size_t along, size_t down, int n, int depth, int panel,
                       float *to)
{
    if (n == panel && along == 1) {
        for (int k = 0; k < depth; k++)
            for (int i = 0; i < panel; i++)
                to[k * panel + i] = from[(size_t)k * down + (size_t)i];
        return;
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < depth; k++)
            to[k * panel + i] = from[(size_t)i * along + (size_t)k * down];
    for (int i = n; i < panel; i++)
        for (int k = 0; k < depth; k++)
            to[k * panel + i] = 0;
}

INLINE void multiply_panels(const float *a, const float *b, int depth, float *c)
{
    vec sum[PANEL_M] = {{0}};
    for (int k = 0; k < depth; k++) {
        vec row = *(const vec *)(b + k * PANEL_N);
#pragma GCC unroll 8
        for (int i = 0; i < PANEL_M; i++)
            sum[i] += a[k * PANEL_M + i] * row;
    }
#pragma GCC unroll 8
    for (int i = 0; i < PANEL_M; i++)
        *(vec *)(c + i * BLOCK_N) += sum[i];
}

/* One block of C, rows m0 .. and columns n0 .. of it. */
CPU_CLONES static void multiply_block(const struct matrix_product *p, int m0, int n0)
{
    float a[BLOCK_M * BLOCK_K], b[BLOCK_N * BLOCK_K], c[BLOCK_M * BLOCK_N] = {0};
    int rows = p->m - m0 < BLOCK_M ? p->m - m0 : BLOCK_M;
    int columns = p->n - n0 < BLOCK_N ? p->n - n0 : BLOCK_N;
    size_t a_along = p->transpose_a ? 1 : p->a_step, a_down = p->transpose_a ? p->a_step : 1;
    size_t b_along = p->transpose_b ? p->b_step : 1, b_down = p->transpose_b ? 1 : p->b_step;
    for (int k0 = 0; k0 < p->k; k0 += BLOCK_K) {
        int depth = p->k - k0 < BLOCK_K ? p->k - k0 : BLOCK_K;
        for (int i = 0; i < rows; i += PANEL_M)
            pack_panel(p->a + (size_t)(m0 + i) * a_along + (size_t)k0 * a_down, a_along, a_down,
                       rows - i < PANEL_M ? rows - i : PANEL_M, depth, PANEL_M, a + i * depth);
        for (int j = 0; j < columns; j += PANEL_N) {
            pack_panel(p->b + (size_t)(n0 + j) * b_along + (size_t)k0 * b_down, b_along, b_down,
                       columns - j < PANEL_N ? columns - j : PANEL_N, depth, PANEL_N, b);
            for (int i = 0; i < rows; i += PANEL_M)
                multiply_panels(a + i * depth, b, depth, c + i * BLOCK_N + j);
        }
    }
    for (int i = 0; i < rows; i++) {
        float *to = p->c + (size_t)(m0 + i) * p->c_step + n0;
        const float *from = c + i * BLOCK_N;
        if (p->accumulate)
            for (int j = 0; j < columns; j++)
                to[j] += p->scale * from[j];
        else
            for (int j = 0; j < columns; j++)
                to[j] = p->scale * from[j];
    }
}

void matrix_product(const struct matrix_product *p)
{
    for (int m0 = 0; m0 < p->m; m0 += BLOCK_M)
        for (int n0 = 0; n0 < p->n; n0 += BLOCK_N)
            multiply_block(p, m0, n0);
}

void cpu_gemm(struct device *d, const struct matrix_product *p)
{
    (void)d;
    int across = (p->n + BLOCK_N - 1) / BLOCK_N, blocks = (p->m + BLOCK_M - 1) / BLOCK_M * across;
#pragma omp parallel for if ((size_t)p->m * (size_t)p->n * (size_t)p->k > 1u << 16)
    for (int i = 0; i < blocks; i++)
        multiply_block(p, i / across * BLOCK_M, i % across * BLOCK_N);
}
