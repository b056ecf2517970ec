#include "common/stream/id_index.h"

#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Open addressing over the numbers; the names lie NUL-terminated in one buffer. */
struct id_index {
    size_t *slots; /* number + 1; 0 is empty */
    size_t n_slots;
    size_t *starts; /* of the names */
    size_t count, capacity;
    struct buf names;
};

struct id_index *id_index_new(void)
{
    struct id_index *x = xcalloc(1, sizeof *x);
    x->n_slots = 64;
    x->slots = xcalloc(x->n_slots, sizeof *x->slots);
    return x;
}

const char *id_index_name(const struct id_index *x, size_t number)
{
    return x->names.data + x->starts[number];
}

size_t id_index_count(const struct id_index *x)
{
    return x->count;
}

/* The slot that holds the id, or the empty one where it belongs. */
static size_t slot_of(const struct id_index *x, const char *id)
{
    size_t slot = XXH64(id, strlen(id), 0) & (x->n_slots - 1);
    while (x->slots[slot] && strcmp(id_index_name(x, x->slots[slot] - 1), id))
        slot = (slot + 1) & (x->n_slots - 1);
    return slot;
}

static void grow(struct id_index *x)
{
    free(x->slots);
    x->n_slots *= 2;
    x->slots = xcalloc(x->n_slots, sizeof *x->slots);
    for (size_t i = 0; i < x->count; i++)
        x->slots[slot_of(x, id_index_name(x, i))] = i + 1;
}

size_t id_index_add(struct id_index *x, const char *id, bool *added)
{
    size_t slot = slot_of(x, id);
    bool is_new = x->slots[slot] == 0;
    if (added)
        *added = is_new;
    if (!is_new)
        return x->slots[slot] - 1;
    if (x->count == x->capacity) {
        x->capacity = x->capacity ? 2 * x->capacity : 64;
        x->starts = xreallocarray(x->starts, x->capacity, sizeof *x->starts);
    }
    size_t number = x->count++;
    x->starts[number] = x->names.len;
    buf_add(&x->names, id, strlen(id) + 1);
    x->slots[slot] = number + 1;
    if (2 * x->count > x->n_slots)
        grow(x);
    return number;
}

bool id_index_find(const struct id_index *x, const char *id, size_t *number)
{
    size_t slot = slot_of(x, id);
    if (!x->slots[slot])
        return false;
    *number = x->slots[slot] - 1;
    return true;
}

void id_index_free(struct id_index *x)
{
    if (!x)
        return;
    free(x->slots);
    free(x->starts);
    buf_free(&x->names);
    free(x);
}
