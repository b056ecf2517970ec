/* What a machine can do at most, by its maker's word or the user's: the figures that bounds on time
 * are computed from. */
#ifndef DUQ_COUNT_MACHINE_H
#define DUQ_COUNT_MACHINE_H

#include <stddef.h>

struct machine {
    const char *name, *title, *source;
    double product_rate; /* FLOP/s of products in bf16 that sum in f32, dense */
    double f32_rate;     /* FLOP/s of everything in f32 */
    double bandwidth;    /* bytes/s of its memory */
    double link;         /* bytes/s to and from the host, one way; 0: not counted */
    double memory;       /* bytes */
    double launch;       /* seconds that a kernel's launch takes when nothing hides it */
};

/* The GPUs we know, by name ("a100-40", "a100-80", "h100"); NULL for another. */
const struct machine *machine_find(const char *name);
/* All of them. */
const struct machine *machines(size_t *count);

#endif
