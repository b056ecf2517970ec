#include "kernels/cpu/attention_panels.h"

#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/threads.h"

#include <stdlib.h>

struct operands operands_of(const struct device *d, const struct attention *a, enum dtype type)
{
    const struct path *path = cpu_path(d);
    if (a->head_dim > MOST_HEAD_DIM)
        die(EX_UNAVAILABLE,
            "the model's heads have %d dimensions; the processor's attention takes "
            "%d at most",
            a->head_dim, MOST_HEAD_DIM);
    bool pairs = type == BF16 && path->bf16.multiply;
    int row_floats = (a->head_dim + PANEL - 1) / PANEL * PANEL;
    return (struct operands){.a = a,
                             .path = path,
                             .multiplier = pairs ? &path->bf16 : &path->f32,
                             .pairs = pairs,
                             .head_dim = a->head_dim,
                             .dim_words = pairs ? row_floats / 2 : a->head_dim,
                             .row_floats = row_floats};
}

size_t panel_step(const struct operands *o, int words)
{
    return (size_t)chunks_of(words) * CHUNK * (size_t)o->multiplier->rows;
}

size_t panels_size(const struct operands *o, int rows, int words)
{
    int panels = (rows + o->multiplier->rows - 1) / o->multiplier->rows;
    return (size_t)panels * panel_step(o, words);
}

/* ---- keys ---- */

/* The longest prefix among the spans that begin at one prefix row, in whole blocks, is a run. */
static int shared_run(struct key_runs *k, const struct attention_span *s)
{
    int blocks = s->prefix / KEY_BLOCK;
    if (!blocks)
        return -1;
    size_t i = 0;
    while (i < k->n && k->runs[i].prefix_row != s->prefix_row)
        i++;
    struct key_run *r = &k->runs[i];
    if (i == k->n)
        k->runs[k->n++] = (struct key_run){.prefix_row = s->prefix_row};
    if (blocks > r->blocks) {
        r->blocks = blocks;
        r->prefix = r->end = blocks * KEY_BLOCK;
    }
    return (int)i;
}

struct key_runs key_runs_of(const struct attention *a)
{
    size_t spans = (size_t)a->n_spans;
    struct key_runs k = {.runs = xcalloc(2 * spans + 1, sizeof *k.runs),
                         .own = xreallocarray(NULL, spans + 1, sizeof *k.own),
                         .shared = xreallocarray(NULL, spans + 1, sizeof *k.shared)};
    for (size_t i = 0; i < spans; i++)
        k.shared[i] = shared_run(&k, &a->spans_at[i]);
    for (size_t i = 0; i < spans; i++) {
        const struct attention_span *s = &a->spans_at[i];
        int block = s->prefix / KEY_BLOCK, end = s->prefix + s->keys;
        k.own[i] = (int)k.n;
        k.runs[k.n++] = (struct key_run){.prefix_row = s->prefix_row,
                                         .prefix = s->prefix,
                                         .key_row = s->key_row,
                                         .end = end,
                                         .block = block,
                                         .blocks = (end + KEY_BLOCK - 1) / KEY_BLOCK - block};
    }
    for (size_t i = 0; i < k.n; i++) {
        k.runs[i].first = k.blocks;
        k.blocks += (size_t)k.runs[i].blocks * (size_t)a->kv_heads;
    }
    return k;
}

void key_runs_free(struct key_runs *k)
{
    free(k->runs);
    free(k->own);
    free(k->shared);
}

/* Rows of k, or of v, of a block: to[key][row_floats], zeros past the run's end. */
static void gather_keys(const struct operands *o, const struct key_run *r, int block, int kv_head,
                        const float *own, const float *prefix, float *to)
{
    size_t step = (size_t)o->a->kv_heads * (size_t)o->head_dim;
    size_t column = (size_t)kv_head * (size_t)o->head_dim, bytes = (size_t)o->head_dim * sizeof *to;
    int first = block * KEY_BLOCK, n = keys_of_block(r, block);
    memset(to, 0, (size_t)n * (size_t)o->row_floats * sizeof *to);
    for (int at = first; at < first + n && at < r->end; at++, to += o->row_floats) {
        bool shared = at < r->prefix;
        size_t row = shared ? (size_t)(r->prefix_row + at) : (size_t)(r->key_row + at - r->prefix);
        memcpy(to, (shared ? prefix : own) + row * step + column, bytes);
    }
}

/* A's panels of n gathered rows: a row for each key. */
static void pack_key_rows(const struct operands *o, const float *rows, int n, uint32_t *to)
{
    const struct multiplier *m = o->multiplier;
    size_t step = (size_t)o->row_floats * sizeof *rows;
    uint16_t narrow[MOST_PANEL_ROWS * MOST_HEAD_DIM];
    for (int first = 0; first < n; first += m->rows, to += panel_step(o, o->dim_words)) {
        int count = n - first < m->rows ? n - first : m->rows;
        const float *from = rows + (size_t)first * (size_t)o->row_floats;
        if (!o->pairs) {
            panel_of_rows(m, from, step, (size_t)o->head_dim * sizeof *rows, count, to);
            continue;
        }
        o->path->narrow(from, (size_t)(count * o->row_floats), narrow);
        panel_of_rows(m, narrow, step / 2, step / 2, count, to);
    }
}

/* The same: a row for each dimension. */
static void pack_key_columns(const struct operands *o, const float *rows, int n, uint32_t *to)
{
    const struct multiplier *m = o->multiplier;
    size_t step = (size_t)o->row_floats;
    int words = position_words(o, n);
    uint32_t *pairs = NULL;
    if (o->pairs) {
        pairs = xaligned((size_t)words * step * sizeof *pairs);
        for (int i = 0; i < words; i++)
            o->path->pair(rows + (size_t)(2 * i) * step, rows + (size_t)(2 * i + 1) * step, step,
                          pairs + (size_t)i * step);
    }
    for (int first = 0; first < o->head_dim; first += m->rows, to += panel_step(o, words)) {
        int count = o->head_dim - first < m->rows ? o->head_dim - first : m->rows;
        if (m->padded) /* with the zeros that rows are filled up with */
            count = m->rows;
        panel_of_columns(o->path, pairs ? (const void *)(pairs + first) : rows + first, step, words,
                         count, to);
    }
    free(pairs);
}

size_t key_rows_size(const struct operands *o)
{
    return panels_size(o, KEY_BLOCK, o->dim_words);
}

size_t key_columns_size(const struct operands *o)
{
    return panels_size(o, o->head_dim, position_words(o, KEY_BLOCK));
}

struct packing {
    const struct operands *o;
    const struct key_runs *keys;
    const struct packed_keys *to;
};

/* A run's blocks for one key head. */
static void pack_run(void *context, size_t piece)
{
    const struct packing *p = context;
    const struct operands *o = p->o;
    const struct packed_keys *to = p->to;
    const struct attention *a = o->a;
    const struct key_run *r = &p->keys->runs[piece / (size_t)a->kv_heads];
    int head = (int)(piece % (size_t)a->kv_heads);
    float *rows = xaligned(KEY_BLOCK * (size_t)o->row_floats * sizeof *rows);
    for (int block = r->block; block < r->block + r->blocks; block++) {
        int n = keys_of_block(r, block);
        size_t at = packed_block(o, r, block, head);
        gather_keys(o, r, block, head, a->k, a->prefix_k, rows);
        if (to->k_rows)
            pack_key_rows(o, rows, n, to->k_rows + at * to->row_size);
        if (to->k_columns)
            pack_key_columns(o, rows, n, to->k_columns + at * to->column_size);
        gather_keys(o, r, block, head, a->v, a->prefix_v, rows);
        if (to->v_rows)
            pack_key_rows(o, rows, n, to->v_rows + at * to->row_size);
        if (to->v_columns)
            pack_key_columns(o, rows, n, to->v_columns + at * to->column_size);
    }
    free(rows);
}

void pack_keys(const struct operands *o, const struct key_runs *keys, const struct packed_keys *to)
{
    struct packing p = {o, keys, to};
    threads_run(keys->n * (size_t)o->a->kv_heads, pack_run, &p);
}

/* ---- queries ---- */

static void place_queries(const struct attention *a, struct query_panel *p)
{
    const struct attention_span *s = &a->spans_at[p->span];
    int group = a->heads / a->kv_heads, left = s->queries * group - p->first;
    p->queries = left < PANEL ? left : PANEL;
    for (int c = 0; c < PANEL; c++) {
        int query = p->first + (c < p->queries ? c : p->queries - 1);
        int token = query / group, head = p->kv_head * group + query % group;
        p->last[c] = s->prefix + s->keys - s->queries + token;
        p->row[c] = (size_t)(s->query_row + token) * (size_t)a->heads + (size_t)head;
    }
}

struct query_panel *query_panels_of(const struct attention *a, size_t *n)
{
    int group = a->heads / a->kv_heads;
    size_t most = 0;
    for (int i = 0; i < a->n_spans; i++)
        most += (size_t)(a->spans_at[i].queries * group + PANEL - 1) / PANEL;
    struct query_panel *panels =
        xreallocarray(NULL, most * (size_t)a->kv_heads + 1, sizeof *panels);
    *n = 0;
    for (int i = 0; i < a->n_spans; i++)
        for (int head = 0; head < a->kv_heads; head++)
            for (int first = 0; first < a->spans_at[i].queries * group; first += PANEL) {
                panels[*n] = (struct query_panel){.span = i, .kv_head = head, .first = first};
                place_queries(a, &panels[(*n)++]);
            }
    return panels;
}

void score_block(const struct operands *o, const struct query_panel *p, int block, int keys,
                 const uint32_t *k, const uint32_t *q, float *scores, float *slope)
{
    int position = block * KEY_BLOCK, window = o->a->window ? o->a->window : INT32_MAX;
    panels_multiply(o->multiplier, k, panel_step(o, o->dim_words), 0, q, keys, PANEL, o->dim_words,
                    scores, false);
    if (o->a->cap > 0)
        o->path->cap_scores(scores, keys, o->a->cap, slope);
    if (position + keys - 1 > p->last[0] || p->last[PANEL - 1] - position >= window)
        o->path->hide(scores, keys, position, p->last, window);
}

void gather_queries(const struct operands *o, const struct query_panel *p, const float *from,
                    float factor, bool repeat, float *to)
{
    memset(to, 0, (size_t)PANEL * (size_t)o->row_floats * sizeof *to);
    for (int c = 0; c < (repeat ? PANEL : p->queries); c++, to += o->row_floats) {
        const float *row = from + p->row[c] * (size_t)o->head_dim;
        for (int i = 0; i < o->head_dim; i++)
            to[i] = row[i] * factor;
    }
}

void pack_query_columns(const struct operands *o, float *rows, uint32_t *to)
{
    int words = o->row_floats;
    if (o->pairs) {
        /* A row is rounded into its own first half. */
        for (int c = 0; c < PANEL; c++) {
            float *row = rows + (size_t)c * (size_t)o->row_floats;
            uint16_t narrow[MOST_HEAD_DIM];
            o->path->narrow(row, (size_t)o->row_floats, narrow);
            memcpy(row, narrow, (size_t)o->row_floats * sizeof *narrow);
        }
        words /= 2;
    }
    for (int c = 0; c < PANEL; c += CHUNK)
        for (int i = 0; i < words; i += CHUNK)
            o->path->transpose16(rows + (size_t)c * (size_t)o->row_floats + i,
                                 (size_t)o->row_floats, to + (size_t)i * PANEL + c, PANEL);
}

void pack_query_rows(const struct operands *o, const float *rows, uint32_t *to)
{
    size_t step = (size_t)o->row_floats;
    for (int first = 0; first < o->row_floats; first += PANEL)
        for (int c = 0; c < PANEL; c += o->pairs ? 2 : 1, to += PANEL) {
            const float *row = rows + (size_t)c * step + first;
            if (o->pairs)
                o->path->pair(row, row + step, PANEL, to);
            else
                memcpy(to, row, PANEL * sizeof *row);
        }
}

const uint32_t *pack_scores(const struct operands *o, const float *x, int keys, uint32_t *to)
{
    if (!o->pairs)
        return (const void *)x;
    for (int j = 0; j < keys; j += 2)
        o->path->pair(x + j * PANEL, x + (j + 1) * PANEL, PANEL, to + j / 2 * PANEL);
    return to;
}

void pack_score_rows(const struct operands *o, const float *x, int keys, uint32_t *to)
{
    const struct multiplier *m = o->multiplier;
    enum { STEP = PANEL * sizeof *x };
    uint16_t narrow[MOST_PANEL_ROWS * PANEL];
    int words = position_words(o, PANEL);
    for (int first = 0; first < keys; first += m->rows, to += panel_step(o, words)) {
        int count = keys - first < m->rows ? keys - first : m->rows;
        if (!o->pairs) {
            panel_of_rows(m, x + first * PANEL, STEP, STEP, count, to);
            continue;
        }
        o->path->narrow(x + first * PANEL, (size_t)(count * PANEL), narrow);
        panel_of_rows(m, narrow, STEP / 2, STEP / 2, count, to);
    }
}

void turn_columns(const struct operands *o, const float *x, float *to)
{
    for (int c = 0; c < PANEL; c += CHUNK)
        for (int i = 0; i < o->row_floats; i += CHUNK)
            o->path->transpose16(x + i * PANEL + c, PANEL,
                                 to + (size_t)c * (size_t)o->row_floats + i, (size_t)o->row_floats);
}
