/* The only words that device code spells otherwise for nvcc than for the simulator, which runs it
 * on the CPU (tests/cudasim). */
#ifndef DUQ_CUDA_LAUNCH_H
#define DUQ_CUDA_LAUNCH_H

#include <cuda_runtime.h>

#ifdef __CUDACC__

/* Starts a kernel; a launch that cannot be is found by cudaGetLastError(). */
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, Arguments... arguments)
{
    kernel<<<grid, block, shared_bytes, stream>>>(arguments...);
}

/* A block's own array of n elements. */
#define SHARED(type, name, n) __shared__ type name[n]

/* The block's memory that the launch set the size of. */
#define DYN_SHARED(type, name)                                                                     \
    extern __shared__ __align__(16) unsigned char duq_dynamic_shared[];                            \
    type *name = reinterpret_cast<type *>(duq_dynamic_shared)

#else

using cudasim::launch;

#define SHARED(type, name, n)                                                                      \
    static struct cudasim::shared_slot name##_slot;                                                \
    type(&name)[n] = *static_cast<type(*)[n]>(                                                     \
        cudasim::shared_array(&name##_slot, sizeof(type) * (n), alignof(type), #name))

#define DYN_SHARED(type, name) type *name = static_cast<type *>(cudasim::dynamic_shared())

#endif

#endif
