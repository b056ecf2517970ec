/* What the files that make, read and write adapters share. */
#ifndef DUQ_MODEL_ADAPTER_PARTS_H
#define DUQ_MODEL_ADAPTER_PARTS_H

#include "common/model/adapter.h"
#include "common/model/safetensors.h"

/* What PEFT puts before a module's name in a tensor's. */
#define PEFT_PREFIX "base_model.model."

enum projection part_projection(const struct adapter *a, size_t part);

/* What B A is multiplied by. */
double adapter_scale(const struct adapter_settings *s, double alpha, int rank);

/* Of the tensors' names and bytes. duq.json has it of the
 * adapter's own, so that neither is taken for another's. */
void adapter_weights_digest(const struct safetensors *tensors, char digest[DIGEST_SIZE]);

/* Modules, shapes, ranks and scales of every possible part; a and b are NULL. */
struct adapter *empty_adapter(const struct config *c, const struct adapter_settings *s);

#endif
