#include "common/model/training_batch.h"

#include "common/util/mem.h"

#include <stdlib.h>

/* Appends the tokens from `first` on of a sequence as a span; its rows have numbers from `number`
 * on. */
static void add_span(struct training_batch *b, const struct sequence *s, int first, int end,
                     int number, int prefix_row, int last_query)
{
    int n = end - first, row = b->rows;
    for (int i = 0; i < n; i++) {
        b->tokens[row + i] = s->tokens[first + i];
        b->positions[row + i] = first + i;
        b->dropout_rows[row + i] = number + i;
    }
    b->rows += n;
    b->max_position = end - 1 > b->max_position ? end - 1 : b->max_position;
    struct attention_span span = {row, n, row, n, prefix_row, first};
    b->spans[b->n_spans] = span;
    span.query_row = last_query >= 0 ? last_query : 0;
    span.queries = last_query >= 0;
    b->last_spans[b->n_spans++] = span;
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

/* Those of a group's sequences that are this part's. */
static void add_group(struct training_batch *b, const struct pass *p, const struct group *group,
                      struct progress *at)
{
    int prefix_row = b->rows, prefix_number = at->row;
    bool begun = false;
    at->row += group->prefix;
    for (int i = group->first; i < group->first + group->count; i++) {
        const struct sequence *s = &p->sequences[b->order[i]];
        int own = s->n - group->prefix;
        if (part_of(at->before, own, at->all, p->parts) == p->part) {
            if (group->prefix && !begun)
                add_span(b, s, 0, group->prefix, prefix_number, 0, -1);
            begun = true;
            if (b->sequences == 0)
                b->first = i;
            add_span(b, s, group->prefix, s->n, at->row, prefix_row, b->sequences);
            b->last_rows[b->sequences] = b->rows - 1;
            b->last_positions[b->sequences] = s->n - 1;
            b->last_dropout_rows[b->sequences++] = i;
        }
        at->before += own;
        at->row += own;
    }
}

void training_batch_pack(struct training_batch *b, const struct pass *p)
{
    size_t n = (size_t)p->n, tokens = 0, most_spans = 2 * n;
    for (int i = 0; i < p->n; i++)
        tokens += (size_t)p->sequences[i].n;
    b->order = xreallocarray(b->order, n, sizeof *b->order);
    b->tokens = xreallocarray(b->tokens, tokens, sizeof *b->tokens);
    b->positions = xreallocarray(b->positions, tokens, sizeof *b->positions);
    b->dropout_rows = xreallocarray(b->dropout_rows, tokens, sizeof *b->dropout_rows);
    b->last_rows = xreallocarray(b->last_rows, n, sizeof *b->last_rows);
    b->last_positions = xreallocarray(b->last_positions, n, sizeof *b->last_positions);
    b->last_dropout_rows = xreallocarray(b->last_dropout_rows, n, sizeof *b->last_dropout_rows);
    b->spans = xreallocarray(b->spans, most_spans, sizeof *b->spans);
    b->last_spans = xreallocarray(b->last_spans, most_spans, sizeof *b->last_spans);
    b->rows = b->n_spans = b->max_position = b->first = b->sequences = 0;

    struct group *groups;
    int n_groups = find_groups(p->sequences, p->n, b->order, &groups);
    struct progress at = {.all = (long)tokens};
    for (int g = 0; g < n_groups; g++)
        at.all -= (long)groups[g].count * groups[g].prefix;
    for (int g = 0; g < n_groups; g++)
        add_group(b, p, &groups[g], &at);
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
    *b = (struct training_batch){0};
}
