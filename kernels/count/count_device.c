#include "kernels/count/count_device.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* FLOPs for each element of operations that are no products. */
enum {
    RMSNORM_WORK = 4, /* square, sum, scale, gain */
    ROPE_WORK = 3,    /* six for a pair */
    SOFTMAX_WORK = 4, /* of a query-key pair: scale, maximum, exponential, sum */
    GLU_WORK = 4,
    CAP_WORK = 10,
    DROPOUT_WORK = 2,
    RMSNORM_BACKWARD_WORK = 10,
    GLU_BACKWARD_WORK = 8,
    ADAMW_WORK = 12
};

/* An operation's cost needs few of its arguments. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

struct weight {
    int out, in;
};

struct allocation {
    void *p;
    size_t bytes;
};

struct counter {
    struct machine machine;
    struct operation_count *operations;
    size_t n_operations;
    struct allocation *allocations;
    size_t n_allocations, cap_allocations;
    double held, peak;
    unsigned long tokens, passes;
    struct device *attends_as; /* see count_device_attend_as() */
};

static struct counter *counter(const struct device *d)
{
    return d->state;
}

static double f(double n)
{
    return n * (double)sizeof(float);
}

/* ---- the tally ---- */

static struct operation_count *find(struct counter *k, const char *name)
{
    for (size_t i = 0; i < k->n_operations; i++)
        if (!strcmp(k->operations[i].name, name))
            return &k->operations[i];
    k->operations = xreallocarray(k->operations, k->n_operations + 1, sizeof *k->operations);
    struct operation_count *o = &k->operations[k->n_operations++];
    *o = (struct operation_count){0};
    snprintf(o->name, sizeof o->name, "%s", name);
    return o;
}

/* One call. */
struct cost {
    unsigned launches;
    double product_flops, f32_flops, read, written, moved; /* moved: to or from the host */
    double pairs;
};

static void charge(const struct device *d, const char *name, struct cost c)
{
    struct counter *k = counter(d);
    const struct machine *m = &k->machine;
    struct operation_count *o = find(k, name);
    double rate = d->compute == F32 ? m->f32_rate : m->product_rate;
    double seconds[RESOURCES] = {[COMPUTE] = c.product_flops / rate + c.f32_flops / m->f32_rate,
                                 [MEMORY] = (c.read + c.written) / m->bandwidth,
                                 [LINK] = m->link > 0 ? c.moved / m->link : 0};
    enum resource slowest = COMPUTE;
    for (enum resource r = MEMORY; r < RESOURCES; r++)
        if (seconds[r] > seconds[slowest])
            slowest = r;
    o->calls++;
    o->launches += c.launches;
    o->flops += c.product_flops + c.f32_flops;
    o->bytes_read += c.read;
    o->bytes_written += c.written;
    o->seconds += seconds[slowest];
    o->limited[slowest] += seconds[slowest];
    o->attended_pairs += c.pairs;
}

static void hold(const struct device *d, double bytes)
{
    struct counter *k = counter(d);
    k->held += bytes;
    if (k->held > k->peak)
        k->peak = k->held;
}

/* ---- memory ---- */

static void *count_alloc(struct device *d, size_t bytes)
{
    struct counter *k = counter(d);
    size_t size = bytes ? bytes : 1;
    void *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        die_errno("no room for the addresses of %zu bytes", bytes);
    if (k->n_allocations == k->cap_allocations) {
        k->cap_allocations = k->cap_allocations ? 2 * k->cap_allocations : 64;
        k->allocations = xreallocarray(k->allocations, k->cap_allocations, sizeof *k->allocations);
    }
    k->allocations[k->n_allocations++] = (struct allocation){p, size};
    hold(d, (double)size);
    return p;
}

static void count_release(struct device *d, void *p)
{
    struct counter *k = counter(d);
    for (size_t i = k->n_allocations; p && i-- > 0;)
        if (k->allocations[i].p == p) {
            munmap(p, k->allocations[i].bytes);
            hold(d, -(double)k->allocations[i].bytes);
            k->allocations[i] = k->allocations[--k->n_allocations];
            return;
        }
}

static void count_upload(struct device *d, void *to, const void *from, size_t bytes)
{
    charge(d, "upload", (struct cost){.written = (double)bytes, .moved = (double)bytes});
}

static void count_download(struct device *d, void *to, const void *from, size_t bytes)
{
    memset(to, 0, bytes);
    charge(d, "download", (struct cost){.read = (double)bytes, .moved = (double)bytes});
}

static void count_memory(struct device *d, size_t *free_bytes, size_t *total)
{
    struct counter *k = counter(d);
    *total = (size_t)k->machine.memory;
    *free_bytes = k->held < k->machine.memory ? (size_t)(k->machine.memory - k->held) : 0;
}

static const void *count_import(struct device *d, const void *host, size_t bytes)
{
    hold(d, (double)bytes);
    return host;
}

static void count_clear(struct device *d, void *p, size_t bytes)
{
    charge(d, "clear", (struct cost){.launches = 1, .written = (double)bytes});
}

static void count_close(struct device *d)
{
    struct counter *k = counter(d);
    for (size_t i = 0; i < k->n_allocations; i++)
        munmap(k->allocations[i].p, k->allocations[i].bytes);
    free(k->allocations);
    free(k->operations);
    free(k);
    free(d);
}

/* ---- products ---- */

static double weight_bytes(const struct device *d, const struct weight *w)
{
    return (double)w->out * w->in * (double)dtype_size(d->compute);
}

static struct weight *count_weight_create(struct device *d, const void *data, enum dtype stored,
                                          int out, int in)
{
    struct weight *w = xmalloc(sizeof *w);
    *w = (struct weight){out, in};
    hold(d, weight_bytes(d, w));
    return w;
}

static void count_weight_free(struct device *d, struct weight *w)
{
    if (w)
        hold(d, -weight_bytes(d, w));
    free(w);
}

static void charge_weight_product(struct device *d, const char *operation, const struct weight *w,
                                  int rows, double in, double out, struct cost extra)
{
    char name[sizeof((struct operation_count *)0)->name];
    snprintf(name, sizeof name, "%s %dx%d", operation, w->out, w->in);
    extra.product_flops = 2.0 * rows * in * out;
    extra.read += rows * in * (double)dtype_size(d->compute) + weight_bytes(d, w);
    extra.written += f(rows * out);
    charge(d, name, extra);
}

static void count_matmul(struct device *d, const struct weight *w, const void *x, const float *bias,
                         float *y, int rows, bool accumulate)
{
    if (rows == 0)
        return;
    charge_weight_product(
        d, "matmul", w, rows, w->in, w->out,
        (struct cost){.launches = bias ? 2 : 1,
                      .f32_flops = bias ? (double)rows * w->out : 0,
                      .read = f(bias ? w->out : 0) + f(accumulate ? (double)rows * w->out : 0)});
}

/* Two products of one input, of which only what a gated linear unit makes of them is written. */
void count_device_gated_matmul(struct device *d, const struct weight *gate, const struct weight *up,
                               const float *gate_bias, const float *up_bias, int rows)
{
    if (rows == 0)
        return;
    char name[sizeof((struct operation_count *)0)->name];
    snprintf(name, sizeof name, "gated_matmul %dx%d", gate->out, gate->in);
    double in = (double)rows * gate->in, out = (double)rows * gate->out;
    double size = (double)dtype_size(d->compute);
    int biases = (gate_bias != NULL) + (up_bias != NULL);
    charge(d, name,
           (struct cost){.launches = 1,
                         .product_flops = 2 * 2 * in * gate->out,
                         .f32_flops = (GLU_WORK + biases) * out,
                         .read = in * size + weight_bytes(d, gate) + weight_bytes(d, up) +
                                 f((double)biases * gate->out),
                         .written = out * size});
}

static void count_matmul_backward(struct device *d, const struct weight *w, const void *dy,
                                  float *dx, int rows, bool accumulate)
{
    if (rows == 0)
        return;
    charge_weight_product(
        d, "matmul_backward", w, rows, w->out, w->in,
        (struct cost){.launches = 1, .read = f(accumulate ? (double)rows * w->in : 0)});
}

/* So many FLOPs of a product of operands of a type: only those in bf16 have the product's rate. */
static void add_product(struct cost *c, enum dtype type, double flops)
{
    *(type == F32 ? &c->f32_flops : &c->product_flops) += flops;
}

static void count_gemm(struct device *d, const struct matrix_product *p)
{
    double m = p->m, n = p->n, k = p->k;
    struct cost c = {.launches = 1,
                     .read = (m * k + k * n) * (double)dtype_size(p->type) +
                             f(p->accumulate ? m * n : 0),
                     .written = f(m * n)};
    add_product(&c, p->type, 2 * m * n * k);
    charge(d, "gemm", c);
}

/* The input is read once, and nothing of it is written. */
static void count_lower(struct device *d, const struct lowering *l)
{
    double rows = l->rows, in = l->in, width = lowered_width(l);
    bool drops = l->dropout[0].rate > 0;
    struct cost c = {.launches = drops ? 1 + (unsigned)l->n : 1,
                     .f32_flops = drops ? DROPOUT_WORK * rows * in * l->n : 0,
                     .read = (rows + width) * in * (double)dtype_size(l->type) +
                             f(drops && l->dropout[0].row_numbers ? rows : 0),
                     .written = f(rows * width)};
    add_product(&c, l->type, 2 * rows * width * in);
    charge(d, "lower", c);
}

static void count_lower_backward(struct device *d, const struct lowering_backward *b)
{
    double rows = b->rows, in = b->in, rank = b->rank, size = (double)dtype_size(b->type);
    bool drops = b->dropout.rate > 0;
    double products = b->dx ? 2 : 1, elements = rows * in;
    struct cost c = {.launches = (drops ? 2 : 1) * (unsigned)products,
                     .f32_flops = drops ? DROPOUT_WORK * elements * products : 0,
                     .read = (elements + rows * rank) * size + f(rank * in) +
                             (b->dx ? rank * in * size + f(elements) : 0) +
                             f(drops && b->dropout.row_numbers ? rows : 0),
                     .written = f(rank * in + (b->dx ? elements : 0))};
    add_product(&c, b->type, products * 2 * rows * rank * in);
    charge(d, "lower_backward", c);
}

static void count_class_logits(struct device *d, const float *h, int rows, const float *w,
                               int classes, int width, float *logits)
{
    charge(d, "class_logits",
           (struct cost){.launches = 1,
                         .f32_flops = 2.0 * rows * classes * width,
                         .read = f((double)rows * width + (double)classes * width),
                         .written = f((double)rows * classes)});
}

/* ---- attention ---- */

/* What spans ask for: query-key pairs, and rows that are read or written. */
struct attention_work {
    double pairs, queries, own_keys, prefix_keys;
};

static struct attention_work attention_work(const struct attention *a)
{
    struct attention_work work = {0};
    for (int i = 0; i < a->n_spans; i++) {
        const struct attention_span *s = &a->spans_at[i];
        if (s->queries == 0)
            continue;
        /* Query j (from 0) stands at position first + j and sees as many keys as that and its own,
         * but no more than the window. */
        double first = (double)s->prefix + s->keys - s->queries, n = s->queries;
        double all = a->window ? a->window - first - 1 : n; /* queries that see all before them */
        all = all < 0 ? 0 : all < n ? all : n;
        work.pairs += all * (first + 1) + all * (all - 1) / 2 + (n - all) * a->window;
        work.queries += n;
        double unseen = a->window && first + 1 > a->window ? first + 1 - a->window : 0;
        double prefix = s->prefix > unseen ? s->prefix - unseen : 0;
        work.own_keys += s->keys - (unseen > s->prefix ? unseen - s->prefix : 0);
        /* The sequences of a group follow one another and share their prefix's rows. */
        const struct attention_span *before = i ? &a->spans_at[i - 1] : NULL;
        if (!before || !before->queries || !before->prefix || before->prefix_row != s->prefix_row)
            work.prefix_keys += prefix;
    }
    work.pairs *= a->heads;
    return work;
}

static void hold_while_attending(struct device *d, const struct attention *a, bool backward)
{
    struct device *other = counter(d)->attends_as;
    double bytes = other ? (double)other->attention_memory(other, a, backward) : 0;
    hold(d, bytes);
    hold(d, -bytes);
}

static void count_attention(struct device *d, const struct attention *a)
{
    hold_while_attending(d, a, false);
    struct attention_work w = attention_work(a);
    if (w.queries == 0)
        return;
    double q = w.queries * a->heads * a->head_dim;
    double kv = (w.own_keys + w.prefix_keys) * a->kv_heads * a->head_dim;
    charge(d, "attention",
           (struct cost){.launches = 1,
                         .product_flops = 4 * w.pairs * a->head_dim,
                         .f32_flops = (SOFTMAX_WORK + (a->cap > 0 ? CAP_WORK : 0)) * w.pairs,
                         .read = f(q + 2 * kv),
                         .written = q * (double)dtype_size(d->compute) +
                                    f(a->lse ? w.queries * a->heads : 0),
                         .pairs = w.pairs});
}

static void count_attention_backward(struct device *d, const struct attention_backward *b)
{
    const struct attention *a = &b->forward;
    hold_while_attending(d, a, true);
    struct attention_work w = attention_work(a);
    if (w.queries == 0)
        return;
    double q = w.queries * a->heads * a->head_dim, key = (double)a->kv_heads * a->head_dim;
    charge(d, "attention_backward",
           (struct cost){
               .launches = 1,
               .product_flops = 10 * w.pairs * a->head_dim,
               .f32_flops = (2 * SOFTMAX_WORK + (a->cap > 0 ? CAP_WORK : 0)) * w.pairs,
               /* q, d_out, lse; k, v; what is added to */
               .read = f(2 * q + w.queries * a->heads + 2 * (w.own_keys + 2 * w.prefix_keys) * key),
               .written = f(q + w.queries * a->heads + 2 * (w.own_keys + w.prefix_keys) * key),
               .pairs = w.pairs});
}

/* ---- rows ---- */

static void count_embed(struct device *d, const void *table, enum dtype stored, int width,
                        const int32_t *ids, int n, float *out)
{
    counter(d)->tokens += (unsigned long)n;
    counter(d)->passes++;
    double elements = (double)n * width;
    charge(d, "embed",
           (struct cost){.launches = 1,
                         .read = elements * (double)dtype_size(stored) + f(n),
                         .written = f(elements)});
}

static void count_gather(struct device *d, const float *from, const int32_t *rows, int n, int width,
                         float *to)
{
    double elements = (double)n * width;
    charge(d, "gather",
           (struct cost){.launches = 1, .read = f(elements + n), .written = f(elements)});
}

static void count_scatter_add(struct device *d, const float *from, const int32_t *rows, int n,
                              int width, float *to)
{
    double elements = (double)n * width;
    charge(d, "scatter_add",
           (struct cost){.launches = 1,
                         .f32_flops = elements,
                         .read = f(2 * elements + n),
                         .written = f(elements)});
}

static void count_rmsnorm(struct device *d, const float *x, const float *gain, float eps, int rows,
                          int width, void *out, enum dtype out_type)
{
    double elements = (double)rows * width;
    charge(d, "rmsnorm",
           (struct cost){.launches = 1,
                         .f32_flops = RMSNORM_WORK * elements,
                         .read = f(elements + width),
                         .written = elements * (double)dtype_size(out_type)});
}

static void count_rmsnorm_backward(struct device *d, const float *x, const float *gain, float eps,
                                   int rows, int width, const float *dy, float *dx)
{
    double elements = (double)rows * width;
    charge(d, "rmsnorm_backward",
           (struct cost){.launches = 1,
                         .f32_flops = RMSNORM_BACKWARD_WORK * elements,
                         .read = f(3 * elements + width),
                         .written = f(elements)});
}

static void count_rope(struct device *d, float *x, int rows, int heads, int head_dim, int dims,
                       const int32_t *positions, const float *cosine, const float *sine)
{
    double elements = (double)rows * heads * dims;
    charge(d, "rope",
           (struct cost){.launches = 1,
                         .f32_flops = ROPE_WORK * elements,
                         .read = f(elements + (double)rows * dims + rows),
                         .written = f(elements)});
}

static void count_glu(struct device *d, enum activation activation, const float *gate,
                      const float *up, size_t n, void *out)
{
    charge(d, "glu",
           (struct cost){.launches = 1,
                         .f32_flops = GLU_WORK * (double)n,
                         .read = f(2 * (double)n),
                         .written = (double)(n * dtype_size(d->compute))});
}

static void count_glu_backward(struct device *d, enum activation activation, const float *gate,
                               const float *up, const float *d_out, size_t n, void *d_gate,
                               void *d_up)
{
    charge(d, "glu_backward",
           (struct cost){.launches = 1,
                         .f32_flops = GLU_BACKWARD_WORK * (double)n,
                         .read = f(3 * (double)n),
                         .written = 2 * (double)(n * dtype_size(d->compute))});
}

static void count_cap(struct device *d, float cap, float *x, size_t n)
{
    charge(d, "cap",
           (struct cost){.launches = 1,
                         .f32_flops = CAP_WORK * (double)n,
                         .read = f((double)n),
                         .written = f((double)n)});
}

static void count_cap_backward(struct device *d, float cap, const float *y, float *dx, size_t n)
{
    charge(d, "cap_backward",
           (struct cost){.launches = 1,
                         .f32_flops = 4 * (double)n,
                         .read = f(2 * (double)n),
                         .written = f((double)n)});
}

static void count_add(struct device *d, float factor, const float *from, float *to, size_t n)
{
    charge(d, "add",
           (struct cost){.launches = 1,
                         .f32_flops = 2 * (double)n,
                         .read = f(2 * (double)n),
                         .written = f((double)n)});
}

static void count_loss(struct device *d, const struct loss_batch *b)
{
    size_t classes = (size_t)b->classes;
    double elements = (double)b->rows * (double)loss_outputs(b->loss.kind, classes);
    double targets = (double)b->rows * (double)loss_target_size(&b->loss, classes);
    if (b->weights)
        targets += b->rows;
    charge(d, "loss",
           (struct cost){.launches = 1,
                         .read = f(elements) + targets * (double)sizeof(double),
                         .written = f(elements) + 2 * b->rows * (double)sizeof(double)});
}

static void count_add_squares(struct device *d, const float *x, size_t n, double *sum)
{
    charge(d, "add_squares",
           (struct cost){.launches = 2, .f32_flops = 2 * (double)n, .read = f((double)n)});
}

static void count_scale(struct device *d, float factor, float *x, size_t n)
{
    charge(
        d, "scale",
        (struct cost){
            .launches = 1, .f32_flops = (double)n, .read = f((double)n), .written = f((double)n)});
}

static void count_adamw(struct device *d, const struct adamw_factors *factors,
                        const float *gradient, float *value, float *m, float *v, size_t n)
{
    charge(d, "adamw",
           (struct cost){.launches = 1,
                         .f32_flops = ADAMW_WORK * (double)n,
                         .read = f(4 * (double)n),
                         .written = f(3 * (double)n)});
}

static void count_convert(struct device *d, const void *from, enum dtype from_type, void *to,
                          enum dtype to_type, size_t n)
{
    charge(d, "convert",
           (struct cost){.launches = 1,
                         .read = (double)(n * dtype_size(from_type)),
                         .written = (double)(n * dtype_size(to_type))});
}

/* ---- the device ---- */

struct device *count_device_open(enum dtype compute, const struct machine *m)
{
    struct counter *k = xcalloc(1, sizeof *k);
    k->machine = *m;
    struct device *d = xcalloc(1, sizeof *d);
    *d = (struct device){
        .name = "counting",
        .description = "counting",
        .compute = compute,
        .state = k,
        .close = count_close,
    };
#define OPERATION(result, name, parameters, arguments) d->name = count_##name;
#define OPTIONAL_OPERATION(...)
#include "kernels/operations.h"
    return d;
}

void count_device_attend_as(struct device *d, struct device *other)
{
    counter(d)->attends_as = other->attention_memory ? other : NULL;
}

const struct operation_count *count_device_operations(const struct device *d, size_t *count)
{
    *count = counter(d)->n_operations;
    return counter(d)->operations;
}

unsigned long count_device_tokens(const struct device *d)
{
    return counter(d)->tokens;
}

unsigned long count_device_passes(const struct device *d)
{
    return counter(d)->passes;
}

double count_device_held(const struct device *d)
{
    return counter(d)->held;
}

double count_device_peak(const struct device *d)
{
    return counter(d)->peak;
}

void count_device_reset(struct device *d)
{
    struct counter *k = counter(d);
    k->n_operations = 0;
    k->tokens = k->passes = 0;
    k->peak = k->held;
}
