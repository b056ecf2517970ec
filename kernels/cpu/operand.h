/* Matrices that are no frozen weights as the sides of a product (product.h): packed each time, and
 * with what dropout leaves of them. */
#ifndef DUQ_CPU_OPERAND_H
#define DUQ_CPU_OPERAND_H

#include "kernels/cpu/cpu.h"

struct operand {
    enum dtype type; /* F32 or BF16 */
    const void *p;
    size_t step;    /* elements from row to row */
    bool transpose; /* A: of [k, m]; B: of [n, k] */
    /* What is kept of it, [row][step words], and what that is multiplied by if it is f32: see
     * path.h. Of operands that are not transposed; NULL: all. */
    const uint32_t *kept;
    size_t kept_step;
    float scale;
};

/* What the context of a product of two operands begins with. */
struct operand_pair {
    struct operand a, b; /* of one type */
    int k;
};

/* The product's multiplier and its words, of operands of a type; its functions that pack, too. */
void operands_set(struct product *, const struct device *, const struct operand_pair *);

#endif
