/* Attention over packed sequences with shared prefixes.
 *
 * A piece is PANEL queries of one sequence and key head. It goes through the blocks of keys with a
 * running maximum and sum (Milakov & Gimelshein 2018; Dao et al. 2022): scores = K Q^T, and
 * out^T = V^T p. A query's column never meets another's, and blocks begin at position 0 whether a
 * key lies in the prefix or is the sequence's own: so each query's result has the same bits however
 * the work was shared or packed. */
#include "kernels/cpu/attention_panels.h"

#include "common/math/logarithm.h"
#include "common/util/mem.h"
#include "common/util/threads.h"

#include <stdlib.h>

struct attend {
    struct operands operands;
    enum dtype out_type;
    struct key_runs keys;
    struct packed_keys packed; /* rows of k, columns of v */
    struct query_panel *queries;
};

/* One piece's buffers, and its queries' running maximum and sum. */
struct sweep {
    float *rows;                     /* [PANEL][row_floats] */
    uint32_t *q;                     /* [row_floats][PANEL] */
    float *out;                      /* the same, and room for a panel's last rows */
    float scores[KEY_BLOCK * PANEL]; /* then probabilities */
    uint32_t narrow[KEY_BLOCK / 2 * PANEL];
    float maximum[PANEL], sum[PANEL], shrink[PANEL];
};

static struct sweep *sweep_open(const struct operands *o)
{
    struct sweep *s = xaligned(sizeof *s);
    size_t panel = (size_t)o->row_floats * PANEL;
    s->rows = xaligned((3 * panel + MOST_PANEL_ROWS * PANEL) * sizeof *s->rows);
    s->q = (void *)(s->rows + panel);
    s->out = s->rows + 2 * panel;
    memset(s->out, 0, panel * sizeof *s->out);
    for (int c = 0; c < PANEL; c++) {
        s->maximum[c] = -1e30f; /* finite, so that no difference of infinities arises */
        s->sum[c] = 0;
    }
    return s;
}

static void sweep_close(struct sweep *s)
{
    free(s->rows);
    free(s);
}

static void sweep_block(const struct attend *t, const struct query_panel *p, int block,
                        struct sweep *s)
{
    const struct operands *o = &t->operands;
    const struct key_run *r = run_of_block(&t->keys, p->span, block);
    size_t at = packed_block(o, r, block, p->kv_head);
    int n = keys_of_block(r, block);
    score_block(o, p, block, n, t->packed.k_rows + at * t->packed.row_size, s->q, s->scores, NULL);
    o->path->softmax_block(s->scores, n, s->maximum, s->sum, s->shrink);
    o->path->scale_columns(s->out, o->head_dim, s->shrink);
    int words = position_words(o, n);
    panels_multiply(o->multiplier, t->packed.v_columns + at * t->packed.column_size,
                    panel_step(o, words), 0, pack_scores(o, s->scores, n, s->narrow), o->head_dim,
                    PANEL, words, s->out, true);
}

static void store_queries(const struct attend *t, const struct query_panel *p, struct sweep *s)
{
    const struct operands *o = &t->operands;
    const struct attention *a = o->a;
    float over_sum[PANEL];
    for (int c = 0; c < PANEL; c++)
        over_sum[c] = 1.0f / s->sum[c];
    o->path->scale_columns(s->out, o->head_dim, over_sum);
    turn_columns(o, s->out, s->rows);
    for (int c = 0; c < p->queries; c++) {
        const float *row = s->rows + (size_t)c * (size_t)o->row_floats;
        size_t first = p->row[c] * (size_t)o->head_dim, n = (size_t)o->head_dim;
        char *out = (char *)a->out + first * dtype_size(t->out_type);
        if (t->out_type == F32)
            memcpy(out, row, n * sizeof *row);
        else
            o->path->narrow(row, n, out);
        if (a->lse)
            a->lse[p->row[c]] = s->maximum[c] + natural_log(s->sum[c]);
    }
}

static void attend_piece(void *context, size_t piece)
{
    const struct attend *t = context;
    const struct operands *o = &t->operands;
    const struct query_panel *p = &t->queries[piece];
    struct sweep *s = sweep_open(o);
    gather_queries(o, p, o->a->q, o->a->scale, true, s->rows);
    pack_query_columns(o, s->rows, s->q);
    multiplier_begin(o->multiplier);
    for (int block = first_block(o, p); block <= last_block(p); block++)
        sweep_block(t, p, block, s);
    multiplier_end(o->multiplier);
    store_queries(t, p, s);
    sweep_close(s);
}

void cpu_attention(struct device *d, const struct attention *a)
{
    /* Gradients by q and k are small differences of large numbers: training, which alone asks for
     * lse, attends in f32 both ways. */
    enum dtype type = a->lse ? F32 : d->compute;
    struct attend t = {.operands = operands_of(d, a, type), .out_type = d->compute};
    const struct operands *o = &t.operands;
    size_t panels;
    t.keys = key_runs_of(a);
    t.queries = query_panels_of(a, &panels);
    struct packed_keys *p = &t.packed;
    *p = (struct packed_keys){.row_size = key_rows_size(o), .column_size = key_columns_size(o)};
    p->k_rows = room_reserve(cpu_room(d),
                             t.keys.blocks * (p->row_size + p->column_size) * sizeof *p->k_rows);
    p->v_columns = p->k_rows + t.keys.blocks * p->row_size;
    pack_keys(o, &t.keys, p);
    threads_run(panels, attend_piece, &t);
    key_runs_free(&t.keys);
    free(t.queries);
}
