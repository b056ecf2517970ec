#include "common/stream/id_index.h"

#include "common/util/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Open addressing over the numbers; the names lie NUL-terminated in one buffer, which is looked at
 * only where the upper bits of the hashes agree: with millions of ids each look is a cache miss. */
enum { NUMBER_BITS = 40 };

struct id_index {
    uint64_t *slots; /* number + 1, above it the upper bits of the hash; 0 is empty */
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

static uint64_t hash_of(const char *id)
{
    return XXH64(id, strlen(id), 0);
}

static uint64_t number_in(uint64_t slot)
{
    return (slot & ((UINT64_C(1) << NUMBER_BITS) - 1)) - 1;
}

static uint64_t slot_for(uint64_t hash, size_t number)
{
    return hash >> NUMBER_BITS << NUMBER_BITS | (number + 1);
}

/* The slot that holds the id, or the empty one where it belongs. */
static size_t slot_of(const struct id_index *x, const char *id, uint64_t hash)
{
    size_t at = hash & (x->n_slots - 1);
    for (; x->slots[at]; at = (at + 1) & (x->n_slots - 1))
        if ((x->slots[at] ^ hash) >> NUMBER_BITS == 0 &&
            !strcmp(id_index_name(x, number_in(x->slots[at])), id))
            break;
    return at;
}

static void grow(struct id_index *x)
{
    free(x->slots);
    x->n_slots *= 2;
    x->slots = xcalloc(x->n_slots, sizeof *x->slots);
    for (size_t i = 0; i < x->count; i++) {
        uint64_t hash = hash_of(id_index_name(x, i));
        size_t at = hash & (x->n_slots - 1);
        while (x->slots[at])
            at = (at + 1) & (x->n_slots - 1);
        x->slots[at] = slot_for(hash, i);
    }
}

size_t id_index_add(struct id_index *x, const char *id, bool *added)
{
    uint64_t hash = hash_of(id);
    size_t slot = slot_of(x, id, hash);
    bool is_new = x->slots[slot] == 0;
    if (added)
        *added = is_new;
    if (!is_new)
        return number_in(x->slots[slot]);
    if (x->count == x->capacity) {
        x->capacity = x->capacity ? 2 * x->capacity : 64;
        x->starts = xreallocarray(x->starts, x->capacity, sizeof *x->starts);
    }
    size_t number = x->count++;
    x->starts[number] = x->names.len;
    buf_add(&x->names, id, strlen(id) + 1);
    x->slots[slot] = slot_for(hash, number);
    if (2 * x->count > x->n_slots)
        grow(x);
    return number;
}

bool id_index_find(const struct id_index *x, const char *id, size_t *number)
{
    uint64_t slot = x->slots[slot_of(x, id, hash_of(id))];
    if (!slot)
        return false;
    *number = number_in(slot);
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
