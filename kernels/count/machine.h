/* What a machine can do at most, by its maker's word or the user's: the figures that bounds on time
 * are computed from. */
#ifndef DUQ_COUNT_MACHINE_H
#define DUQ_COUNT_MACHINE_H

#include <stddef.h>

struct machine {
    const char *name, *title, *source;
    const char *products[2]; /* what the driver calls it; NULL: no more */
    double product_rate;     /* FLOP/s of products in bf16 that sum in f32, dense */
    double f32_rate;         /* FLOP/s of everything in f32 */
    double bandwidth;        /* bytes/s of its memory */
    double link;             /* bytes/s to and from the host, one way; 0: not counted */
    double memory;           /* bytes */
    double launch;           /* seconds that a kernel's launch takes when nothing hides it */
};

/* A GPU that we know, by our name ("a100-40") or the driver's ("NVIDIA A100-SXM4-40GB"); NULL for
 * another. */
const struct machine *machine_find(const char *name);
/* The one that a device's description ends with, in parentheses: "cuda:0 (NVIDIA H200)". */
const struct machine *machine_described(const char *description);

#endif
