#include "common/text/pieces.h"

#include "common/util/mem.h"

#include <stdlib.h>

void pieces_add(struct pieces *p, struct piece piece)
{
    if (piece.len == 0)
        return;
    if (p->len == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 256;
        p->data = xreallocarray(p->data, p->cap, sizeof *p->data);
    }
    p->data[p->len++] = piece;
}

void pieces_add_part(struct pieces *p, const struct piece *of, size_t start, size_t end)
{
    pieces_add(p,
               (struct piece){of->s + start, end - start, of->token, of->at_start && start == 0});
}

void pieces_free(struct pieces *p)
{
    free(p->data);
    *p = (struct pieces){0};
}
