#include "common/score/score.h"

#include "common/util/mem.h"

#include <stdlib.h>

struct scorer {
    struct model *model;
    struct forward *forward;
    struct score_options options;
    struct prefix_cache cache;
    struct batch cached; /* the prefixes in it */
    struct score_counts counts;
};

struct scorer *scorer_open(struct model *m, struct lora_set *lora, struct score_options options)
{
    struct scorer *r = xcalloc(1, sizeof *r);
    r->model = m;
    r->forward = forward_open(m, lora);
    r->options = options;
    return r;
}

void scorer_close(struct scorer *r)
{
    prefix_cache_free(&r->cache, r->model);
    batch_free(&r->cached);
    forward_close(r->forward);
    free(r);
}

struct score_counts scorer_counts(const struct scorer *r)
{
    return r->counts;
}

static void count_pass(struct scorer *r, const struct batch *b)
{
    const struct config *c = r->model->config;
    r->counts.passes++;
    r->counts.computed += (unsigned long)b->n_tokens;
    for (int i = 0; i < b->n_spans; i++) {
        double own = b->spans[i].keys, prefix = b->spans[i].prefix;
        r->counts.attention_products +=
            2.0 * c->layers * c->heads * c->head_dim * (own * prefix + own * (own + 1) / 2);
    }
}

/* A round is a run of groups whose prefixes are computed in one pass and kept for the passes over
 * the rest of their sequences, and of those that follow while they begin alike: where one round
 * takes all of a window's prefixes, the next window mostly has the same. Returns the first group of
 * the next round; the batch holds this one's prefixes. */
static int plan_round(const struct scorer *r, const struct sequence *s, const int32_t *order,
                      const struct group *groups, int n_groups, int from, struct batch *b)
{
    batch_clear(b);
    int g = from;
    for (; g < n_groups; g++) {
        if (b->n_tokens && b->n_tokens + groups[g].prefix > r->options.batch_tokens)
            break;
        if (groups[g].prefix)
            batch_add(b, (struct sequence){s[order[groups[g].first]].tokens, groups[g].prefix}, 0,
                      0);
    }
    return g;
}

/* Afterwards the batch holds what the one before held. */
static void compute_prefixes(struct scorer *r, struct batch *prefixes)
{
    prefix_cache_reserve(&r->cache, r->model, prefixes->n_tokens);
    forward_prefixes(r->forward, prefixes, &r->cache);
    count_pass(r, prefixes);
    r->counts.prefixes += (unsigned long)prefixes->n_spans;
    struct batch before = r->cached;
    r->cached = *prefixes;
    *prefixes = before;
}

/* The passes over what the sequences of groups [from, to) have of their own. */
struct score_pass {
    struct batch batch;
    int32_t *members; /* which sequence each span is */
    float *logits;
    int cap;
};

static void run_pass(struct scorer *r, struct score_pass *p, float *logits)
{
    if (p->batch.n_spans == 0)
        return;
    size_t classes = (size_t)r->model->n_classes;
    forward_logits(r->forward, &p->batch, r->cache.rows ? &r->cache : NULL, p->logits);
    for (int i = 0; i < p->batch.n_spans; i++)
        for (size_t c = 0; c < classes; c++)
            logits[(size_t)p->members[i] * classes + c] = p->logits[(size_t)i * classes + c];
    count_pass(r, &p->batch);
    batch_clear(&p->batch);
}

static void add_to_pass(struct scorer *r, struct score_pass *p, const struct sequence *s,
                        int32_t member, int prefix, int prefix_row)
{
    batch_add(&p->batch, s[member], prefix, prefix_row);
    if (p->batch.n_spans > p->cap) {
        p->cap = 2 * p->batch.n_spans;
        p->members = xreallocarray(p->members, (size_t)p->cap, sizeof *p->members);
        p->logits = xreallocarray(p->logits, (size_t)p->cap * (size_t)r->model->n_classes,
                                  sizeof *p->logits);
    }
    p->members[p->batch.n_spans - 1] = member;
}

void scorer_run(struct scorer *r, const struct sequence *s, int n, float *logits,
                void (*progress)(void *user, int done), void *user)
{
    int32_t *order = xreallocarray(NULL, (size_t)n + 1, sizeof *order);
    struct group *groups;
    int n_groups;
    if (r->options.share) {
        n_groups = find_groups(s, n, order, &groups);
    } else {
        groups = xreallocarray(NULL, 1, sizeof *groups);
        groups[0] = (struct group){0, n, 0};
        n_groups = 1;
        for (int i = 0; i < n; i++)
            order[i] = i;
    }
    struct batch prefixes = {0};
    struct score_pass pass = {0};
    int done = 0;
    for (int g = 0; g < n_groups;) {
        int end = plan_round(r, s, order, groups, n_groups, g, &prefixes);
        if (prefixes.n_spans && !same_batch(&prefixes, &r->cached))
            compute_prefixes(r, &prefixes);
        int prefix_row = 0;
        for (; g < end; prefix_row += groups[g++].prefix)
            for (int i = 0; i < groups[g].count; i++) {
                int32_t member = order[groups[g].first + i];
                int own = s[member].n - groups[g].prefix;
                if (pass.batch.n_tokens + own > r->options.batch_tokens) {
                    run_pass(r, &pass, logits);
                    if (progress)
                        progress(user, done);
                }
                add_to_pass(r, &pass, s, member, groups[g].prefix, prefix_row);
                done++;
            }
        run_pass(r, &pass, logits);
        if (progress)
            progress(user, done);
    }
    for (int i = 0; i < n; i++)
        r->counts.tokens += (unsigned long)s[i].n;
    r->counts.sequences += (unsigned long)n;
    batch_free(&prefixes);
    batch_free(&pass.batch);
    free(pass.members);
    free(pass.logits);
    free(groups);
    free(order);
}
