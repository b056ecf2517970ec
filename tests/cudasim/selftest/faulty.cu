/* One fault in each kernel or call: the simulator names it. */
#include "selftest.h"

static __global__ void two_barriers(int *x)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    x[threadIdx.x] = 1;
}

CASE(divergent_barriers)
{
    launch(two_barriers, dim3(1), dim3(64), 0, nullptr, on_device<int>(nullptr, 64));
}

static __global__ void leaves(int *x)
{
    if (threadIdx.x == 40)
        return;
    __syncthreads();
    x[threadIdx.x] = 1;
}

CASE(exit_before_barrier)
{
    launch(leaves, dim3(1), dim3(64), 0, nullptr, on_device<int>(nullptr, 64));
}

static __global__ void half_a_warp(int *x)
{
    int i = (int)threadIdx.x;
    if (i < 16)
        i = __shfl_xor_sync(0xffffffffu, i, 1);
    __syncthreads();
    x[threadIdx.x] = i;
}

CASE(shuffle_lanes_missing)
{
    launch(half_a_warp, dim3(1), dim3(32), 0, nullptr, on_device<int>(nullptr, 32));
}

static __global__ void set(int *x)
{
    x[threadIdx.x] = 1;
}

CASE(host_pointer_to_kernel)
{
    static int x[32];
    launch(set, dim3(1), dim3(32), 0, nullptr, x);
}

CASE(host_reads_device)
{
    int *d = on_device<int>(nullptr, 32);
    launch(set, dim3(1), dim3(32), 0, nullptr, d);
    printf("%d\n", d[3]);
}
