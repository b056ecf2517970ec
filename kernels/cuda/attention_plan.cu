/* Cutting attention's work up: packed keys, strips, runs, buckets and chunks (attention.h). */
#include "kernels/cuda/attention.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <tuple>

static int round_down(int n, int step)
{
    return n / step * step;
}

static int round_up(int n, int step)
{
    return round_down(n + step - 1, step);
}

/* ---- packed keys ---- */

/* Where a span's keys are among packed ones. */
struct key_places {
    std::vector<int> own, prefix; /* [n_spans] */
};

/* Spans that have queries, those that share a prefix side by side. */
static std::vector<int> ordered_spans(const struct attention_plan *p)
{
    std::vector<int> order;
    for (size_t i = 0; i < p->spans.size(); i++)
        if (p->spans[i].queries)
            order.push_back((int)i);
    auto place = [&](int i) { return p->spans[i].prefix ? p->spans[i].prefix_row : -1; };
    std::stable_sort(order.begin(), order.end(), [&](int i, int j) { return place(i) < place(j); });
    return order;
}

/* Each span's own keys begin at a multiple of OWN_STEP. Of prefixes each row is packed once, in
 * its order, though prefixes overlap. */
static struct key_places pack_keys(struct attention_plan *p, const std::vector<int> &order)
{
    struct key_places at = {std::vector<int>(p->spans.size()), std::vector<int>(p->spans.size())};
    for (size_t i = 0; i < p->spans.size(); i++) {
        at.own[i] = (int)p->key_rows.size();
        for (int j = 0; j < p->spans[i].keys; j++)
            p->key_rows.push_back(p->spans[i].key_row + j);
        p->key_rows.resize((size_t)round_up((int)p->key_rows.size(), OWN_STEP), NO_ROW);
    }
    p->own_rows = (int)p->key_rows.size();
    int begin = 0, end = 0, base = 0; /* rows that are packed, the first of them at base */
    for (int i : order) {
        const struct attention_span *s = &p->spans[i];
        if (!s->prefix)
            continue;
        if (s->prefix_row > end || begin == end) {
            begin = end = s->prefix_row;
            base = (int)p->key_rows.size();
        }
        at.prefix[i] = base + s->prefix_row - begin;
        for (; end < s->prefix_row + s->prefix; end++)
            p->key_rows.push_back(~end);
    }
    p->key_rows.resize(p->key_rows.size() + PREFIX_STEP, NO_ROW);
    return at;
}

/* ---- strips ---- */

/* How many queries a span's strips have: STRIP, and fewer where so many rows of scores would take
 * more than is allowed. */
static int strip_length(const struct attention_plan *p, const struct attention_span *span)
{
    int length = STRIP;
    for (; length > 1; length /= 2) {
        int seen = p->window ? p->window + length + OWN_STEP : INT32_MAX - OWN_STEP;
        size_t own = (size_t)std::min(round_up(span->keys, OWN_STEP), round_up(seen, OWN_STEP));
        size_t prefix = (size_t)std::min(round_up(span->prefix, PREFIX_STEP), seen);
        size_t row_bytes = (size_t)p->heads * sizeof(float), rows = (size_t)length;
        if (rows * (own + 3 * (size_t)p->dim + 1) * row_bytes <= p->chunk_bytes &&
            rows * prefix * row_bytes <= p->sweep_bytes)
            break;
    }
    return length;
}

/* How many queries a strip's product over own keys has. */
static int padded(int queries, int length)
{
    return queries == 1 ? 1 : std::min(round_up(queries, STRIP / 2), length);
}

static struct strip strip_of(const struct attention_plan *p, const struct attention_span *span,
                             int ordinal, int length, int own_row)
{
    struct strip s = {};
    int first = ordinal * length;
    s.query_row = span->query_row + first;
    s.queries = std::min(span->queries - first, length);
    s.position = span->prefix + span->keys - span->queries + first;
    s.prefix = span->prefix;
    s.ordinal = ordinal;
    s.padded = padded(s.queries, length);
    int seen = first_seen(s.position, p->window) - s.prefix;
    s.own_begin = round_down(std::max(seen, 0), OWN_STEP);
    s.own_columns = round_up(s.position + s.queries - s.prefix, OWN_STEP) - s.own_begin;
    s.own_row = own_row + s.own_begin;
    return s;
}

static bool sees_prefix(const struct attention_plan *p, const struct strip *s)
{
    return first_seen(s->position, p->window) < s->prefix;
}

/* ---- what holds them ---- */

/* The run with one more strip. */
static struct run extended(const struct attention_plan *p, struct run r, const struct strip *s,
                           int prefix_row)
{
    int begin = round_down(first_seen(s->position, p->window), PREFIX_STEP);
    r.begin = r.strips ? std::min(r.begin, begin) : begin;
    r.end = std::max(r.end, round_up(s->prefix, PREFIX_STEP));
    r.prefix_row = prefix_row;
    r.strips++;
    r.tokens += s->queries;
    return r;
}

static size_t scores_of(const struct attention_plan *p, const struct run *r)
{
    return (size_t)r->tokens * (size_t)p->heads * (size_t)(r->end - r->begin);
}

static struct sweep next_sweep(const struct attention_plan *p)
{
    struct sweep s = {};
    s.first_strip = (int)p->strips.size();
    s.first_run = (int)p->runs.size();
    return s;
}

static struct chunk next_chunk(const struct attention_plan *p)
{
    struct chunk c = {};
    c.first_strip = (int)p->strips.size();
    c.first_token = (int)p->query_rows.size();
    c.first_sweep = (int)p->sweeps.size();
    return c;
}

/* Gives the strips of a run their places among its scores. */
static void place_run(struct attention_plan *p, const struct run *r)
{
    size_t group = (size_t)(p->heads / p->kv_heads);
    for (int i = r->first_strip; i < r->first_strip + r->strips; i++) {
        struct strip *s = &p->strips[i];
        s->run_tokens = r->tokens;
        s->prefix_begin = r->begin;
        s->prefix_columns = r->end - r->begin;
        s->prefix_scores =
            r->scores + (size_t)(s->token - r->token) * group * (size_t)s->prefix_columns;
    }
}

static void finish_sweep(struct attention_plan *p, const struct sweep *s)
{
    size_t scores = 0;
    for (int i = s->first_run; i < s->first_run + s->runs; i++) {
        struct run *r = &p->runs[i];
        r->scores = scores;
        scores += scores_of(p, r);
        place_run(p, r);
    }
    p->most_prefix_scores = std::max(p->most_prefix_scores, scores);
    p->sweeps.push_back(*s);
}

/* Orders the chunk's strips into buckets: of one shape, and one strip of a sequence at most, for
 * their products add to the same keys' gradients. */
static void fill_buckets(struct attention_plan *p, struct chunk *c)
{
    auto key = [&](int i) {
        const struct strip *s = &p->strips[i];
        return std::make_tuple(s->ordinal, s->padded, s->own_columns);
    };
    int step = POINTERS_STEP / std::gcd(p->kv_heads, (int)POINTERS_STEP);
    std::vector<int> sorted;
    for (int i = 0; i < c->strips; i++)
        sorted.push_back(c->first_strip + i);
    std::stable_sort(sorted.begin(), sorted.end(), [&](int i, int j) { return key(i) < key(j); });
    c->first_bucket = (int)p->buckets.size();
    for (size_t i = 0; i < sorted.size(); i++) {
        int at = sorted[i];
        if (i == 0 || key(at) != key(sorted[i - 1])) {
            p->order.resize((size_t)round_up((int)p->order.size(), step), at);
            p->buckets.push_back(
                {(int)p->order.size(), 0, p->strips[at].padded, p->strips[at].own_columns});
        }
        p->order.push_back(at);
        p->buckets.back().strips++;
    }
    c->buckets = (int)p->buckets.size() - c->first_bucket;
}

static void finish_chunk(struct attention_plan *p, struct chunk *c)
{
    size_t scores = 0, results = 0;
    for (int i = c->first_strip; i < c->first_strip + c->strips; i++) {
        struct strip *s = &p->strips[i];
        size_t rows = (size_t)s->padded * (size_t)p->heads;
        s->chunk_tokens = c->tokens;
        s->own_scores = scores;
        s->own_results = results;
        scores += rows * (size_t)s->own_columns;
        results += rows * (size_t)p->dim;
    }
    p->most_tokens = std::max(p->most_tokens, (size_t)c->tokens);
    p->most_own_scores = std::max(p->most_own_scores, scores);
    p->most_own_results = std::max(p->most_own_results, results);
    fill_buckets(p, c);
    c->sweeps = (int)p->sweeps.size() - c->first_sweep;
    p->chunks.push_back(*c);
}

/* What a strip adds to what its chunk takes in the forward pass: own scores and results, and
 * queries (in f32 at most), results over prefixes and sums. */
static size_t bytes_of(const struct attention_plan *p, const struct strip *s)
{
    size_t own = (size_t)s->padded * (size_t)(s->own_columns + p->dim);
    size_t dense = (size_t)s->queries * (size_t)(2 * p->dim + 1);
    return (own + dense) * (size_t)p->heads * sizeof(float);
}

/* ---- cutting ---- */

/* What is being filled. */
struct cut {
    struct chunk chunk;
    struct sweep sweep;
    size_t chunk_bytes, sweep_scores;
    bool in_run; /* the last strip sees its prefix */
};

static void close_sweep(struct attention_plan *p, struct cut *c)
{
    if (c->sweep.strips)
        finish_sweep(p, &c->sweep);
    c->sweep = next_sweep(p);
    c->sweep_scores = 0;
    c->in_run = false;
}

static void close_chunk(struct attention_plan *p, struct cut *c)
{
    close_sweep(p, c);
    if (c->chunk.strips)
        finish_chunk(p, &c->chunk);
    c->chunk = next_chunk(p);
    c->chunk_bytes = 0;
}

/* The run that a strip goes on with, or begins; *more is what that adds to its sweep's scores. */
static struct run run_with(const struct attention_plan *p, const struct cut *c,
                           const struct strip *s, int prefix_row, size_t *more)
{
    struct run r = {};
    bool same = c->in_run && p->runs.back().prefix_row == prefix_row;
    if (same) {
        r = p->runs.back();
    } else {
        r.first_strip = (int)p->strips.size();
        r.token = c->chunk.tokens;
    }
    size_t before = scores_of(p, &r);
    r = extended(p, r, s, prefix_row);
    *more = scores_of(p, &r) - before;
    return r;
}

/* Puts a strip into the run, sweep and chunk that are open, or into new ones where it does not fit:
 * the first of each always does. */
static void add_strip(struct attention_plan *p, struct cut *c, struct strip s, int prefix_row)
{
    if (c->chunk_bytes + bytes_of(p, &s) > p->chunk_bytes)
        close_chunk(p, c);
    bool sees = sees_prefix(p, &s);
    if (sees) {
        size_t more;
        struct run r = run_with(p, c, &s, prefix_row, &more);
        if ((c->sweep_scores + more) * sizeof(float) > p->sweep_bytes) {
            close_sweep(p, c);
            r = run_with(p, c, &s, prefix_row, &more);
        }
        if (r.strips > 1) {
            p->runs.back() = r;
        } else {
            p->runs.push_back(r);
            c->sweep.runs++;
        }
        c->sweep_scores += more;
    }
    c->in_run = sees;
    c->sweep.strips++;
    c->sweep.most_padded = std::max(c->sweep.most_padded, s.padded);
    s.token = c->chunk.tokens;
    c->chunk.strips++;
    c->chunk.tokens += s.queries;
    c->chunk.most_queries = std::max(c->chunk.most_queries, s.queries);
    c->chunk_bytes += bytes_of(p, &s);
    for (int i = 0; i < s.queries; i++)
        p->query_rows.push_back(s.query_row + i);
    p->strips.push_back(s);
}

static void cut_up(struct attention_plan *p)
{
    std::vector<int> order = ordered_spans(p);
    struct key_places at = pack_keys(p, order);
    struct cut c = {};
    for (int i : order) {
        const struct attention_span *span = &p->spans[i];
        int length = strip_length(p, span);
        for (int ordinal = 0; ordinal * length < span->queries; ordinal++)
            add_strip(p, &c, strip_of(p, span, ordinal, length, at.own[i]), at.prefix[i]);
    }
    close_chunk(p, &c);
}

/* ---- the device's ---- */

template <typename T> static size_t bytes_in(const std::vector<T> &v)
{
    return v.size() * sizeof(T);
}

template <typename T> static T *uploaded(struct device *d, const std::vector<T> &v)
{
    T *at = static_cast<T *>(cuda_alloc(d, bytes_in(v)));
    cuda_upload(d, at, v.data(), bytes_in(v));
    return at;
}

size_t attention_plan_bytes(const struct attention_plan *p)
{
    return bytes_in(p->strips) + bytes_in(p->order) + bytes_in(p->query_rows) +
           bytes_in(p->key_rows);
}

void cuda_attention_forget(struct device *d)
{
    struct attention_plan *p = cuda_of(d)->attention;
    if (!p)
        return;
    cuda_release(d, p->device_strips);
    cuda_release(d, p->device_order);
    cuda_release(d, p->device_query_rows);
    cuda_release(d, p->device_key_rows);
    delete p;
    cuda_of(d)->attention = nullptr;
}

static bool serves(const struct attention_plan *p, const struct attention *a)
{
    return p && p->spans.size() == (size_t)a->n_spans && p->heads == a->heads &&
           p->kv_heads == a->kv_heads && p->head_dim == a->head_dim && p->window == a->window &&
           memcmp(p->spans.data(), a->spans_at, (size_t)a->n_spans * sizeof *a->spans_at) == 0;
}

static struct attention_plan *plan_of(struct device *d, const struct attention *a)
{
    struct cuda *c = cuda_of(d);
    if (serves(c->attention, a))
        return c->attention;
    cuda_attention_forget(d);
    struct attention_plan *p = new attention_plan();
    p->spans.assign(a->spans_at, a->spans_at + a->n_spans);
    p->heads = a->heads;
    p->kv_heads = a->kv_heads;
    p->head_dim = a->head_dim;
    p->window = a->window;
    p->sweep_bytes = c->attention_bytes / 16 * 3;
    p->chunk_bytes = c->attention_bytes - p->sweep_bytes;
    p->dim = round_up(a->head_dim, 8);
    cut_up(p);
    c->attention = p;
    return p;
}

const struct attention_plan *attention_plan_of(struct device *d, const struct attention *a)
{
    return plan_of(d, a);
}

const struct attention_plan *attention_plan_for(struct device *d, const struct attention *a)
{
    struct attention_plan *p = plan_of(d, a);
    if (p->device_strips)
        return p;
    p->device_strips = uploaded(d, p->strips);
    p->device_order = uploaded(d, p->order);
    p->device_query_rows = uploaded(d, p->query_rows);
    p->device_key_rows = uploaded(d, p->key_rows);
    return p;
}

void cuda_attention_limit(struct device *d, size_t bytes)
{
    cuda_attention_forget(d);
    cuda_of(d)->attention_bytes = bytes;
}
