/* Marks a function that is written once for the host and for device code alike. */
#ifndef DUQ_UTIL_EVERYWHERE_H
#define DUQ_UTIL_EVERYWHERE_H

#ifdef __CUDACC__
#define EVERYWHERE static inline __host__ __device__
#else
#define EVERYWHERE static inline
#endif

#endif
