/* Where an interrupted training goes on: parameters, optimizer state and counters in one
 * safetensors file, with the settings of the run and a digest of its bytes in the metadata. */
#ifndef DUQ_MODEL_CHECKPOINT_H
#define DUQ_MODEL_CHECKPOINT_H

#include "common/model/optimizer.h"

#include <jansson.h>
#include <stdbool.h>

struct training_place {
    unsigned long step; /* optimizer steps taken */
    unsigned long pass; /* forward passes made */
};

/* Replaces the file at path in one go. settings: what must be the same for the run to go on. */
void checkpoint_write(const char *path, const struct parameter *parameters, size_t count,
                      const struct training_place *place, const json_t *settings);

/* Reads it into the parameters; false when there is no such file. Dies (EX_DATAERR) when it is
 * damaged, holds other parameters, or was made with other settings (the first that differs is
 * named, with both values). */
bool checkpoint_read(const char *path, struct parameter *parameters, size_t count,
                     struct training_place *place, const json_t *settings);

/* Dies (EX_DATAERR), naming path and the first setting that differs. */
void check_same_settings(const char *path, const json_t *then, const json_t *now);

#endif
