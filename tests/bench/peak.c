/* The most this processor's threads can multiply and add from registers alone, for lm-score's speed
 * to be a share of: prints "f32 GFLOP/s" and "bf16 GFLOP/s" (0 where it has no such instruction).
 * Times are of the thread's own processor time, so that a busy machine does not show. */
#include <omp.h>
#include <stdio.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 24, ROUNDS = 4000000 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

__attribute__((target("avx512bf16,avx512f"))) static double bf16_rate(void)
{
    __m512 acc[CHAINS];
    __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f803f80), b = a;
    for (int c = 0; c < CHAINS; c++)
        acc[c] = _mm512_setzero_ps();
    double began = now();
    for (int i = 0; i < ROUNDS; i++) {
#pragma GCC unroll 24
        for (int c = 0; c < CHAINS; c++)
            acc[c] = _mm512_dpbf16_ps(acc[c], a, b);
        __asm__ volatile("" : "+v"(a), "+v"(b));
    }
    double seconds = now() - began;
    volatile float sink = 0;
    for (int c = 0; c < CHAINS; c++)
        sink = sink + _mm512_reduce_add_ps(acc[c]);
    return 64e-9 * CHAINS * ROUNDS / seconds;
}

__attribute__((target("avx512f"))) static double f32_rate(void)
{
    __m512 acc[CHAINS], a = _mm512_set1_ps(1), b = a;
    for (int c = 0; c < CHAINS; c++)
        acc[c] = _mm512_setzero_ps();
    double began = now();
    for (int i = 0; i < ROUNDS; i++) {
#pragma GCC unroll 24
        for (int c = 0; c < CHAINS; c++)
            acc[c] = _mm512_fmadd_ps(a, b, acc[c]);
        __asm__ volatile("" : "+v"(a), "+v"(b));
    }
    double seconds = now() - began;
    volatile float sink = 0;
    for (int c = 0; c < CHAINS; c++)
        sink = sink + _mm512_reduce_add_ps(acc[c]);
    return 32e-9 * CHAINS * ROUNDS / seconds;
}

int main(void)
{
    double f32 = 0, bf16 = 0;
#pragma omp parallel reduction(+ : f32, bf16)
    {
        f32 = __builtin_cpu_supports("avx512f") ? f32_rate() : 0;
        bf16 = __builtin_cpu_supports("avx512bf16") ? bf16_rate() : 0;
    }
    printf("%.0f %.0f\n", f32, bf16);
    return 0;
}
#else
int main(void)
{
    puts("0 0");
    return 0;
}
#endif
