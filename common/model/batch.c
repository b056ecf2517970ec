#include "common/model/batch.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

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

/* The cheapest division by dynamic programming: best[e] is the least number of tokens to compute
 * for the first e sequences in order, and their last group begins at from[e] with prefix[e] shared.
 */
int find_groups(const struct sequence *s, int n, int32_t *order, struct group **groups)
{
    for (int i = 0; i < n; i++)
        order[i] = i;
    sorting = s;
    if (n)
        qsort(order, (size_t)n, sizeof *order, by_tokens);

    size_t room = (size_t)n + 1;
    long *best = xcalloc(room, sizeof *best), *tokens = xcalloc(room, sizeof *tokens);
    int *from = xcalloc(room, sizeof *from), *prefix = xcalloc(room, sizeof *prefix);
    int *common = xcalloc(room, sizeof *common); /* of a sequence and the one before it */
    for (int end = 1; end <= n; end++) {
        const struct sequence *last = &s[order[end - 1]];
        tokens[end] = tokens[end - 1] + last->n;
        common[end - 1] = end > 1 ? common_length(&s[order[end - 2]], last) : 0;
        best[end] = best[end - 1] + last->n;
        from[end] = end - 1;
        int shared = last->n - 1;
        for (int first = end - 2; first >= 0; first--) {
            int n_first = s[order[first]].n;
            shared = common[first + 1] < shared ? common[first + 1] : shared;
            shared = n_first - 1 < shared ? n_first - 1 : shared;
            if (shared < MIN_PREFIX)
                break;
            long cost =
                best[first] + tokens[end] - tokens[first] - (long)(end - first - 1) * shared;
            if (cost < best[end]) {
                best[end] = cost;
                from[end] = first;
                prefix[end] = shared;
            }
        }
    }
    int n_groups = 0;
    for (int end = n; end > 0; end = from[end])
        n_groups++;
    *groups = xreallocarray(NULL, (size_t)n_groups + 1, sizeof **groups);
    for (int end = n, g = n_groups; end > 0; end = from[end])
        (*groups)[--g] = (struct group){from[end], end - from[end], prefix[end]};
    free(best);
    free(tokens);
    free(from);
    free(prefix);
    free(common);
    return n_groups;
}

/* ---- batches ---- */

static void add_tokens(struct batch *b, const int32_t *tokens, int n, int position)
{
    if (b->n_tokens + n > b->cap_tokens) {
        b->cap_tokens = 2 * (b->n_tokens + n);
        b->tokens = xreallocarray(b->tokens, (size_t)b->cap_tokens, sizeof *b->tokens);
        b->positions = xreallocarray(b->positions, (size_t)b->cap_tokens, sizeof *b->positions);
    }
    for (int i = 0; i < n; i++) {
        b->tokens[b->n_tokens] = tokens[i];
        b->positions[b->n_tokens++] = position + i;
    }
    if (position + n - 1 > b->max_position)
        b->max_position = position + n - 1;
}

static void add_span(struct batch *b, struct attention_span span, int reads)
{
    if (b->n_spans == b->cap_spans) {
        b->cap_spans = 2 * b->cap_spans + 16;
        b->spans = xreallocarray(b->spans, (size_t)b->cap_spans, sizeof *b->spans);
        b->reads = xreallocarray(b->reads, (size_t)b->cap_spans, sizeof *b->reads);
    }
    b->spans[b->n_spans] = span;
    b->reads[b->n_spans++] = reads;
    b->n_reads += reads;
}

/* More keys and values than any memory holds, and few enough to be counted in an int. */
enum { MOST_COPIES = 1 << 27 };

static void add_copies(struct batch *b, int row, int n)
{
    if (b->n_copies + n > b->cap_copies) {
        b->cap_copies = 2 * (b->n_copies + n);
        b->copies = xreallocarray(b->copies, (size_t)b->cap_copies, sizeof *b->copies);
    }
    for (int i = 0; i < n; i++)
        b->copies[b->n_copies++] = row + i;
}

void batch_add(struct batch *b, struct sequence s, const struct answer_tree *t, int prefix,
               int prefix_row)
{
    int own = s.n - prefix, row = b->n_tokens, all = own + (t ? t->branches[0].n : 0);
    if (t && (int64_t)(t->n_branches - 1) * s.n > MOST_COPIES - b->n_copies)
        die(EX_DATAERR,
            "a text of %d tokens under answers of %d branches asks for too many keys: give fewer "
            "answers, or shorter texts",
            s.n, t->n_branches);
    add_tokens(b, s.tokens + prefix, own, prefix);
    if (t)
        add_tokens(b, t->branches[0].tokens, t->branches[0].n, s.n);
    struct attention_span span = {.query_row = row,
                                  .queries = all,
                                  .key_row = row,
                                  .keys = all,
                                  .prefix_row = prefix_row,
                                  .prefix = prefix};
    add_span(b, span, t ? t->branches[0].read : 1);
    for (int i = 1; t && i < t->n_branches; i++) {
        const struct answer_branch *branch = &t->branches[i];
        span.query_row = b->n_tokens;
        span.queries = branch->n;
        span.key_row = b->n_copies;
        span.keys = own + branch->n;
        add_copies(b, row, own);
        add_copies(b, b->n_tokens, branch->n);
        add_tokens(b, branch->tokens, branch->n, s.n);
        add_span(b, span, branch->read);
    }
}

struct attention_span batch_span(const struct batch *b, int i)
{
    struct attention_span span = b->spans[i];
    if (span.queries < span.keys)
        span.key_row += b->n_tokens;
    return span;
}

bool same_batch(const struct batch *a, const struct batch *b)
{
    return a->n_tokens == b->n_tokens && a->n_spans == b->n_spans &&
           !memcmp(a->spans, b->spans, (size_t)a->n_spans * sizeof *a->spans) &&
           !memcmp(a->tokens, b->tokens, (size_t)a->n_tokens * sizeof *a->tokens);
}

void batch_clear(struct batch *b)
{
    b->n_tokens = b->n_spans = b->n_reads = b->n_copies = b->max_position = 0;
}

void batch_free(struct batch *b)
{
    free(b->tokens);
    free(b->positions);
    free(b->spans);
    free(b->reads);
    free(b->copies);
    *b = (struct batch){0};
}
