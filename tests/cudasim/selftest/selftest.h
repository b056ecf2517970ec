/* Cases that the simulator is tested by, each a function with a name: correct ones end with status
 * 0; faulty ones are reported. They compile with nvcc too. */
#ifndef CUDASIM_SELFTEST_H
#define CUDASIM_SELFTEST_H

#include "kernels/cuda/launch.h"

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

struct test_case {
    const char *name;
    void (*run)();
    struct test_case *next;
    test_case(const char *name, void (*run)());
};

#define CASE(name)                                                                                 \
    static void name();                                                                            \
    static struct test_case name##_case(#name, name);                                              \
    static void name()

/* Ends the program with status 1 and the line, unless it holds. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define CUDA(call) REQUIRE((call) == cudaSuccess)
#define CUBLAS(call) REQUIRE((call) == CUBLAS_STATUS_SUCCESS)

/* Device memory with the contents given, or not set. */
template <typename T> T *on_device(const T *from, size_t n)
{
    void *p;
    CUDA(cudaMalloc(&p, n * sizeof(T)));
    if (from)
        CUDA(cudaMemcpy(p, from, n * sizeof(T), cudaMemcpyHostToDevice));
    return static_cast<T *>(p);
}

template <typename T> void on_host(T *to, const T *device, size_t n)
{
    CUDA(cudaMemcpy(to, device, n * sizeof(T), cudaMemcpyDeviceToHost));
}

#endif
