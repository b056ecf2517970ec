#include "common/score/score.h"

#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct scorer {
    struct model *model;
    size_t nodes; /* of the tree */
    struct forward *forward;
    struct vocabulary *vocabulary; /* NULL: it is not asked for */
    double *masses;                /* of the last run */
    struct score_options options;
    struct prefix_cache cache;
    struct batch cached; /* the prefixes in it */
    struct score_counts counts;
};

struct scorer *scorer_open(struct model *m, struct lora_set *lora, struct score_options options)
{
    struct scorer *r = xcalloc(1, sizeof *r);
    r->model = m;
    r->nodes = options.tree ? (size_t)options.tree->n_nodes : 1;
    r->forward = forward_open(m, lora);
    r->vocabulary = options.mass ? vocabulary_open(m, lora) : NULL;
    r->options = options;
    return r;
}

void scorer_close(struct scorer *r)
{
    prefix_cache_free(&r->cache, r->model);
    batch_free(&r->cached);
    forward_close(r->forward);
    scorer_stop_mass(r);
    free(r);
}

const double *scorer_masses(const struct scorer *r)
{
    return r->masses;
}

void scorer_stop_mass(struct scorer *r)
{
    if (r->vocabulary)
        vocabulary_close(r->vocabulary);
    free(r->masses);
    r->vocabulary = NULL;
    r->masses = NULL;
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
        double queries = b->spans[i].queries;
        double keys = (double)b->spans[i].prefix + b->spans[i].keys;
        r->counts.attention_products += 2.0 * c->layers * c->heads * c->head_dim *
                                        (queries * keys - queries * (queries - 1) / 2);
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
            batch_add(b, (struct sequence){s[order[groups[g].first]].tokens, groups[g].prefix},
                      NULL, 0, 0);
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

/* A pass over what sequences have of their own, behind what they share. */
struct score_pass {
    struct batch batch;
    int32_t *members; /* [n]: which sequence each is */
    int n, cap;
    float *logits; /* [n, nodes, n_classes] */
    double *norms; /* [n, nodes] */
};

/* A sequence's class logits from what was read of it. */
static void take_logits(const struct scorer *r, const float *read, float *logits)
{
    const struct answer_tree *t = r->options.tree;
    size_t outputs = (size_t)r->model->n_classes;
    bool finite = true;
    if (!t || t->plain) {
        memcpy(logits, read, outputs * sizeof *logits);
        return;
    }
    for (size_t i = 0; i < r->nodes * outputs; i++)
        finite = finite && isfinite(read[i]);
    if (finite)
        answer_tree_logits(t, read, (int)outputs, logits);
    else
        for (int c = 0; c < t->n_classes; c++)
            logits[c] = NAN;
}

static void run_pass(struct scorer *r, struct score_pass *p, float *logits)
{
    if (p->n == 0)
        return;
    const struct answer_tree *t = r->options.tree;
    int outputs = r->model->n_classes;
    size_t classes = (size_t)(t && !t->plain ? t->n_classes : outputs);
    forward_logits(r->forward, &p->batch, r->cache.rows ? &r->cache : NULL, p->logits,
                   r->vocabulary, p->norms);
    for (int i = 0; i < p->n; i++) {
        size_t from = (size_t)i * r->nodes, to = (size_t)p->members[i];
        const float *read = p->logits + from * (size_t)outputs;
        take_logits(r, read, logits + to * classes);
        if (r->vocabulary)
            r->masses[to] = answer_tree_mass(t, read, outputs, p->norms + from);
    }
    count_pass(r, &p->batch);
    batch_clear(&p->batch);
    p->n = 0;
}

static void add_to_pass(struct scorer *r, struct score_pass *p, const struct sequence *s,
                        int32_t member, int prefix, int prefix_row)
{
    batch_add(&p->batch, s[member], r->options.tree, prefix, prefix_row);
    if (p->n == p->cap) {
        p->cap = 2 * p->cap + 16;
        size_t reads = (size_t)p->cap * r->nodes;
        p->members = xreallocarray(p->members, (size_t)p->cap, sizeof *p->members);
        p->logits =
            xreallocarray(p->logits, reads * (size_t)r->model->n_classes, sizeof *p->logits);
        p->norms = xreallocarray(p->norms, reads, sizeof *p->norms);
    }
    p->members[p->n++] = member;
}

/* Whether a sequence with so many tokens of its own goes into the next pass. */
static bool is_full(const struct scorer *r, const struct score_pass *p, int own)
{
    const struct answer_tree *t = r->options.tree;
    long most = r->options.batch_tokens, beside = t ? answer_tree_positions(t) : 0;
    long copies = t ? (long)(t->n_branches - 1) * own + beside - t->branches[0].n : 0;
    return p->batch.n_tokens + own + beside > most ||
           p->batch.n_copies + copies > COPIES_PER_TOKEN * most;
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
    if (r->vocabulary)
        r->masses = xreallocarray(r->masses, (size_t)n + 1, sizeof *r->masses);
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
                if (is_full(r, &pass, own)) {
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
    free(pass.norms);
    free(groups);
    free(order);
}
