#include "common/text/arena.h"

#include "common/util/mem.h"

#include <stdlib.h>

struct arena_block {
    struct arena_block *next;
    size_t size;
    char bytes[];
};

enum { FIRST_BLOCK = 1 << 16 };

char *arena_take(struct arena *a, size_t size)
{
    if (!a->blocks || size > a->blocks->size - a->used) {
        size_t wanted = a->blocks ? a->blocks->size * 2 : FIRST_BLOCK;
        if (wanted < size)
            wanted = size;
        struct arena_block *b = xmalloc(sizeof *b + wanted);
        b->size = wanted;
        b->next = a->blocks;
        a->blocks = b;
        a->used = 0;
    }
    char *p = a->blocks->bytes + a->used;
    a->used += size;
    return p;
}

void *arena_take_aligned(struct arena *a, size_t size)
{
    enum { ALIGNMENT = _Alignof(max_align_t) };
    _Static_assert(offsetof(struct arena_block, bytes) % ALIGNMENT == 0, "blocks begin aligned");
    a->used += (ALIGNMENT - a->used % ALIGNMENT) % ALIGNMENT;
    if (a->blocks && a->used > a->blocks->size)
        a->used = a->blocks->size;
    return arena_take(a, size);
}

static void free_blocks(struct arena_block *b)
{
    while (b) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
}

void arena_reset(struct arena *a)
{
    a->used = 0;
    if (!a->blocks)
        return;
    free_blocks(a->blocks->next);
    a->blocks->next = NULL;
}

void arena_free(struct arena *a)
{
    free_blocks(a->blocks);
    *a = (struct arena){0};
}
