/* Which texts an ensemble was fitted on, told by their ids and scores. */
#ifndef DUQ_UQ_FITTED_ON_H
#define DUQ_UQ_FITTED_ON_H

#include "common/uq/validation.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For the header of weights: each text's digest, 16 hex digits, ascending, one after another; of
 * its id and of its logits [n_classes] under one prompt. Equal ids in two files do not make two
 * texts one. New reference. */
json_t *fitted_on_json(const struct validation *v, size_t prompt);

struct fitted_on {
    uint64_t *digests; /* [n], ascending */
    size_t n;
};

/* What the header says; n is 0 where it says nothing. Dies (EX_DATAERR) where it is damaged. */
struct fitted_on fitted_on_read(const json_t *header, const char *path);
bool fitted_on_holds(const struct fitted_on *f, const char *id, const float *logits,
                     size_t n_classes);
void fitted_on_free(struct fitted_on *f);

#endif
