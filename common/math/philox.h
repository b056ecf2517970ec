/* Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as
 * easy as 1, 2, 3"). A number is a function of its key and counter alone, so it is the same on any
 * device, in any order and with any number of threads. */
#ifndef DUQ_MATH_PHILOX_H
#define DUQ_MATH_PHILOX_H

#include "common/util/everywhere.h"

#include <stdint.h>

struct philox {
    uint32_t v[4];
};

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u
enum { PHILOX_ROUNDS = 10 };

EVERYWHERE struct philox philox4x32(struct philox counter, uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t a = (uint64_t)PHILOX_M0 * counter.v[0];
        uint64_t b = (uint64_t)PHILOX_M1 * counter.v[2];
        struct philox next = {{(uint32_t)(b >> 32) ^ counter.v[1] ^ key0, (uint32_t)b,
                               (uint32_t)(a >> 32) ^ counter.v[3] ^ key1, (uint32_t)a}};
        counter = next;
        key0 += PHILOX_W0;
        key1 += PHILOX_W1;
    }
    return counter;
}

#endif
