/* What the inner loops of every path are written in: vectors of the processor's own width, and
 * arithmetic with one rounding a step, whatever the compiler and the processor. For files compiled
 * once a path (kernels/cpu/path_*.c) only. */
#ifndef DUQ_CPU_LANES_H
#define DUQ_CPU_LANES_H

#include "common/util/dtype.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
enum { VECTOR = 16 };
#elif defined(__AVX2__)
enum { VECTOR = 8 };
#else
enum { VECTOR = 4 };
#endif

/* Floats, or words, that one register holds. */
typedef float vec __attribute__((vector_size(VECTOR * 4), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(VECTOR * 4), aligned(4), may_alias));

/* Sums over a row are kept in this many lanes on every path: lane j takes elements j, j + 16, ...
 */
enum { LANES = 16 };

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define HAS_FMA 1
#else
#define HAS_FMA 0
#endif

/* a b + c, rounded once. Without an instruction for it: the product of two floats is exact in
 * double; the sum is rounded to odd, after which rounding to float is right (Boldo & Melquiond
 * 2008). */
INLINE float multiply_add(float a, float b, float c)
{
#if HAS_FMA
    return __builtin_fmaf(a, b, c);
#else
    double product = (double)a * (double)b, wide = (double)c, sum = product + wide;
    double back = sum - product, error = (product - (sum - back)) + (wide - back);
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    uint64_t inexact = (uint64_t)((error < 0) | (error > 0)), even = ~bits & 1;
    uint64_t outwards = (uint64_t)((error > 0) == (sum > 0));
    bits += (inexact & even) * (2 * outwards - 1);
    memcpy(&sum, &bits, sizeof sum);
    return (float)sum;
#endif
}

#if !HAS_FMA && defined(__SSE2__)
/* Two lanes in double. Rounding twice goes wrong only where the first result lies half way between
 * two floats (its 29 lower bits are 100...), or below the normal ones: doubtful says so. */
INLINE __m128d multiply_add_two(__m128d a, __m128d b, __m128d c, __m128i *doubtful)
{
    const __m128i low = _mm_set1_epi64x(0x1fffffff), half = _mm_set1_epi64x(0x10000000);
    const __m128d sign = _mm_set1_pd(-0.0), least = _mm_set1_pd(0x1p-125);
    __m128d sum = _mm_add_pd(_mm_mul_pd(a, b), c);
    __m128i tie = _mm_cmpeq_epi32(_mm_and_si128(_mm_castpd_si128(sum), low), half);
    __m128d tiny = _mm_cmplt_pd(_mm_andnot_pd(sign, sum), least);
    /* Of each 64 bits the lower word tells. */
    tie = _mm_shuffle_epi32(tie, _MM_SHUFFLE(2, 2, 0, 0));
    *doubtful = _mm_or_si128(*doubtful, _mm_or_si128(tie, _mm_castpd_si128(tiny)));
    return sum;
}
#endif

INLINE vec multiply_add_lanes(vec a, vec b, vec c)
{
#if !HAS_FMA && defined(__SSE2__)
    __m128 x = (__m128)a, y = (__m128)b, z = (__m128)c;
    __m128i doubtful = _mm_setzero_si128();
    __m128d low = multiply_add_two(_mm_cvtps_pd(x), _mm_cvtps_pd(y), _mm_cvtps_pd(z), &doubtful);
    __m128d high =
        multiply_add_two(_mm_cvtps_pd(_mm_movehl_ps(x, x)), _mm_cvtps_pd(_mm_movehl_ps(y, y)),
                         _mm_cvtps_pd(_mm_movehl_ps(z, z)), &doubtful);
    if (__builtin_expect(_mm_movemask_epi8(doubtful) == 0, 1))
        return (vec)_mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
    vec sum = {0};
    for (int i = 0; i < VECTOR; i++)
        sum[i] = multiply_add(a[i], b[i], c[i]);
    return sum;
#elif HAS_FMA && defined(__AVX512F__)
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif HAS_FMA && defined(__AVX2__)
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    vec sum = {0};
    for (int i = 0; i < VECTOR; i++)
        sum[i] = multiply_add(a[i], b[i], c[i]);
    return sum;
#endif
}

/* The products of each word with m: their higher halves, and their lower ones. */
INLINE words multiply_words(words a, uint32_t m, words *low)
{
#if defined(__AVX512F__)
    __m512i x = (__m512i)a, by = _mm512_set1_epi32((int)m);
    __m512i even = _mm512_mul_epu32(x, by), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), by);
    *low = (words)_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
    return (words)_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
#elif defined(__AVX2__)
    __m256i x = (__m256i)a, by = _mm256_set1_epi32((int)m);
    __m256i even = _mm256_mul_epu32(x, by), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), by);
    *low = (words)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    return (words)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
#elif defined(__SSE2__)
    __m128i x = (__m128i)a, by = _mm_set1_epi32((int)m), odds = _mm_set_epi32(-1, 0, -1, 0);
    __m128i even = _mm_mul_epu32(x, by), odd = _mm_mul_epu32(_mm_srli_epi64(x, 32), by);
    *low = (words)_mm_or_si128(_mm_andnot_si128(odds, even), _mm_slli_epi64(odd, 32));
    return (words)_mm_or_si128(_mm_srli_epi64(even, 32), _mm_and_si128(odd, odds));
#else
    words high = *low = a;
    for (int i = 0; i < VECTOR; i++) {
        uint64_t product = (uint64_t)a[i] * m;
        (*low)[i] = (uint32_t)product;
        high[i] = (uint32_t)(product >> 32);
    }
    return high;
#endif
}

/* e^x: 2^n e^r with |r| <= ln(2)/2, e^r by its Taylor polynomial of degree 7, written so that a
 * loop over it becomes vector code. Relative error below 2e-7; 0 below the normal numbers (x <
 * -87.33), held at e^88 above. NaN gives NaN. */
INLINE float fast_exp(float x)
{
    float y = x > 88.0f ? 88.0f : x;
    y = y < -88.0f ? -88.0f : y;
    float shifted = multiply_add(y, 0x1.715476p+0f, 0x1.8p23f); /* its low bits are n */
    float n = shifted - 0x1.8p23f;
    float r = multiply_add(n, -0x1.62e4p-1f, y); /* ln 2 in two parts */
    r = multiply_add(n, -0x1.7f7d1cp-20f, r);
    float p = 1.0f / 5040;
    p = multiply_add(p, r, 1.0f / 720);
    p = multiply_add(p, r, 1.0f / 120);
    p = multiply_add(p, r, 1.0f / 24);
    p = multiply_add(p, r, 1.0f / 6);
    p = multiply_add(p, r, 0.5f);
    p = multiply_add(p, r, 1.0f);
    p = multiply_add(p, r, 1.0f);
    uint32_t bits, power; /* of NaN: any */
    memcpy(&bits, &p, sizeof bits);
    memcpy(&power, &shifted, sizeof power);
    bits += power << 23;
    memcpy(&p, &bits, sizeof p);
    return x < -87.33f ? 0.0f : x == x ? p : x;
}

/* tanh(x), from e^-2|x|; near 0, where that would be a difference of near numbers, its Taylor
 * polynomial of degree 9. Relative error below 6e-7. */
INLINE float fast_tanh(float x)
{
    float size = x < 0 ? -x : x, e = fast_exp(-2.0f * size), far = (1.0f - e) / (1.0f + e);
    float square = x * x, p = 62.0f / 2835;
    p = multiply_add(p, square, -17.0f / 315);
    p = multiply_add(p, square, 2.0f / 15);
    p = multiply_add(p, square, -1.0f / 3);
    p = multiply_add(p, square, 1.0f);
    float t = size < 0.25f ? p * size : far;
    return x < 0 ? -t : t;
}

#endif
