/* A growing list of token ids. */
#ifndef DUQ_TEXT_IDS_H
#define DUQ_TEXT_IDS_H

#include <stddef.h>
#include <stdint.h>

/* Start from {0}. */
struct ids {
    int32_t *data;
    size_t len, cap;
};

void ids_reserve(struct ids *list, size_t extra);
void ids_add(struct ids *list, int32_t id);
void ids_append(struct ids *list, const int32_t *ids, size_t n);
/* The ids from number first on; NULL where the list has never held any. */
const int32_t *ids_from(const struct ids *list, size_t first);
void ids_free(struct ids *list);

#endif
