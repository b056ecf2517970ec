/* The paths there are, for kernels/cpu/path.c to choose from. */
#ifndef DUQ_CPU_PATHS_H
#define DUQ_CPU_PATHS_H

#include "kernels/cpu/path.h"

extern const struct path path_plain;
#ifdef __x86_64__
extern const struct path path_avx2, path_avx512;
extern const struct multiplier multiplier_avx512bf16, multiplier_amx;
#endif

#endif
