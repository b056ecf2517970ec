/* What the simulator's stand-ins for NVIDIA's headers are made with. */
#ifndef CUDASIM_CUDASIM_H
#define CUDASIM_CUDASIM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

/* Of a function whose own accesses to memory are not a kernel's. */
#define CUDASIM_UNCHECKED __attribute__((no_sanitize("thread")))

namespace cudasim
{

enum warp_operation {
    SYNCWARP,
    BALLOT,
    SHUFFLE,
    SHUFFLE_UP,
    SHUFFLE_DOWN,
    SHUFFLE_XOR,
    REDUCE_ADD,
    REDUCE_MIN,
    REDUCE_MAX,
    REDUCE_MIN_SIGNED,
    REDUCE_MAX_SIGNED,
};

/* Waits for the lanes in mask; what this lane then gets. lane_argument and width are a shuffle's.
 */
uint64_t warp_meet(enum warp_operation, unsigned mask, uint64_t value, int lane_argument, int width,
                   const char *file, int line);

template <typename T>
T shuffle(enum warp_operation operation, unsigned mask, T value, int lane_argument, int width,
          const char *file, int line)
{
    static_assert(sizeof value <= sizeof(uint64_t), "a shuffle moves at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = warp_meet(operation, mask, bits, lane_argument, width, file, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Where a block's array is in shared memory: given a place at its first use in a launch. */
struct shared_slot {
    uint64_t launch;
    size_t offset;
};
void *shared_array(struct shared_slot *, size_t bytes, size_t alignment, const char *name);
void *dynamic_shared();

} // namespace cudasim

#endif
