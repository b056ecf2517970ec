#include "common/text/scored_pieces.h"

#include "common/text/unicode.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdlib.h>

static int by_score(const void *a, const void *b)
{
    const struct scored_piece *x = *(struct scored_piece *const *)a,
                              *y = *(struct scored_piece *const *)b;
    return (x->score < y->score) - (x->score > y->score);
}

/* Merging starts from characters, so each must be a piece itself. */
static void need_characters(const struct bpe *bpe, const struct scored_piece *p, const char *path)
{
    for (size_t i = 0, n; i < p->len; i += n) {
        n = utf8_len((unsigned char)p->s[i]);
        if (bpe_find(bpe, p->s + i, n) == NO_TOKEN)
            die(EX_DATAERR, "%s: the piece '%.*s' holds '%.*s', which is no piece itself", path,
                (int)p->len, p->s, (int)n, p->s + i);
    }
}

static void add_merges_into(struct bpe *bpe, const struct scored_piece *pieces,
                            const struct scored_piece *p, uint32_t rank)
{
    int32_t merged = (int32_t)(p - pieces);
    for (size_t i = utf8_len((unsigned char)p->s[0]); i < p->len;
         i += utf8_len((unsigned char)p->s[i])) {
        int32_t left = bpe_find(bpe, p->s, i), right = bpe_find(bpe, p->s + i, p->len - i);
        if (left != NO_TOKEN && right != NO_TOKEN && pieces[left].type == PIECE_NORMAL &&
            pieces[right].type == PIECE_NORMAL)
            bpe_add_merge(bpe, left, right, merged, rank);
    }
}

void scored_pieces_merge(struct bpe *bpe, const struct scored_piece *pieces, size_t n,
                         const char *path)
{
    const struct scored_piece **order = xreallocarray(NULL, n + 1, sizeof *order);
    size_t normal = 0;
    for (size_t i = 0; i < n; i++)
        if (pieces[i].type == PIECE_NORMAL)
            order[normal++] = &pieces[i];
    qsort(order, normal, sizeof *order, by_score);
    uint32_t rank = 0;
    for (size_t i = 0; i < normal; i++) {
        if (i && order[i]->score != order[i - 1]->score)
            rank++;
        need_characters(bpe, order[i], path);
        add_merges_into(bpe, pieces, order[i], rank);
    }
    free(order);
}
