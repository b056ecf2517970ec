/* AMX's tile instructions in plain C, by the pseudocode of Intel's manual (TDPBF16PS): products of
 * even and of odd elements are added up apart, then their sum to C; rounding to nearest even,
 * subnormal numbers taken for zero. To be included before kernels/cpu/path_amx.c. */
#ifndef DUQ_AMX_SIMULATED_H
#define DUQ_AMX_SIMULATED_H

#include "common/util/dtype.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

struct simulated_tile {
    bool configured;
    uint32_t words[16][16];
};

static _Thread_local struct simulated_tile simulated_tiles[8];

static float without_subnormals(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

static void simulate_configure(const void *config)
{
    const uint8_t *bytes = config;
    assert(bytes[0] == 1);
    for (int i = 0; i < 8; i++) {
        assert(bytes[16 + 2 * i] == 64 && bytes[17 + 2 * i] == 0 && bytes[48 + i] == 16);
        simulated_tiles[i] = (struct simulated_tile){.configured = true};
    }
}

static void simulate_release(void)
{
    for (int i = 0; i < 8; i++)
        simulated_tiles[i].configured = false;
}

static void simulate_zero(int tile)
{
    assert(simulated_tiles[tile].configured);
    memset(simulated_tiles[tile].words, 0, sizeof simulated_tiles[tile].words);
}

static void simulate_load(int tile, const void *from, size_t step)
{
    assert(simulated_tiles[tile].configured);
    for (size_t r = 0; r < 16; r++)
        memcpy(simulated_tiles[tile].words[r], (const char *)from + r * step, 64);
}

static void simulate_store(int tile, void *to, size_t step)
{
    assert(simulated_tiles[tile].configured);
    for (size_t r = 0; r < 16; r++)
        memcpy((char *)to + r * step, simulated_tiles[tile].words[r], 64);
}

static float half_of(uint32_t word, int half)
{
    return without_subnormals(f32_from_bf16((uint16_t)(word >> 16 * half)));
}

static void simulate_multiply(int sum, int a, int b)
{
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float parts[2] = {0, 0}, c;
            for (int k = 0; k < 16; k++)
                for (int half = 0; half < 2; half++)
                    parts[half] = without_subnormals(
                        fmaf(half_of(simulated_tiles[a].words[m][k], half),
                             half_of(simulated_tiles[b].words[k][n], half), parts[half]));
            memcpy(&c, &simulated_tiles[sum].words[m][n], sizeof c);
            c = without_subnormals(without_subnormals(c) + without_subnormals(parts[0] + parts[1]));
            memcpy(&simulated_tiles[sum].words[m][n], &c, sizeof c);
        }
}

#define tile_configure(config) simulate_configure(config)
#define tile_release() simulate_release()
#define tile_zero(tile) simulate_zero(tile)
#define tile_load(tile, from, step) simulate_load(tile, from, step)
#define tile_store(tile, to, step) simulate_store(tile, to, step)
#define tile_multiply(sum, a, b) simulate_multiply(sum, a, b)

#endif
