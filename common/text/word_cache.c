#include "common/text/word_cache.h"

#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* 2^18 words at half load take 16 MB of slots: more distinct words than most data sets have. */
enum { FIRST_SLOTS = 1 << 12, MOST_SLOTS = 1 << 19 };

struct slot {
    uint64_t hash;
    uint32_t word, first; /* where in words and ids */
    uint16_t len, n;      /* len 0: free */
};

struct word_cache {
    struct slot *slots;
    size_t n_slots, count;
    struct buf words;
    struct ids ids;
};

struct word_cache *word_cache_new(void)
{
    struct word_cache *c = xcalloc(1, sizeof *c);
    c->n_slots = FIRST_SLOTS;
    c->slots = xcalloc(c->n_slots, sizeof *c->slots);
    return c;
}

void word_cache_free(struct word_cache *c)
{
    if (!c)
        return;
    free(c->slots);
    buf_free(&c->words);
    ids_free(&c->ids);
    free(c);
}

uint64_t word_cache_hash(const char *word, size_t len)
{
    return XXH3_64bits(word, len);
}

bool word_cache_find(const struct word_cache *c, uint64_t hash, const char *word, size_t len,
                     struct ids *out)
{
    for (size_t i = hash & (c->n_slots - 1); c->slots[i].len; i = (i + 1) & (c->n_slots - 1)) {
        const struct slot *s = &c->slots[i];
        if (s->hash == hash && s->len == len && !memcmp(c->words.data + s->word, word, len)) {
            ids_append(out, ids_from(&c->ids, s->first), s->n);
            return true;
        }
    }
    return false;
}

static void put(struct slot *slots, size_t n_slots, const struct slot *s)
{
    size_t i = s->hash & (n_slots - 1);
    while (slots[i].len)
        i = (i + 1) & (n_slots - 1);
    slots[i] = *s;
}

static void make_room(struct word_cache *c)
{
    if (c->n_slots == MOST_SLOTS) {
        memset(c->slots, 0, c->n_slots * sizeof *c->slots);
        c->count = c->words.len = c->ids.len = 0;
        return;
    }
    size_t n = c->n_slots * 2;
    struct slot *slots = xcalloc(n, sizeof *slots);
    for (size_t i = 0; i < c->n_slots; i++)
        if (c->slots[i].len)
            put(slots, n, &c->slots[i]);
    free(c->slots);
    c->slots = slots;
    c->n_slots = n;
}

void word_cache_add(struct word_cache *c, uint64_t hash, const char *word, size_t len,
                    const int32_t *ids, size_t n)
{
    if (c->count * 2 >= c->n_slots)
        make_room(c);
    struct slot s = {hash, (uint32_t)c->words.len, (uint32_t)c->ids.len, (uint16_t)len,
                     (uint16_t)n};
    buf_add(&c->words, word, len);
    ids_append(&c->ids, ids, n);
    put(c->slots, c->n_slots, &s);
    c->count++;
}
