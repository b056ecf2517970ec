/* Where an interrupted training goes on: parameters, optimizer state and counters in one
 * safetensors file, with the settings of the run and a digest of its bytes in the metadata. */
#ifndef DUQ_TRAIN_CHECKPOINT_H
#define DUQ_TRAIN_CHECKPOINT_H

#include "common/train/validation.h"

#include <jansson.h>
#include <stdbool.h>

/* A matrix of the adapter, or a number that is trained beside it: a piece of the state's arrays. */
struct parameter {
    char *name; /* as in the adapter's file */
    size_t first, n;
};

enum { STATE_VALUES, STATE_M, STATE_V, STATE_ARRAYS };

/* All of a training's state, on the host. */
struct training_state {
    struct parameter *parameters; /* [count] */
    size_t count;
    float *arrays[STATE_ARRAYS]; /* [n]: the parameters, and AdamW's moving averages */
    size_t n;
    unsigned long step; /* optimizer steps taken */
    unsigned long pass; /* forward passes made */
    /* The validation with the lowest loss so far, its step 0 where there was none; how many came
     * after it; and the parameters of its time, [n], or NULL where they are not kept. */
    struct validation best;
    unsigned long since_best;
    float *best_values;
};

/* Replaces the file at path in one go. settings: what must be the same for the run to go on. */
void checkpoint_write(const char *path, const struct training_state *s, const json_t *settings);

/* Reads it into a state that has its parameters; false when there is no such file. Dies
 * (EX_DATAERR) when it is damaged, holds other parameters, or was made by another version or with
 * other settings (the first that differs is named, with both values). */
bool checkpoint_read(const char *path, struct training_state *s, const json_t *settings);

#endif
