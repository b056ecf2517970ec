/* The tile instructions that kernels/cpu/path_amx.c is written in. Tests define them otherwise
 * before they include that file, so that it runs on processors without AMX. */
#ifndef tile_load
#include <immintrin.h>

#define tile_configure(config) _tile_loadconfig(config)
#define tile_release() _tile_release()
#define tile_zero(tile) _tile_zero(tile)
#define tile_load(tile, from, step) _tile_loadd(tile, from, step)
#define tile_store(tile, to, step) _tile_stored(tile, to, step)
#define tile_multiply(sum, a, b) _tile_dpbf16ps(sum, a, b)
#endif

#include <stdbool.h>
#include <stdint.h>
