/* What the files that make, read and write adapters share. */
#ifndef DUQ_MODEL_ADAPTER_PARTS_H
#define DUQ_MODEL_ADAPTER_PARTS_H

#include "common/model/adapter.h"

/* What PEFT puts before a module's name in a tensor's. */
#define PEFT_PREFIX "base_model.model."

enum projection part_projection(const struct adapter *a, size_t part);

/* What B A is multiplied by. */
double adapter_scale(const struct adapter_settings *s, double alpha, int rank);

/* Modules, shapes, ranks and scales of every possible part; a and b are NULL. */
struct adapter *empty_adapter(const struct config *c, const struct adapter_settings *s);

#endif
