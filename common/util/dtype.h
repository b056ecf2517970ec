/* Element types of stored weights and of buffers, and conversions between them. */
#ifndef DUQ_UTIL_DTYPE_H
#define DUQ_UTIL_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum dtype { F32, BF16, F16 };

static inline size_t dtype_size(enum dtype t)
{
    return t == F32 ? 4 : 2;
}

/* As a safetensors header spells it. */
static inline const char *dtype_name(enum dtype t)
{
    return t == F32 ? "F32" : t == BF16 ? "BF16" : "F16";
}

static inline float f32_from_bf16(uint16_t b)
{
    uint32_t u = (uint32_t)b << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Rounds to nearest, ties to even; NaN stays NaN. */
static inline uint16_t bf16_from_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t rounded = (u + 0x7fff + ((u >> 16 & 1))) >> 16;
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? (u >> 16 | 0x40) : rounded);
}

/* IEEE 754 binary16: exact. */
static inline float f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff, u;
    float f;
    if (rest >= 0x7c00) { /* infinity, NaN */
        u = sign | 0x7f800000 | (rest & 0x3ff) << 13;
    } else if (rest >= 0x400) {
        u = sign | ((rest << 13) + ((127 - 15) << 23));
    } else { /* zero and subnormals: rest * 2^-24 */
        f = (float)rest * 0x1p-24f;
        return sign ? -f : f;
    }
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Rounds to nearest, ties to even; too large becomes infinity. */
static inline uint16_t f16_from_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t sign = u >> 16 & 0x8000, rest = u & 0x7fffffff;
    if (rest > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (rest >= 0x477ff000) /* 65520, half way past the largest */
        return (uint16_t)(sign | 0x7c00);
    if (rest < 0x38800000) { /* subnormal: count in 2^-24, rounded by the addition */
        float magic = 0.5f, magnitude;
        memcpy(&magnitude, &rest, sizeof magnitude);
        magnitude += magic; /* the unit in the last place of 0.5 is 2^-24 */
        uint32_t bits;
        memcpy(&bits, &magnitude, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    uint32_t rounded = rest + 0xfff + (rest >> 13 & 1) - ((127 - 15) << 23);
    return (uint16_t)(sign | rounded >> 13);
}

/* Sets element i of an array that need not be aligned, rounded to the nearest. */
static inline void dtype_store(enum dtype t, void *data, size_t i, float f)
{
    if (t == F32) {
        memcpy((char *)data + 4 * i, &f, sizeof f);
        return;
    }
    uint16_t h = t == BF16 ? bf16_from_f32(f) : f16_from_f32(f);
    memcpy((char *)data + 2 * i, &h, sizeof h);
}

/* Element i of an array that need not be aligned. */
static inline float dtype_load(enum dtype t, const void *data, size_t i)
{
    if (t == F32) {
        float f;
        memcpy(&f, (const char *)data + 4 * i, sizeof f);
        return f;
    }
    uint16_t h;
    memcpy(&h, (const char *)data + 2 * i, sizeof h);
    return t == BF16 ? f32_from_bf16(h) : f32_from_f16(h);
}

#endif
