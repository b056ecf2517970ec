/* What the files that read config.json share. */
#ifndef DUQ_MODEL_CONFIG_PARTS_H
#define DUQ_MODEL_CONFIG_PARTS_H

#include "common/model/config.h"

/* The file being read, for messages. */
struct source {
    const char *path;
    json_t *root;
};

/* Whether o has the key, and not null. */
bool given(const json_t *o, const char *key);

/* Values of an object's key. They die (EX_DATAERR), naming file and key, where it is another kind
 * of value. fallback: where it is absent or null; a negative one, for get_real 0, where it must be
 * there. Reals are positive and fit in a float. */
int get_int(const struct source *s, const char *key, int fallback);
bool get_bool(const struct source *s, const char *key);
double get_real(const struct source *s, const json_t *o, const char *key, double fallback);

/* c->frequency and c->rope_magnitude, from head_dim and max_positions. */
void config_read_rope(const struct source *s, struct config *c);

/* Dies (EX_DATAERR) at a key that none of the engine's models knows, unless its value is null or
 * false: it may say that the model computes something else. */
void config_check_keys(const struct source *s);

#endif
