/* Gradients of attention over packed sequences with shared prefixes (kernels/cpu/attention.c).
 *
 * For query i and key j:  p = exp(scale q.k - lse),  dp = do.v,  ds = scale p (dp - sum_j p dp);
 * dq_i = sum_j ds k_j,  dk_j = sum_i ds q_i,  dv_j = sum_i p do_i  (Dao et al. 2022). Of capped
 * scores p = exp(cap tanh(scale q.k / cap) - lse), and ds is times the slope of the cap.
 *
 * Two passes, so that no two pieces add to one place and the sums have one order. A piece of the
 * first is a sequence and key head: the gradients of its queries and of its own keys. A piece of
 * the second is a block of a prefix's keys and a key head, and goes through the queries of all
 * sequences that share it. */
#include "kernels/cpu/attention_panels.h"

#include "common/util/mem.h"
#include "common/util/threads.h"

#include <stdlib.h>

/* ---- what all pieces share ---- */

/* A prefix that spans share, as long as the longest of them has it. */
struct prefix {
    int row, longest;
};

struct gradients {
    const struct attention_backward *b;
    struct operands operands;
    struct key_runs keys;
    struct packed_keys packed; /* rows of k and v, columns of k */
    struct query_panel *queries;
    size_t *first_panel;     /* [spans * kv_heads + 1] in queries */
    struct prefix *prefixes; /* each that there is */
    int n_prefixes;
};

/* Where each span's panels of a key head begin: they lie in that order. */
static void find_panels(struct gradients *g, size_t panels)
{
    const struct attention *a = g->operands.a;
    size_t n = (size_t)a->n_spans * (size_t)a->kv_heads, at = 0;
    g->first_panel = xreallocarray(NULL, n + 1, sizeof *g->first_panel);
    for (size_t i = 0; i < n; i++) {
        g->first_panel[i] = at;
        while (at < panels && (size_t)g->queries[at].span == i / (size_t)a->kv_heads &&
               (size_t)g->queries[at].kv_head == i % (size_t)a->kv_heads)
            at++;
    }
    g->first_panel[n] = at;
}

/* Prefixes that begin at one row are one. */
static void find_prefixes(struct gradients *g)
{
    const struct attention *a = g->operands.a;
    g->prefixes = xreallocarray(NULL, (size_t)a->n_spans + 1, sizeof *g->prefixes);
    for (int i = 0; i < a->n_spans; i++) {
        const struct attention_span *s = &a->spans_at[i];
        int k = 0;
        if (!s->prefix)
            continue;
        while (k < g->n_prefixes && g->prefixes[k].row != s->prefix_row)
            k++;
        struct prefix *p = &g->prefixes[k];
        if (k == g->n_prefixes)
            g->prefixes[g->n_prefixes++] = (struct prefix){s->prefix_row, s->prefix};
        else if (s->prefix > p->longest)
            p->longest = s->prefix;
    }
}

/* ---- one panel of queries ---- */

/* Buffers of a piece. */
struct work {
    float *rows;               /* [PANEL][row_floats] */
    uint32_t *q, *d_out;       /* columns, the sum over dimensions */
    uint32_t *q_rows, *d_rows; /* columns are dimensions, the sum over queries */
    float *dq;                 /* [row_floats][PANEL], and room for a panel's last rows */
    float *p, *dp, *slope;     /* [KEY_BLOCK][PANEL] of each block of the sweep */
    uint32_t *narrow, *score_rows;
    float lse[PANEL], along[PANEL];
};

static struct work *work_open(const struct operands *o, int blocks)
{
    enum { SPARE = MOST_PANEL_ROWS * PANEL, BLOCK = KEY_BLOCK * PANEL };
    struct work *w = xaligned(sizeof *w);
    size_t panel = (size_t)o->row_floats * PANEL;
    size_t score_rows = panels_size(o, KEY_BLOCK, position_words(o, PANEL));
    w->rows = xaligned((6 * panel + SPARE + (3 * (size_t)blocks + 1) * BLOCK + score_rows) *
                       sizeof *w->rows);
    w->q = (void *)(w->rows + panel);
    w->d_out = w->q + panel;
    w->q_rows = w->d_out + panel;
    w->d_rows = w->q_rows + panel;
    w->dq = (void *)(w->d_rows + panel);
    w->p = w->dq + panel + SPARE;
    w->dp = w->p + (size_t)blocks * BLOCK;
    w->slope = w->dp + (size_t)blocks * BLOCK;
    w->narrow = (void *)(w->slope + (size_t)blocks * BLOCK);
    w->score_rows = w->narrow + BLOCK;
    return w;
}

static void work_close(struct work *w)
{
    free(w->rows);
    free(w);
}

static void take_queries(const struct gradients *g, const struct query_panel *p, struct work *w)
{
    const struct operands *o = &g->operands;
    gather_queries(o, p, o->a->q, 1, false, w->rows);
    pack_query_rows(o, w->rows, w->q_rows);
    if (o->a->cap > 0)
        gather_queries(o, p, o->a->q, o->a->scale, false, w->rows);
    pack_query_columns(o, w->rows, w->q);
    gather_queries(o, p, g->b->d_out, 1, false, w->rows);
    pack_query_rows(o, w->rows, w->d_rows);
    pack_query_columns(o, w->rows, w->d_out);
    for (int c = 0; c < PANEL; c++)
        w->lse[c] = o->a->lse[p->row[c]];
}

/* p and dp of a block's keys, and the slope of the cap where there is one. */
static void block_probabilities(const struct gradients *g, const struct query_panel *q, int block,
                                struct work *w, float *p, float *dp, float *slope)
{
    const struct operands *o = &g->operands;
    const struct key_run *r = run_of_block(&g->keys, q->span, block);
    size_t at = packed_block(o, r, block, q->kv_head);
    int n = keys_of_block(r, block);
    score_block(o, q, block, n, g->packed.k_rows + at * g->packed.row_size, w->q, p, slope);
    o->path->probabilities(p, n, o->a->cap > 0 ? 1 : o->a->scale, w->lse);
    panels_multiply(o->multiplier, g->packed.v_rows + at * g->packed.row_size,
                    panel_step(o, o->dim_words), 0, w->d_out, n, PANEL, o->dim_words, dp, false);
}

/* dp becomes ds. */
static void score_gradients(const struct operands *o, const float *p, float *dp, int keys,
                            const float *along, const float *slope)
{
    o->path->score_gradients(p, dp, keys, o->a->scale, along);
    if (o->a->cap > 0)
        o->path->multiply_scores(dp, slope, keys);
}

/* Sums over queries for a block's keys: [row_floats / PANEL][KEY_BLOCK][PANEL] each. */
struct key_sums {
    float *dk, *dv;
};

static size_t sums_size(const struct operands *o)
{
    return KEY_BLOCK * (size_t)o->row_floats;
}

/* to += x^T rows, x being [keys][PANEL]. */
static void add_products(const struct operands *o, const float *x, int keys, const uint32_t *rows,
                         struct work *w, float *to)
{
    int words = position_words(o, PANEL);
    pack_score_rows(o, x, keys, w->score_rows);
    for (int i = 0; i < o->row_floats; i += PANEL, to += KEY_BLOCK * PANEL, rows += words * PANEL)
        panels_multiply(o->multiplier, w->score_rows, panel_step(o, words), 0, rows, keys, PANEL,
                        words, to, true);
}

static void add_key_gradients(const struct operands *o, const float *p, const float *ds, int keys,
                              struct work *w, struct key_sums *sums)
{
    add_products(o, p, keys, w->d_rows, w, sums->dv);
    add_products(o, ds, keys, w->q_rows, w, sums->dk);
}

/* Keys first, ..., end - 1 of a block's sums are set, or added, to rows from `row` on. */
static void store_key_sums(const struct operands *o, const float *sums, int first, int end,
                           size_t row, int kv_head, bool add, float *to)
{
    size_t step = (size_t)o->a->kv_heads * (size_t)o->head_dim;
    to += row * step + (size_t)kv_head * (size_t)o->head_dim;
    for (int j = first; j < end; j++, to += step)
        for (int i = 0; i < o->head_dim; i++) {
            float sum = sums[(i / PANEL * KEY_BLOCK + j) * PANEL + i % PANEL];
            to[i] = add ? to[i] + sum : sum;
        }
}

/* ---- the first pass ---- */

static void store_dq(const struct gradients *g, const struct query_panel *p, struct work *w)
{
    const struct operands *o = &g->operands;
    turn_columns(o, w->dq, w->rows);
    for (int c = 0; c < p->queries; c++)
        memcpy(g->b->dq + p->row[c] * (size_t)o->head_dim,
               w->rows + (size_t)c * (size_t)o->row_floats, (size_t)o->head_dim * sizeof *w->dq);
}

/* dq of a panel of queries, and what they add to the sums of the blocks from `own` on. */
static void backward_of_panel(const struct gradients *g, const struct query_panel *q, int own,
                              struct work *w, struct key_sums *sums)
{
    enum { BLOCK = KEY_BLOCK * PANEL };
    const struct operands *o = &g->operands;
    int begin = first_block(o, q), end = last_block(q) + 1;
    take_queries(g, q, w);
    memset(w->along, 0, sizeof w->along);
    memset(w->dq, 0, (size_t)o->row_floats * PANEL * sizeof *w->dq);
    for (int block = begin; block < end; block++) {
        float *p = w->p + (block - begin) * BLOCK, *dp = w->dp + (block - begin) * BLOCK;
        block_probabilities(g, q, block, w, p, dp, w->slope + (block - begin) * BLOCK);
        o->path->add_along(p, dp, keys_of_block(run_of_block(&g->keys, q->span, block), block),
                           w->along);
    }
    for (int c = 0; c < q->queries; c++)
        g->b->work[q->row[c]] = w->along[c];
    for (int block = begin; block < end; block++) {
        const struct key_run *r = run_of_block(&g->keys, q->span, block);
        int n = keys_of_block(r, block), words = position_words(o, n);
        float *p = w->p + (block - begin) * BLOCK, *ds = w->dp + (block - begin) * BLOCK;
        score_gradients(o, p, ds, n, w->along, w->slope + (block - begin) * BLOCK);
        panels_multiply(o->multiplier,
                        g->packed.k_columns +
                            packed_block(o, r, block, q->kv_head) * g->packed.column_size,
                        panel_step(o, words), 0, pack_scores(o, ds, n, w->narrow), o->head_dim,
                        PANEL, words, w->dq, true);
        if (block >= own)
            add_key_gradients(o, p, ds, n, w, &sums[block - own]);
    }
    store_dq(g, q, w);
}

/* Sums of `blocks` blocks, zero; the caller frees the first one's dk. */
static struct key_sums *sums_open(const struct operands *o, int blocks)
{
    struct key_sums *sums = xreallocarray(NULL, (size_t)blocks, sizeof *sums);
    size_t size = sums_size(o);
    float *all = xaligned(2 * size * (size_t)blocks * sizeof *all);
    memset(all, 0, 2 * size * (size_t)blocks * sizeof *all);
    for (int i = 0; i < blocks; i++, all += 2 * size)
        sums[i] = (struct key_sums){all, all + size};
    return sums;
}

static void backward_of_sequence(void *context, size_t piece)
{
    const struct gradients *g = context;
    const struct operands *o = &g->operands;
    int span = (int)(piece / (size_t)o->a->kv_heads), head = (int)(piece % (size_t)o->a->kv_heads);
    const struct key_run *r = &g->keys.runs[g->keys.own[span]];
    struct key_sums *sums = sums_open(o, r->blocks);
    struct work *w = work_open(o, r->block + r->blocks);
    multiplier_begin(o->multiplier);
    for (size_t i = g->first_panel[piece]; i < g->first_panel[piece + 1]; i++)
        backward_of_panel(g, &g->queries[i], r->block, w, sums);
    multiplier_end(o->multiplier);
    for (int i = 0; i < r->blocks; i++) {
        int position = (r->block + i) * KEY_BLOCK, end = r->end - position;
        int first = position < r->prefix ? r->prefix - position : 0;
        end = end < KEY_BLOCK ? end : KEY_BLOCK;
        size_t row = (size_t)(r->key_row + position + first - r->prefix);
        store_key_sums(o, sums[i].dk, first, end, row, head, false, g->b->dk);
        store_key_sums(o, sums[i].dv, first, end, row, head, false, g->b->dv);
    }
    work_close(w);
    free(sums[0].dk);
    free(sums);
}

/* ---- the second pass ---- */

/* What a span's queries add to the gradients of the keys of its prefix's block. */
static void add_span(const struct gradients *g, int span, int block, int head, struct work *w)
{
    const struct operands *o = &g->operands;
    const struct attention_span *s = &o->a->spans_at[span];
    size_t pair = (size_t)(span * o->a->kv_heads + head);
    struct key_sums *sums = sums_open(o, 1);
    int n = keys_of_block(run_of_block(&g->keys, span, block), block);
    for (size_t i = g->first_panel[pair]; i < g->first_panel[pair + 1]; i++) {
        const struct query_panel *q = &g->queries[i];
        if (first_block(o, q) > block)
            continue;
        take_queries(g, q, w);
        for (int c = 0; c < PANEL; c++)
            w->along[c] = c < q->queries ? g->b->work[q->row[c]] : 0;
        block_probabilities(g, q, block, w, w->p, w->dp, w->slope);
        score_gradients(o, w->p, w->dp, n, w->along, w->slope);
        add_key_gradients(o, w->p, w->dp, n, w, sums);
    }
    int position = block * KEY_BLOCK, end = s->prefix - position;
    end = end < KEY_BLOCK ? end : KEY_BLOCK;
    size_t row = (size_t)(s->prefix_row + position);
    store_key_sums(o, sums->dk, 0, end, row, head, true, g->b->d_prefix_k);
    store_key_sums(o, sums->dv, 0, end, row, head, true, g->b->d_prefix_v);
    free(sums->dk);
    free(sums);
}

/* One block of one prefix, for one key head. */
struct prefix_pass {
    const struct gradients *g;
    const struct prefix *prefix;
};

static void backward_of_prefix(void *context, size_t piece)
{
    const struct prefix_pass *t = context;
    const struct attention *a = t->g->operands.a;
    int block = (int)(piece / (size_t)a->kv_heads), head = (int)(piece % (size_t)a->kv_heads);
    struct work *w = work_open(&t->g->operands, 1);
    multiplier_begin(t->g->operands.multiplier);
    for (int i = 0; i < a->n_spans; i++)
        if (a->spans_at[i].prefix_row == t->prefix->row &&
            a->spans_at[i].prefix > block * KEY_BLOCK)
            add_span(t->g, i, block, head, w);
    multiplier_end(t->g->operands.multiplier);
    work_close(w);
}

void cpu_attention_backward(struct device *d, const struct attention_backward *b)
{
    const struct attention *a = &b->forward;
    struct gradients g = {.b = b, .operands = operands_of(d, a, F32), .keys = key_runs_of(a)};
    const struct operands *o = &g.operands;
    size_t panels, heads = (size_t)a->kv_heads;
    g.queries = query_panels_of(a, &panels);
    find_panels(&g, panels);
    find_prefixes(&g);
    struct packed_keys *p = &g.packed;
    *p = (struct packed_keys){.row_size = key_rows_size(o), .column_size = key_columns_size(o)};
    p->k_rows = room_reserve(cpu_room(d), g.keys.blocks * (2 * p->row_size + p->column_size) *
                                              sizeof *p->k_rows);
    p->v_rows = p->k_rows + g.keys.blocks * p->row_size;
    p->k_columns = p->v_rows + g.keys.blocks * p->row_size;
    pack_keys(o, &g.keys, p);
    threads_run((size_t)a->n_spans * heads, backward_of_sequence, &g);
    for (int k = 0; k < g.n_prefixes; k++) {
        struct prefix_pass t = {&g, &g.prefixes[k]};
        size_t blocks = (size_t)(g.prefixes[k].longest + KEY_BLOCK - 1) / KEY_BLOCK;
        threads_run(blocks * heads, backward_of_prefix, &t);
    }
    key_runs_free(&g.keys);
    free(g.queries);
    free(g.first_panel);
    free(g.prefixes);
}
