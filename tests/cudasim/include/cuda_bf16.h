/* bf16, the part that our kernels keep to: storage, and conversions that round to nearest, ties to
 * even. Arithmetic goes through float. */
#ifndef CUDASIM_CUDA_BF16_H
#define CUDASIM_CUDA_BF16_H

#include <cuda_runtime.h>

struct __nv_bfloat16_raw {
    unsigned short x;
};

static inline unsigned short cudasim_bf16_bits(float f)
{
    unsigned u = __float_as_uint(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return 0x7fff; /* NVIDIA's NaN */
    return (unsigned short)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

struct alignas(2) __nv_bfloat16 {
    unsigned short bits;

    __nv_bfloat16() = default;
    __nv_bfloat16(float f) : bits(cudasim_bf16_bits(f))
    {
    }
    __nv_bfloat16(__nv_bfloat16_raw raw) : bits(raw.x)
    {
    }
    operator float() const
    {
        return __uint_as_float((unsigned)bits << 16);
    }
    operator __nv_bfloat16_raw() const
    {
        return {bits};
    }
};

struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

static inline __nv_bfloat16 __float2bfloat16_rn(float f)
{
    return __nv_bfloat16(f);
}
static inline __nv_bfloat16 __float2bfloat16(float f)
{
    return __nv_bfloat16(f);
}
static inline float __bfloat162float(__nv_bfloat16 b)
{
    return (float)b;
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return {x, y};
}
static inline __nv_bfloat162 __float22bfloat162_rn(float2 f)
{
    return {f.x, f.y};
}
static inline float2 __bfloat1622float2(__nv_bfloat162 b)
{
    return {(float)b.x, (float)b.y};
}
static inline float __low2float(__nv_bfloat162 b)
{
    return (float)b.x;
}
static inline float __high2float(__nv_bfloat162 b)
{
    return (float)b.y;
}
static inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y)
{
    return {x, y};
}
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 b)
{
    return b.bits;
}
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits)
{
    return __nv_bfloat16(__nv_bfloat16_raw{bits});
}

#endif
