/* IEEE 754 binary16, the part that our kernels keep to: storage, and conversions that round to
 * nearest, ties to even. Arithmetic goes through float. */
#ifndef CUDASIM_CUDA_FP16_H
#define CUDASIM_CUDA_FP16_H

#include <cuda_runtime.h>

struct __half_raw {
    unsigned short x;
};

static inline unsigned short cudasim_half_bits(float f)
{
    unsigned u = __float_as_uint(f), magnitude = u & 0x7fffffffu;
    unsigned short sign = (unsigned short)(u >> 16 & 0x8000u);
    if (magnitude > 0x7f800000u)
        return 0x7fff;              /* NVIDIA's NaN */
    if (magnitude >= 0x38800000u) { /* a normal number, or what rounds up past the last of them */
        unsigned rounded = magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1);
        return (unsigned short)(sign | (rounded >= 0x0f800000u ? 0x7c00u : rounded >> 13));
    }
    return (unsigned short)(sign | (unsigned)rintf(__uint_as_float(magnitude) * 0x1p24f));
}

static inline float cudasim_half_value(unsigned short bits)
{
    unsigned exponent = bits >> 10 & 31u, fraction = bits & 1023u;
    if (exponent == 31 && fraction)
        return __uint_as_float(0x7fffffffu); /* NVIDIA's NaN */
    float value = exponent == 31 ? INFINITY
                  : exponent     ? ldexpf((float)(1024 + fraction), (int)exponent - 25)
                                 : ldexpf((float)fraction, -24);
    return bits & 0x8000u ? -value : value;
}

struct alignas(2) __half {
    unsigned short bits;

    __half() = default;
    __half(float f) : bits(cudasim_half_bits(f))
    {
    }
    __half(__half_raw raw) : bits(raw.x)
    {
    }
    operator float() const
    {
        return cudasim_half_value(bits);
    }
    operator __half_raw() const
    {
        return {bits};
    }
};

struct alignas(4) __half2 {
    __half x, y;
};

static inline __half __float2half_rn(float f)
{
    return __half(f);
}
static inline __half __float2half(float f)
{
    return __half(f);
}
static inline float __half2float(__half h)
{
    return (float)h;
}
static inline __half2 __floats2half2_rn(float x, float y)
{
    return {x, y};
}
static inline float2 __half22float2(__half2 h)
{
    return {(float)h.x, (float)h.y};
}
static inline unsigned short __half_as_ushort(__half h)
{
    return h.bits;
}
static inline __half __ushort_as_half(unsigned short bits)
{
    return __half(__half_raw{bits});
}

#endif
