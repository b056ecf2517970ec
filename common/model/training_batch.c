#include "common/model/training_batch.h"

#include "common/util/mem.h"

#include <stdlib.h>

/* Appends rows for n tokens, of positions and numbers from these on. */
static void add_rows(struct training_batch *b, const int32_t *tokens, int n, int position,
                     int number)
{
    for (int i = 0; i < n; i++) {
        b->tokens[b->rows] = tokens[i];
        b->positions[b->rows] = position + i;
        b->dropout_rows[b->rows++] = number + i;
    }
    if (position + n - 1 > b->max_position)
        b->max_position = position + n - 1;
}

/* Appends a span of the last n rows, of whose positions the last `read` are read at; their numbers
 * are those from `number` on. */
static void add_span(struct training_batch *b, struct attention_span span, int read, int number)
{
    b->spans[b->n_spans] = span;
    int first = span.query_row + span.queries - read;
    span.query_row = b->reads;
    span.queries = read;
    b->last_spans[b->n_spans++] = span;
    for (int i = 0; i < read; i++, b->reads++) {
        b->last_rows[b->reads] = first + i;
        b->last_positions[b->reads] = b->positions[first + i];
        b->last_dropout_rows[b->reads] = number + i;
    }
}

static void add_copies(struct training_batch *b, int row, int n)
{
    for (int i = 0; i < n; i++)
        b->copies[b->n_copies++] = row + i;
}

/* The part that a sequence falls to, `before` of the pass's own tokens standing before its own. */
static int part_of(long before, long own, long all, int parts)
{
    return (int)((2 * before + own) * parts / (2 * all));
}

/* How far packing has come in the whole pass. */
struct progress {
    int row;          /* the number of the next */
    long before, all; /* sequences' own tokens so far, and of the pass */
};

/* A sequence past its prefix, which stands in the rows from prefix_row on, with its branches: rows
 * have numbers from `number` on, what is read from `read` on. Branches' own keys are counted from
 * the first copy on. */
static void add_sequence(struct training_batch *b, const struct sequence *s,
                         const struct answer_tree *t, int prefix, int prefix_row, int number,
                         int read)
{
    int own = s->n - prefix, row = b->rows, all = own + (t ? t->branches[0].n : 0);
    struct attention_span span = {row, all, row, all, prefix_row, prefix};
    add_rows(b, s->tokens + prefix, own, prefix, number);
    if (t)
        add_rows(b, t->branches[0].tokens, t->branches[0].n, s->n, number + own);
    add_span(b, span, t ? t->branches[0].read : 1, read);
    read += t ? t->branches[0].read : 1;
    for (int i = 1; t && i < t->n_branches; i++) {
        const struct answer_branch *branch = &t->branches[i];
        span = (struct attention_span){b->rows,         branch->n,  b->n_copies,
                                       own + branch->n, prefix_row, prefix};
        add_copies(b, row, own);
        add_copies(b, b->rows, branch->n);
        add_rows(b, branch->tokens, branch->n, s->n, number + b->rows - row);
        add_span(b, span, branch->read, read);
        read += branch->read;
    }
}

/* Those of a group's sequences that are this part's. */
static void add_group(struct training_batch *b, const struct pass *p, const struct group *group,
                      struct progress *at)
{
    const struct answer_tree *t = p->tree;
    int prefix_row = b->rows, prefix_number = at->row, nodes = t ? t->n_nodes : 1;
    bool begun = false;
    at->row += group->prefix;
    for (int i = group->first; i < group->first + group->count; i++) {
        const struct sequence *s = &p->sequences[b->order[i]];
        int own = s->n - group->prefix + (t ? answer_tree_positions(t) : 0);
        if (part_of(at->before, own, at->all, p->parts) == p->part) {
            if (group->prefix && !begun) {
                int n = group->prefix;
                struct attention_span span = {b->rows, n, b->rows, n, 0, 0};
                add_rows(b, s->tokens, n, 0, prefix_number);
                add_span(b, span, 0, 0);
            }
            begun = true;
            if (b->sequences++ == 0)
                b->first = i;
            add_sequence(b, s, t, group->prefix, prefix_row, at->row, i * nodes);
        }
        at->before += own;
        at->row += own;
    }
}

/* Of branches: their keys are past all rows. */
static void place_copies(struct training_batch *b)
{
    for (int i = 0; i < b->n_spans; i++)
        if (b->spans[i].queries < b->spans[i].keys)
            b->last_spans[i].key_row = b->spans[i].key_row += b->rows;
}

static void reserve(struct training_batch *b, const struct pass *p)
{
    const struct answer_tree *t = p->tree;
    size_t n = (size_t)p->n, tokens = 0, branches = t ? (size_t)t->n_branches : 1;
    size_t beside = t ? (size_t)answer_tree_positions(t) : 0, reads = n * (t ? t->n_nodes : 1);
    for (int i = 0; i < p->n; i++)
        tokens += (size_t)p->sequences[i].n;
    size_t rows = tokens + n * beside, spans = n * (branches + 1);
    b->order = xreallocarray(b->order, n, sizeof *b->order);
    b->tokens = xreallocarray(b->tokens, rows, sizeof *b->tokens);
    b->positions = xreallocarray(b->positions, rows, sizeof *b->positions);
    b->dropout_rows = xreallocarray(b->dropout_rows, rows, sizeof *b->dropout_rows);
    b->last_rows = xreallocarray(b->last_rows, reads, sizeof *b->last_rows);
    b->last_positions = xreallocarray(b->last_positions, reads, sizeof *b->last_positions);
    b->last_dropout_rows = xreallocarray(b->last_dropout_rows, reads, sizeof *b->last_dropout_rows);
    b->spans = xreallocarray(b->spans, spans, sizeof *b->spans);
    b->last_spans = xreallocarray(b->last_spans, spans, sizeof *b->last_spans);
    b->copies =
        xreallocarray(b->copies, (branches - 1) * tokens + n * beside + 1, sizeof *b->copies);
}

void training_batch_pack(struct training_batch *b, const struct pass *p)
{
    reserve(b, p);
    b->rows = b->n_spans = b->max_position = b->first = b->sequences = b->reads = b->n_copies = 0;
    long beside = p->tree ? answer_tree_positions(p->tree) : 0, all = 0;
    for (int i = 0; i < p->n; i++)
        all += p->sequences[i].n + beside;

    struct group *groups;
    int n_groups = find_groups(p->sequences, p->n, b->order, &groups);
    struct progress at = {.all = all};
    for (int g = 0; g < n_groups; g++)
        at.all -= (long)groups[g].count * groups[g].prefix;
    for (int g = 0; g < n_groups; g++)
        add_group(b, p, &groups[g], &at);
    place_copies(b);
    free(groups);
}

void training_batch_free(struct training_batch *b)
{
    free(b->order);
    free(b->tokens);
    free(b->positions);
    free(b->last_rows);
    free(b->last_positions);
    free(b->dropout_rows);
    free(b->last_dropout_rows);
    free(b->spans);
    free(b->last_spans);
    free(b->copies);
    *b = (struct training_batch){0};
}
