/* The table that a training writes of its steps (lora-train --log); common/eval reads it. */
#ifndef DUQ_TRAIN_LOG_H
#define DUQ_TRAIN_LOG_H

#include "common/train/validation.h"

struct log;

/* Goes on after the line of step `taken` where the file has it, 0: begins anew. validated: it has
 * columns of validation's figures. Dies (EX_CANTCREAT, EX_IOERR). */
struct log *log_open(const char *path, unsigned long taken, bool validated);
/* A step's line: its number, the loss before it and its learning rate; v: what was measured after
 * it, or NULL. */
void log_step(struct log *l, unsigned long step, double loss, double rate,
              const struct validation *v);
void log_close(struct log *l);

#endif
