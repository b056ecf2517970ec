/* The tables of attention in man/duq-gpu.7: into how many kernels and products the CUDA device cuts
 * the attention of one layer of Mistral-7B, and how large its scores are. Counted from its own
 * plan; nothing is computed. usage: attention-plan score|student|forward|backward */
#include "kernels/cuda/attention.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

enum { HEADS = 32, KV_HEADS = 8, HEAD_DIM = 128 };

struct calls {
    int kernels, products;
};

/* What kernels/cuda/attention.cu starts. */
static struct calls forward_calls(const struct attention_plan *p)
{
    int chunks = (int)p->chunks.size(), sweeps = (int)p->sweeps.size();
    return {2 + 2 * chunks + sweeps, 2 * (int)(p->buckets.size() + p->runs.size())};
}

/* What kernels/cuda/attention_backward.cu starts, its two clears with it. */
static struct calls backward_calls(const struct attention_plan *p)
{
    int chunks = (int)p->chunks.size(), sweeps = (int)p->sweeps.size();
    return {6 + 3 * chunks + sweeps, 5 * (int)(p->buckets.size() + p->runs.size())};
}

static double megabytes(double floats)
{
    return 4e-6 * floats;
}

static void row(struct device *d, const char *set, const std::vector<attention_span> &spans,
                bool backward)
{
    struct attention a = {};
    a.spans_at = spans.data();
    a.n_spans = (int)spans.size();
    a.heads = HEADS;
    a.kv_heads = KV_HEADS;
    a.head_dim = HEAD_DIM;
    const struct attention_plan *p = attention_plan_for(d, &a);
    struct calls calls = backward ? backward_calls(p) : forward_calls(p);
    double prefix = 0, own = 0, tokens = (double)p->query_rows.size();
    for (const run &r : p->runs)
        prefix += (double)r.tokens * HEADS * (r.end - r.begin);
    for (const strip &s : p->strips)
        own += (double)s.padded * HEADS * s.own_columns;
    int matrices = backward ? 2 : 1;
    printf(".It %s Ta %.0f Ta %d Ta %d Ta %.0f Ta %.0f\n", set, tokens, calls.kernels,
           calls.products, matrices * megabytes(prefix), matrices * megabytes(own));
}

/* So many texts of `own` tokens after a prefix, whose keys are in a cache. */
static std::vector<attention_span> scoring(int texts, int prefix, int own)
{
    std::vector<attention_span> spans;
    for (int i = 0; i < texts; i++)
        spans.push_back({i * own, own, i * own, own, 0, prefix});
    return spans;
}

/* The same, with the prefix in the pass. */
static std::vector<attention_span> training(int texts, int prefix, int own)
{
    std::vector<attention_span> spans = {{0, prefix, 0, prefix, 0, 0}};
    for (int i = 0; i < texts; i++)
        spans.push_back({prefix + i * own, own, prefix + i * own, own, 0, prefix});
    return spans;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int shots, own, zero, zero_own, batch; /* as in plan.sh */
    } sets[] = {{"Amazon", 791, 105, 36, 105, 16},
                {"SST-2", 433, 28, 21, 28, 16},
                {"Yahoo", 1141, 136, 69, 136, 1},
                {"YouTube", 467, 36, 27, 33, 16}};
    enum { PASS = 16384 };
    const char *stage = argc == 2 ? argv[1] : "";
    bool backward = !strcmp(stage, "backward");
    struct device *d = cuda_device_open(BF16, 0);
    for (const auto &s : sets)
        if (!strcmp(stage, "score"))
            row(d, s.name, scoring(PASS / s.own, s.shots, s.own), false);
        else if (!strcmp(stage, "student"))
            row(d, s.name, scoring(PASS / s.zero_own, s.zero, s.zero_own), false);
        else if (!strcmp(stage, "forward") || backward)
            row(d, s.name,
                s.batch > 1 ? training(s.batch, s.zero, s.zero_own)
                            : scoring(1, 0, s.zero + s.zero_own),
                backward);
    d->close(d);
    return EXIT_SUCCESS;
}
