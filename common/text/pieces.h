/* A text in pieces: what the steps before the model cut it into. */
#ifndef DUQ_TEXT_PIECES_H
#define DUQ_TEXT_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct piece {
    const char *s;
    size_t len;
    int32_t token; /* an added token's id, or NO_TOKEN (bpe.h) */
    bool at_start; /* begins where the whole text does */
};

/* Start from {0}. */
struct pieces {
    struct piece *data;
    size_t len, cap;
};

/* Empty pieces are left out. */
void pieces_add(struct pieces *p, struct piece piece);
/* A part of a piece, from byte start to end. */
void pieces_add_part(struct pieces *p, const struct piece *of, size_t start, size_t end);
void pieces_free(struct pieces *p);

#endif
