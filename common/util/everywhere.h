/* What the host's C and device code in CUDA C++ share. EVERYWHERE marks a function that is
 * written once for both; DUQ_C_BEGIN and DUQ_C_END stand round declarations of functions in C,
 * DUQ_NORETURN before one that does not return. */
#ifndef DUQ_UTIL_EVERYWHERE_H
#define DUQ_UTIL_EVERYWHERE_H

#ifdef __CUDACC__
#define EVERYWHERE static inline __host__ __device__
#else
#define EVERYWHERE static inline
#endif

#ifdef __cplusplus
#define DUQ_C_BEGIN extern "C" {
#define DUQ_C_END }
#define DUQ_NORETURN [[noreturn]]
#else
#define DUQ_C_BEGIN
#define DUQ_C_END
#define DUQ_NORETURN _Noreturn
#endif

#endif
