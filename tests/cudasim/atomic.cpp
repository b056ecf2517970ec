/* Atomic operations: CUDA threads take turns on one thread of the operating system, so plain ones
 * are. */
#include "simulator.h"

#include <algorithm>

template <typename T, typename F> static T update(T *to, F f)
{
    T before = *to;
    *to = f(before);
    return before;
}

#define ATOMIC(name, type, expression)                                                             \
    type name(type *to, type value)                                                                \
    {                                                                                              \
        return update(to, [value](type before) { return expression; });                            \
    }

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

int atomicAdd(int *to, int value) /* wraps */
{
    return (int)atomicAdd((unsigned *)to, (unsigned)value);
}

template <typename T> static T compare_and_swap(T *to, T expected, T value)
{
    return update(to, [=](T before) { return before == expected ? value : before; });
}

int atomicCAS(int *to, int expected, int value)
{
    return compare_and_swap(to, expected, value);
}

unsigned atomicCAS(unsigned *to, unsigned expected, unsigned value)
{
    return compare_and_swap(to, expected, value);
}

unsigned long long atomicCAS(unsigned long long *to, unsigned long long expected,
                             unsigned long long value)
{
    return compare_and_swap(to, expected, value);
}
