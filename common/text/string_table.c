#include "common/text/string_table.h"

#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct entry {
    size_t start;
    uint32_t len;
    bool used;
};

/* The hash beside the number: strings that differ are told apart without a look at either. */
struct slot {
    uint32_t hash;
    int32_t number; /* -1: free */
};

struct string_table {
    struct buf bytes;
    struct entry *entries; /* by number */
    int32_t size, cap;
    struct slot *slots; /* a power of two of them */
    size_t n_slots, count;
};

static uint32_t hash_of(const char *s, size_t len)
{
    return (uint32_t)XXH3_64bits(s, len);
}

struct string_table *string_table_new(void)
{
    return xcalloc(1, sizeof(struct string_table));
}

void string_table_free(struct string_table *t)
{
    if (!t)
        return;
    buf_free(&t->bytes);
    free(t->entries);
    free(t->slots);
    free(t);
}

/* The slot that holds the string, or the free one where it belongs. */
static size_t slot_of(const struct string_table *t, const char *s, size_t len, uint32_t hash)
{
    size_t i = hash & (t->n_slots - 1);
    for (; t->slots[i].number >= 0; i = (i + 1) & (t->n_slots - 1)) {
        if (t->slots[i].hash != hash)
            continue;
        const struct entry *e = &t->entries[t->slots[i].number];
        if (same_bytes(t->bytes.data + e->start, e->len, s, len))
            break;
    }
    return i;
}

static void grow_slots(struct string_table *t)
{
    size_t n = t->n_slots ? t->n_slots * 2 : 1024;
    struct slot *slots = xreallocarray(NULL, n, sizeof *slots);
    memset(slots, 0xFF, n * sizeof *slots);
    for (size_t k = 0; k < t->n_slots; k++) {
        if (t->slots[k].number < 0)
            continue;
        size_t i = t->slots[k].hash & (n - 1);
        while (slots[i].number >= 0)
            i = (i + 1) & (n - 1);
        slots[i] = t->slots[k];
    }
    free(t->slots);
    t->slots = slots;
    t->n_slots = n;
}

static void grow_entries(struct string_table *t, int32_t number)
{
    int32_t cap = t->cap ? t->cap : 1024;
    while (cap <= number)
        cap = cap > INT32_MAX / 2 ? INT32_MAX : cap * 2;
    t->entries = xreallocarray(t->entries, (size_t)cap, sizeof *t->entries);
    memset(t->entries + t->cap, 0, (size_t)(cap - t->cap) * sizeof *t->entries);
    t->cap = cap;
}

bool string_table_add(struct string_table *t, const char *s, size_t len, int32_t number)
{
    if (number < 0 || number == INT32_MAX || len > UINT32_MAX)
        return false;
    if (t->count * 2 >= t->n_slots)
        grow_slots(t);
    uint32_t hash = hash_of(s, len);
    size_t slot = slot_of(t, s, len, hash);
    if (t->slots[slot].number >= 0 || (number < t->size && t->entries[number].used))
        return false;
    if (number >= t->cap)
        grow_entries(t, number);
    t->entries[number] = (struct entry){t->bytes.len, (uint32_t)len, true};
    buf_add(&t->bytes, s, len);
    buf_addc(&t->bytes, '\0');
    if (number >= t->size)
        t->size = number + 1;
    t->slots[slot] = (struct slot){hash, number};
    t->count++;
    return true;
}

int32_t string_table_find(const struct string_table *t, const char *s, size_t len)
{
    return t->n_slots ? t->slots[slot_of(t, s, len, hash_of(s, len))].number : -1;
}

const char *string_table_get(const struct string_table *t, int32_t number, size_t *len)
{
    if (number < 0 || number >= t->size || !t->entries[number].used)
        return NULL;
    if (len)
        *len = t->entries[number].len;
    return t->bytes.data + t->entries[number].start;
}

int32_t string_table_size(const struct string_table *t)
{
    return t->size;
}
