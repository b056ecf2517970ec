#include "kernels/cpu/operand.h"

#include "common/util/mem.h"

#include <stdlib.h>

/* bf16 operands are multiplied in pairs, or widened. */
static bool in_pairs(const struct product *p)
{
    return p->multiplier == &p->path->bf16;
}

/* An operand that is packed as it lies: of single words, none of which is dropped. */
static bool as_it_lies(const struct operand *o)
{
    return o->type == F32 && !o->kept;
}

/* Elements first, ..., first + n - 1 of a row, at `to`, in the operand's type; first is a multiple
 * of 32 where some are dropped. */
static void copy_row(const struct product *p, const struct operand *o, int row, int first, int n,
                     void *to)
{
    size_t size = dtype_size(o->type);
    const void *from = (const char *)o->p + ((size_t)row * o->step + (size_t)first) * size;
    const uint32_t *kept =
        o->kept ? o->kept + (size_t)row * o->kept_step + (size_t)first / 32 : NULL;
    if (!kept)
        memcpy(to, from, (size_t)n * size);
    else if (o->type == F32)
        p->path->drop(kept, n, from, o->scale, to);
    else
        p->path->drop_bf16(kept, n, from, to);
}

/* The same as f32. */
static void widen_row(const struct product *p, const struct operand *o, int row, int first, int n,
                      float *to)
{
    enum { PIECE = 256 };
    uint16_t piece[PIECE];
    if (o->type == F32) {
        copy_row(p, o, row, first, n, to);
        return;
    }
    for (; n > 0; first += PIECE, to += PIECE, n -= PIECE) {
        int some = n < PIECE ? n : PIECE;
        copy_row(p, o, row, first, some, piece);
        p->path->widen(BF16, piece, (size_t)some, to);
    }
}

/* Word `word` of the sum, of the columns first, ..., first + n - 1 of a matrix [k, .]. */
static void words_of_columns(const struct product *p, const struct operand *o, int k, int word,
                             int first, int n, uint32_t *to)
{
    uint16_t low[PANEL], high[PANEL] = {0};
    if (!in_pairs(p)) {
        widen_row(p, o, word, first, n, (void *)to);
        return;
    }
    if (2 * word >= k) {
        memset(to, 0, (size_t)n * sizeof *to);
        return;
    }
    copy_row(p, o, 2 * word, first, n, low);
    if (2 * word + 1 < k)
        copy_row(p, o, 2 * word + 1, first, n, high);
    p->path->zip(low, high, (size_t)n, to);
}

/* CHUNK words of the sum from `word` on, of one row of a matrix [., k], zeros past its end. */
static void words_of_row(const struct product *p, const struct operand *o, int k, int row, int word,
                         uint32_t *to)
{
    int per_word = in_pairs(p) ? 2 : 1, first = word * per_word;
    int n = k - first < CHUNK * per_word ? k - first : CHUNK * per_word;
    if (n < CHUNK * per_word)
        memset(to, 0, CHUNK * sizeof *to);
    if (n <= 0)
        return;
    if (in_pairs(p))
        copy_row(p, o, row, first, n, to);
    else
        widen_row(p, o, row, first, n, (void *)to);
}

static void pack_a_rows(const struct product *p, const struct operand_pair *s, int first, int count,
                        uint32_t *panel)
{
    const struct operand *a = &s->a;
    size_t size = in_pairs(p) ? 2 : sizeof(float), row = (size_t)s->k * size;
    if (!a->kept && (in_pairs(p) || a->type == F32)) {
        panel_of_rows(p->multiplier, (const char *)a->p + (size_t)first * a->step * size,
                      a->step * size, row, count, panel);
        return;
    }
    char *rows = xaligned((size_t)count * row);
    for (int r = 0; r < count; r++)
        if (in_pairs(p))
            copy_row(p, a, first + r, 0, s->k, rows + (size_t)r * row);
        else
            widen_row(p, a, first + r, 0, s->k, (void *)(rows + (size_t)r * row));
    panel_of_rows(p->multiplier, rows, row, row, count, panel);
    free(rows);
}

static void pack_a(const struct product *p, int first, int count, uint32_t *panel)
{
    const struct operand_pair *s = p->context;
    if (!s->a.transpose) {
        pack_a_rows(p, s, first, count, panel);
        return;
    }
    if (as_it_lies(&s->a)) {
        panel_of_columns(p->path, (const float *)s->a.p + first, s->a.step, s->k, count, panel);
        return;
    }
    int rows = p->multiplier->padded ? p->multiplier->rows : count;
    uint32_t block[CHUNK * CHUNK] = {0}, turned[CHUNK * CHUNK];
    for (int word = 0; word < p->words; word += CHUNK, panel += rows * CHUNK) {
        int n = p->words - word < CHUNK ? p->words - word : CHUNK;
        for (int i = 0; i < CHUNK; i++)
            if (i < n)
                words_of_columns(p, &s->a, s->k, word + i, first, count, block + i * CHUNK);
            else
                memset(block + i * CHUNK, 0, CHUNK * sizeof *block);
        p->path->transpose16(block, CHUNK, turned, CHUNK);
        memcpy(panel, turned, (size_t)rows * CHUNK * sizeof *panel);
    }
}

static const uint32_t *pack_b(const struct product *p, int panel, int first, int n, void *scratch)
{
    const struct operand_pair *s = p->context;
    int column = panel * PANEL, left = p->columns - column;
    int columns = left < PANEL ? left : PANEL;
    uint32_t *to = scratch;
    if (!s->b.transpose && as_it_lies(&s->b)) {
        const float *from = (const float *)s->b.p + (size_t)first * s->b.step + (size_t)column;
        for (int i = 0; i < n; i++, from += s->b.step)
            memcpy(to + i * PANEL, from, (size_t)columns * sizeof *from);
        return scratch;
    }
    if (!s->b.transpose) {
        for (int i = 0; i < n; i++)
            words_of_columns(p, &s->b, s->k, first + i, column, columns, to + i * PANEL);
        return scratch;
    }
    uint32_t block[CHUNK * CHUNK] = {0}, turned[CHUNK * CHUNK];
    for (int half = 0; half < columns; half += CHUNK)
        for (int word = 0; word < n; word += CHUNK) {
            for (int i = 0; i < CHUNK && half + i < columns; i++)
                words_of_row(p, &s->b, s->k, column + half + i, first + word, block + i * CHUNK);
            p->path->transpose16(block, CHUNK, turned, CHUNK);
            int some = n - word < CHUNK ? n - word : CHUNK;
            for (int i = 0; i < some; i++)
                memcpy(to + (word + i) * PANEL + half, turned + i * CHUNK, CHUNK * sizeof *to);
        }
    return scratch;
}

void operands_set(struct product *p, const struct device *d, const struct operand_pair *s)
{
    p->path = cpu_path(d);
    bool pairs = s->a.type == BF16 && p->path->bf16.multiply;
    p->multiplier = pairs ? &p->path->bf16 : &p->path->f32;
    p->words = pairs ? chunks_of((s->k + 1) / 2) * CHUNK : s->k;
    p->context = s;
    p->pack_rows = pack_a;
    p->columns_of = pack_b;
}
