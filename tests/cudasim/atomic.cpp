/* Atomic operations: CUDA threads take turns on one thread of the operating system, so plain ones
 * are. */
#include "access.h"

#include <algorithm>

using namespace cudasim;

template <typename T, typename F> static T update(T *to, F f, const void *pc)
{
    access_memory(access_kind::ATOMIC, to, sizeof *to, sizeof *to, pc);
    T before = *to;
    *to = f(before);
    return before;
}

#define ATOMIC(name, type, expression)                                                             \
    type name(type *to, type value)                                                                \
    {                                                                                              \
        return update(                                                                             \
            to, [value](type before) { return expression; }, __builtin_return_address(0));         \
    }

ATOMIC(atomicAdd, int, (int)((unsigned)before + (unsigned)value))
ATOMIC(atomicAdd, unsigned, before + value)
ATOMIC(atomicAdd, unsigned long long, before + value)
ATOMIC(atomicAdd, float, before + value)
ATOMIC(atomicAdd, double, before + value)
ATOMIC(atomicMax, int, std::max(before, value))
ATOMIC(atomicMax, unsigned, std::max(before, value))
ATOMIC(atomicMin, int, std::min(before, value))
ATOMIC(atomicMin, unsigned, std::min(before, value))
ATOMIC(atomicOr, int, before | value)
ATOMIC(atomicOr, unsigned, before | value)
ATOMIC(atomicExch, int, ((void)before, value))
ATOMIC(atomicExch, unsigned, ((void)before, value))
ATOMIC(atomicExch, float, ((void)before, value))

#define COMPARE_AND_SWAP(type)                                                                     \
    type atomicCAS(type *to, type expected, type value)                                            \
    {                                                                                              \
        return update(                                                                             \
            to, [=](type before) { return before == expected ? value : before; },                  \
            __builtin_return_address(0));                                                          \
    }

COMPARE_AND_SWAP(int)
COMPARE_AND_SWAP(unsigned)
COMPARE_AND_SWAP(unsigned long long)
