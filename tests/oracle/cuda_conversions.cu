/* Every f32 to bf16 and to f16 by NVIDIA's header and by the simulator's, under two names: prints
 * the first differences of the two, and how many there are. Compiled once with each header
 * (check-cuda-conversions.sh). */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

/* bf16 in the lower half, f16 in the upper. */
uint32_t JOIN(convert_, HEADER)(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    __nv_bfloat16 b = __float2bfloat16_rn(x);
    __half h = __float2half_rn(x);
    uint16_t b_bits, h_bits;
    memcpy(&b_bits, &b, sizeof b_bits);
    memcpy(&h_bits, &h, sizeof h_bits);
    return (uint32_t)h_bits << 16 | b_bits;
}

/* What an f16 and a bf16 of these bits are as f32, apart. */
uint64_t JOIN(widen_, HEADER)(uint16_t bits)
{
    __nv_bfloat16 b;
    __half h;
    memcpy(&b, &bits, sizeof b);
    memcpy(&h, &bits, sizeof h);
    float wide_b = __bfloat162float(b), wide_h = __half2float(h);
    uint32_t b_bits, h_bits;
    memcpy(&b_bits, &wide_b, sizeof b_bits);
    memcpy(&h_bits, &wide_h, sizeof h_bits);
    return (uint64_t)h_bits << 32 | b_bits;
}

#ifdef MAIN

uint32_t convert_nvidia(uint32_t);
uint64_t widen_nvidia(uint16_t);

int main(void)
{
    uint64_t differences = 0;
    for (uint64_t i = 0; i >> 32 == 0; i++) {
        uint32_t bits = (uint32_t)i, ours = convert_simulator(bits), theirs = convert_nvidia(bits);
        if (ours != theirs && differences++ < 10)
            printf("%08x: %08x, NVIDIA's header %08x\n", bits, ours, theirs);
    }
    for (uint32_t bits = 0; bits >> 16 == 0; bits++) {
        uint64_t ours = widen_simulator((uint16_t)bits), theirs = widen_nvidia((uint16_t)bits);
        if (ours != theirs && differences++ < 10)
            printf("%04x: %016lx, NVIDIA's header %016lx\n", bits, (unsigned long)ours,
                   (unsigned long)theirs);
    }
    printf("conversions: %lu of 2^32 differ\n", (unsigned long)differences);
    return differences != 0;
}

#endif
