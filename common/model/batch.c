#include "common/model/batch.h"

#include "common/util/mem.h"

#include <stdlib.h>

/* ---- groups ---- */

/* Sharing less than this is not worth a prefix of its own. */
enum { MIN_PREFIX = 8 };

static int common_length(const struct sequence *a, const struct sequence *b)
{
    int n = a->n < b->n ? a->n : b->n, i = 0;
    while (i < n && a->tokens[i] == b->tokens[i])
        i++;
    return i;
}

static const struct sequence *sorting; /* qsort has no argument for it */

static int by_tokens(const void *a, const void *b)
{
    int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    const struct sequence *x = &sorting[i], *y = &sorting[j];
    int same = common_length(x, y);
    if (same < x->n && same < y->n)
        return x->tokens[same] < y->tokens[same] ? -1 : 1;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return i < j ? -1 : i > j;
}

/* A run of sequences in order whose neighbours share at least `shared` tokens, and the cheapest way
 * found to compute it. */
struct run {
    int first, count, shared;
    long tokens;  /* of all of them together */
    long cost;    /* tokens to compute */
    int n_groups; /* how many at the end of the list of groups are this run's */
};

struct grouping {
    struct group *groups;
    int n_groups, cap;
};

/* Decides a complete run: one group with its shared prefix if that is cheaper than what its parts
 * cost together. */
static void settle(struct grouping *g, struct run *r)
{
    long whole = r->shared + r->tokens - (long)r->count * r->shared;
    if (r->shared < MIN_PREFIX || r->count < 2 || whole >= r->cost)
        return;
    r->cost = whole;
    g->n_groups -= r->n_groups;
    g->groups[g->n_groups++] = (struct group){r->first, r->count, r->shared};
    r->n_groups = 1;
}

/* The runs form a tree: a run of deeper sharing lies within one of shallower. They are met as in
 * the building of a suffix tree from its array of common lengths: a stack holds the open runs, each
 * sharing more than the one below it. */
int find_groups(const struct sequence *s, int n, int32_t *order, struct group **groups)
{
    for (int i = 0; i < n; i++)
        order[i] = i;
    sorting = s;
    if (n)
        qsort(order, (size_t)n, sizeof *order, by_tokens);

    struct grouping g = {.groups = xreallocarray(NULL, (size_t)n + 1, sizeof *g.groups)};
    struct run *stack = xreallocarray(NULL, (size_t)n + 2, sizeof *stack);
    int depth = 0;
    stack[depth++] = (struct run){0};
    for (int i = 0; i < n; i++) {
        const struct sequence *x = &s[order[i]];
        /* A sequence alone; what it shares with the next one opens or continues a run. */
        g.groups[g.n_groups++] = (struct group){i, 1, 0};
        struct run last = {i, 1, 0, x->n, x->n, 1};
        int shared = 0;
        if (i + 1 < n) {
            shared = common_length(x, &s[order[i + 1]]);
            shared = shared < x->n ? shared : x->n - 1;
        }
        /* Runs that share more than the next neighbour does end here. */
        while (stack[depth - 1].shared > shared) {
            struct run top = stack[--depth];
            top.count += last.count;
            top.tokens += last.tokens;
            top.cost += last.cost;
            top.n_groups += last.n_groups;
            settle(&g, &top);
            last = top;
        }
        if (stack[depth - 1].shared == shared) {
            struct run *top = &stack[depth - 1];
            top->count += last.count;
            top->tokens += last.tokens;
            top->cost += last.cost;
            top->n_groups += last.n_groups;
        } else {
            last.shared = shared;
            stack[depth++] = last;
        }
    }
    free(stack);
    *groups = g.groups;
    return g.n_groups;
}

/* ---- batches ---- */

void batch_add(struct batch *b, struct sequence s, int prefix, int prefix_row)
{
    int own = s.n - prefix;
    if (b->n_tokens + own > b->cap_tokens) {
        b->cap_tokens = 2 * (b->n_tokens + own);
        b->tokens = xreallocarray(b->tokens, (size_t)b->cap_tokens, sizeof *b->tokens);
        b->positions = xreallocarray(b->positions, (size_t)b->cap_tokens, sizeof *b->positions);
    }
    if (b->n_spans == b->cap_spans) {
        b->cap_spans = 2 * b->cap_spans + 16;
        b->spans = xreallocarray(b->spans, (size_t)b->cap_spans, sizeof *b->spans);
    }
    b->spans[b->n_spans++] = (struct attention_span){.query_row = b->n_tokens,
                                                     .queries = own,
                                                     .key_row = b->n_tokens,
                                                     .keys = own,
                                                     .prefix_row = prefix_row,
                                                     .prefix = prefix};
    for (int i = 0; i < own; i++) {
        b->tokens[b->n_tokens] = s.tokens[prefix + i];
        b->positions[b->n_tokens++] = prefix + i;
    }
    if (s.n - 1 > b->max_position)
        b->max_position = s.n - 1;
}

void batch_clear(struct batch *b)
{
    b->n_tokens = b->n_spans = b->max_position = 0;
}

void batch_free(struct batch *b)
{
    free(b->tokens);
    free(b->positions);
    free(b->spans);
    *b = (struct batch){0};
}
