#include "kernels/cpu/product.h"

#include "common/util/mem.h"
#include "common/util/threads.h"

#include <stdlib.h>

/* A piece takes BLOCK_ROWS rows, whose block of the sum stays in the second-level cache while its
 * panels of B come by. */
enum { BLOCK_ROWS = 256, MOST_PANELS = 4 };

void *room_reserve(struct room *r, size_t bytes)
{
    if (r->bytes < bytes) {
        free(r->p);
        r->p = xaligned(bytes);
        r->bytes = bytes;
    }
    return r->p;
}

/* ---- packing ---- */

void panel_of_rows(const struct multiplier *m, const void *from, size_t row_step, size_t bytes,
                   int count, uint32_t *to)
{
    enum { CHUNK_BYTES = CHUNK * sizeof *to };
    int rows = m->padded ? m->rows : count;
    for (size_t at = 0; at < bytes; at += CHUNK_BYTES) {
        size_t n = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;
        for (int r = 0; r < count; r++, to += CHUNK) {
            const char *row = (const char *)from + (size_t)r * row_step + at;
            if (n == CHUNK_BYTES) {
                memcpy(to, row, CHUNK_BYTES);
            } else {
                memset(to, 0, CHUNK_BYTES);
                memcpy(to, row, n);
            }
        }
        memset(to, 0, (size_t)(rows - count) * CHUNK_BYTES);
        to += (rows - count) * CHUNK;
    }
}

void panel_of_columns(const struct path *path, const void *words, size_t step, int k, int count,
                      uint32_t *to)
{
    const uint32_t *from = words;
    uint32_t block[CHUNK * CHUNK] = {0}, turned[CHUNK * CHUNK];
    for (int first = 0; first < k; first += CHUNK, to += count * CHUNK) {
        int n = k - first < CHUNK ? k - first : CHUNK;
        for (int i = 0; i < CHUNK; i++)
            if (i < n)
                memcpy(block + i * CHUNK, from + (size_t)(first + i) * step,
                       (size_t)count * sizeof *from);
            else
                memset(block + i * CHUNK, 0, CHUNK * sizeof *block);
        path->transpose16(block, CHUNK, turned, CHUNK);
        memcpy(to, turned, (size_t)count * CHUNK * sizeof *to);
    }
}

void panels_multiply(const struct multiplier *m, const uint32_t *a, size_t step, int word,
                     const uint32_t *b, int rows, int columns, int n, float *c, bool add)
{
    int last = rows % m->rows, whole = rows - last;
    if (whole)
        m->multiply(a + (size_t)word * (size_t)m->rows, step, b, whole, columns, n, c, add);
    if (!last)
        return;
    /* Where a last panel of A is not filled up, its chunks lie closer. */
    int wide = m->padded ? m->rows : last;
    a += (size_t)(whole / m->rows) * step + (size_t)word * (size_t)wide;
    m->multiply(a, 0, b, last, columns, n, c + whole * PANEL, add);
}

/* ---- the cut ---- */

/* Of one product and the rows of A that are packed at the time. */
struct cut {
    const struct product *product;
    uint32_t *packed;
    size_t panel_words; /* of a full packed panel of A */
    int first, rows;    /* of A */
    int block_rows, blocks;
    int panels, panels_a_piece; /* of B */
};

static void pack_piece(void *context, size_t piece)
{
    const struct cut *c = context;
    const struct product *p = c->product;
    int first = (int)piece * p->multiplier->rows, left = c->rows - first;
    p->pack_rows(p, c->first + first, left < p->multiplier->rows ? left : p->multiplier->rows,
                 c->packed + piece * c->panel_words);
}

static void store_panels(const struct cut *c, int row, int rows, int panel, int panels,
                         const float *sums)
{
    const struct product *p = c->product;
    int column = panel * PANEL, columns = p->columns - column;
    columns = columns < panels * PANEL ? columns : panels * PANEL;
    size_t at = (size_t)(c->first + row) * p->y_step + (size_t)column;
    p->path->store(sums, BLOCK_ROWS * PANEL, rows, columns, p->scale,
                   p->bias ? p->bias + column : NULL, p->y + at, p->y_step, p->accumulate);
}

static void multiply_piece(void *context, size_t piece)
{
    const struct cut *c = context;
    const struct product *p = c->product;
    uint32_t scratch[BLOCK_WORDS * PANEL] __attribute__((aligned(64)));
    float sums[MOST_PANELS][BLOCK_ROWS * PANEL] __attribute__((aligned(64)));
    int row = (int)(piece % (size_t)c->blocks) * c->block_rows;
    int panel = (int)(piece / (size_t)c->blocks) * c->panels_a_piece;
    int rows = c->rows - row < c->block_rows ? c->rows - row : c->block_rows;
    int panels = c->panels - panel < c->panels_a_piece ? c->panels - panel : c->panels_a_piece;
    const uint32_t *a = c->packed + (size_t)(row / p->multiplier->rows) * c->panel_words;
    /* Of the last panel half may do. */
    int beyond = (panel + panels) * PANEL - p->columns;
    multiplier_begin(p->multiplier);
    for (int word = 0; word < p->words; word += BLOCK_WORDS) {
        int n = p->words - word < BLOCK_WORDS ? p->words - word : BLOCK_WORDS;
        for (int i = 0; i < panels; i++)
            panels_multiply(p->multiplier, a, c->panel_words, word,
                            p->columns_of(p, panel + i, word, n, scratch), rows,
                            i == panels - 1 && beyond >= CHUNK ? CHUNK : PANEL, n, sums[i],
                            word > 0);
    }
    multiplier_end(p->multiplier);
    if (p->store_pair)
        for (int i = 0; i < panels; i += 2)
            p->store_pair(p, c->first + row, rows, panel + i, sums[i], sums[i + 1]);
    else
        store_panels(c, row, rows, panel, panels, sums[0]);
}

void product_run(const struct product *p, struct room *room)
{
    const struct multiplier *m = p->multiplier;
    struct cut c = {.product = p,
                    .panel_words = (size_t)chunks_of(p->words) * CHUNK * (size_t)m->rows,
                    .panels = (p->columns + PANEL - 1) / PANEL,
                    .block_rows = BLOCK_ROWS / m->rows * m->rows};
    int at_once = p->rows < ROWS_AT_ONCE ? p->rows : ROWS_AT_ONCE;
    size_t a_panels = (size_t)(at_once + m->rows - 1) / (size_t)m->rows;
    c.packed = room_reserve(room, a_panels * c.panel_words * sizeof *c.packed);
    for (; c.first < p->rows; c.first += ROWS_AT_ONCE) {
        c.rows = p->rows - c.first < ROWS_AT_ONCE ? p->rows - c.first : ROWS_AT_ONCE;
        c.blocks = (c.rows + c.block_rows - 1) / c.block_rows;
        /* Four pieces a thread even out what one of them loses; larger pieces use A more often. */
        int share = c.panels * c.blocks / (4 * threads_count());
        c.panels_a_piece = share < 1 ? 1 : share < MOST_PANELS ? share : MOST_PANELS;
        if (p->store_pair)
            c.panels_a_piece = (c.panels_a_piece + 1) / 2 * 2;
        int pieces = (c.panels + c.panels_a_piece - 1) / c.panels_a_piece * c.blocks;
        threads_run((size_t)(c.rows + m->rows - 1) / (size_t)m->rows, pack_piece, &c);
        threads_run((size_t)pieces, multiply_piece, &c);
    }
}
