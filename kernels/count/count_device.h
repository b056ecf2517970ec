/* A device that computes nothing and counts: what an engine's run would ask of a machine. It holds
 * no memory: its pointers are addresses that must not be read. download() gives zeros.
 *
 * FLOPs: a product's multiplications and additions, 2 for each pair of elements; of attention those
 * of the query-key pairs that its masks leave, 4 head_dim each (10 on the way back: the scores
 * again, and four gradients). Other operations are charged a few for each element (WORK in
 * count_device.c); an exponential, a root, a random number count as one.
 *
 * Bytes: what an operation is given, read once, and what it gives, written once; accumulated
 * results are read as well. This is the least any implementation moves.
 *
 * Launches: of kernels on a GPU, cuBLAS's included, at the least: one for a call, two for a product
 * with a bias, none for transfers.
 *
 * Time: a call takes at least the slowest of its FLOPs at the machine's rate, its bytes at its
 * memory's and what it sends to or from the host at the link's; calls follow one another. */
#ifndef DUQ_COUNT_COUNT_DEVICE_H
#define DUQ_COUNT_COUNT_DEVICE_H

#include "kernels/count/machine.h"
#include "kernels/ops.h"

enum resource { COMPUTE, MEMORY, LINK, RESOURCES };

struct operation_count {
    char name[48]; /* as in struct device, of matrices with their [out x in] */
    unsigned long calls, launches;
    double flops, bytes_read, bytes_written;
    double seconds;            /* the sum over calls of the slowest resource's */
    double limited[RESOURCES]; /* seconds, by which resource was the slowest */
    double attended_pairs;     /* of attention: query-key pairs, times heads */
};

struct device *count_device_open(enum dtype compute, const struct machine *m);
/* From now on attention holds, while it runs, what it would take on another device of the same
 * compute type; at first it takes nothing. */
void count_device_attend_as(struct device *, struct device *other);

/* Charges what gated_matmul() does, which this device leaves out: so the engine asks it for two
 * products and the gate, as a plan for a GPU is to have them. For who counts another device's
 * calls.
 */
void count_device_gated_matmul(struct device *, const struct weight *gate, const struct weight *up,
                               const float *gate_bias, const float *up_bias, int rows);

/* In the order of first use; valid until the next operation. */
const struct operation_count *count_device_operations(const struct device *d, size_t *count);
/* Tokens that were embedded, and how often. */
unsigned long count_device_tokens(const struct device *d);
unsigned long count_device_passes(const struct device *d);
/* Bytes held now (weights as the device stores them, imports, allocations), and the most so far. */
double count_device_held(const struct device *d);
double count_device_peak(const struct device *d);
/* Forgets operations, tokens and the peak; what is held stays held. */
void count_device_reset(struct device *d);

#endif
