/* A device that passes each call on to another, takes the time it needs, and counts its FLOPs and
 * bytes as a plan does (kernels/count/count_device.h). Results are the other device's, to the bit.
 *
 * Where operations are queued (on any device but the processor) it waits for each: its time is then
 * its own, but host and device no longer work side by side, and the whole takes longer. */
#ifndef DUQ_PLAN_PROFILE_DEVICE_H
#define DUQ_PLAN_PROFILE_DEVICE_H

#include "kernels/ops.h"

#include <stdio.h>

/* Bounds are those of the machine that the inner device's description names (machine.h), if it is
 * known. began: when (common/util/clock.h) the time began that the table is to add up to. Closing
 * it closes `inner` as well. */
struct device *profile_device_open(struct device *inner, double began);

struct profile_line {
    const char *name; /* as in struct device; "weights" is weight_create */
    unsigned long calls;
    double seconds, flops, bytes; /* bytes: read and written */
    double bound;                 /* seconds at least (count_device.h); 0: of an unknown machine */
};

/* The operations that were called, those that took longest first; the caller frees them. */
struct profile_line *profile_device_lines(const struct device *d, size_t *count);

/* A table for people, whose last line is the time outside of the device. */
void profile_device_print(const struct device *d, FILE *out);

#endif
