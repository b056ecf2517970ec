#include "common/plan/profile_device.h"

#include "common/util/clock.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "kernels/count/count_device.h"

#include <stdlib.h>
#include <string.h>

enum operation {
#define OPERATION(result, name, parameters, arguments) AT_##name,
#include "kernels/operations.h"
    COUNT
};

static const char *const names[COUNT] = {
#define OPERATION(result, name, parameters, arguments) [AT_##name] = #name,
#include "kernels/operations.h"
};

struct profile {
    struct device *inner, *counter;
    bool bounded; /* the machine is known, so that the counter's times say something */
    bool queues;  /* the inner device returns before an operation is done */
    double began; /* see profile_device_open() */
    unsigned long calls[COUNT];
    double seconds[COUNT];
};

/* Both devices have their own. */
struct weight {
    struct weight *inner, *counted;
};

static struct profile *profile_of(const struct device *d)
{
    return d->state;
}

/* The program gives its advice to the device it knows; the inner one dies with it. */
static double begin(const struct device *d)
{
    profile_of(d)->inner->advice = d->advice;
    return clock_seconds();
}

static void end(struct device *d, enum operation o, double began)
{
    struct profile *p = profile_of(d);
    if (p->queues)
        p->inner->download(p->inner, NULL, NULL, 0); /* waits */
    p->calls[o]++;
    p->seconds[o] += clock_seconds() - began;
}

/* ---- operations ----
 * Counted before they run, for the counting device's download() gives zeros. What it is given it
 * does not read, but for structures of the host, which stay as they are. */

#define OPERATION(result, name, parameters, arguments)                                             \
    static result profile_##name parameters                                                        \
    {                                                                                              \
        struct device *profile = d;                                                                \
        d = profile_of(profile)->counter;                                                          \
        d->name arguments;                                                                         \
        double began = begin(profile);                                                             \
        d = profile_of(profile)->inner;                                                            \
        d->name arguments;                                                                         \
        end(profile, AT_##name, began);                                                            \
    }
#define SPECIAL_OPERATION(...)
#include "kernels/operations.h"

static void *profile_alloc(struct device *d, size_t bytes)
{
    struct device *inner = profile_of(d)->inner;
    double began = begin(d);
    void *memory = inner->alloc(inner, bytes);
    end(d, AT_alloc, began);
    return memory;
}

static const void *profile_import(struct device *d, const void *host, size_t bytes)
{
    struct device *inner = profile_of(d)->inner;
    double began = begin(d);
    const void *memory = inner->import(inner, host, bytes);
    end(d, AT_import, began);
    return memory;
}

static struct weight *profile_weight_create(struct device *d, const void *data, enum dtype stored,
                                            int out, int in)
{
    struct device *inner = profile_of(d)->inner, *counter = profile_of(d)->counter;
    struct weight *w = xmalloc(sizeof *w);
    w->counted = counter->weight_create(counter, data, stored, out, in);
    double began = begin(d);
    w->inner = inner->weight_create(inner, data, stored, out, in);
    end(d, AT_weight_create, began);
    return w;
}

static void profile_weight_free(struct device *d, struct weight *w)
{
    struct device *inner = profile_of(d)->inner, *counter = profile_of(d)->counter;
    if (!w)
        return;
    counter->weight_free(counter, w->counted);
    double began = begin(d);
    inner->weight_free(inner, w->inner);
    end(d, AT_weight_free, began);
    free(w);
}

static void profile_matmul(struct device *d, const struct weight *w, const void *x,
                           const float *bias, float *y, int rows, bool accumulate)
{
    struct device *inner = profile_of(d)->inner, *counter = profile_of(d)->counter;
    counter->matmul(counter, w->counted, x, bias, y, rows, accumulate);
    double began = begin(d);
    inner->matmul(inner, w->inner, x, bias, y, rows, accumulate);
    end(d, AT_matmul, began);
}

static void profile_gated_matmul(struct device *d, enum activation activation,
                                 const struct weight *gate, const struct weight *up, const void *x,
                                 const float *gate_bias, const float *up_bias, void *out, int rows)
{
    struct device *inner = profile_of(d)->inner, *counter = profile_of(d)->counter;
    count_device_gated_matmul(counter, gate->counted, up->counted, gate_bias, up_bias, rows);
    double began = begin(d);
    inner->gated_matmul(inner, activation, gate->inner, up->inner, x, gate_bias, up_bias, out,
                        rows);
    end(d, AT_gated_matmul, began);
}

static void profile_matmul_backward(struct device *d, const struct weight *w, const void *dy,
                                    float *dx, int rows, bool accumulate)
{
    struct device *inner = profile_of(d)->inner, *counter = profile_of(d)->counter;
    counter->matmul_backward(counter, w->counted, dy, dx, rows, accumulate);
    double began = begin(d);
    inner->matmul_backward(inner, w->inner, dy, dx, rows, accumulate);
    end(d, AT_matmul_backward, began);
}

/* ---- what is no work: not timed ---- */

static void profile_memory(struct device *d, size_t *free_bytes, size_t *total)
{
    struct device *inner = profile_of(d)->inner;
    inner->memory(inner, free_bytes, total);
}

static size_t profile_attention_memory(struct device *d, const struct attention *a, bool backward)
{
    struct device *inner = profile_of(d)->inner;
    return inner->attention_memory(inner, a, backward);
}

static void profile_close(struct device *d)
{
    struct profile *p = profile_of(d);
    p->counter->close(p->counter);
    p->inner->close(p->inner);
    free(p);
    free(d);
}

struct device *profile_device_open(struct device *inner, double began)
{
    /* Its times are not looked at then. */
    static const struct machine any_machine = {
        .name = "any", .product_rate = 1, .f32_rate = 1, .bandwidth = 1};
    struct profile *p = xcalloc(1, sizeof *p);
    const struct machine *known = machine_described(inner->description);
    *p =
        (struct profile){.inner = inner,
                         .counter = count_device_open(inner->compute, known ? known : &any_machine),
                         .bounded = known != NULL,
                         .queues = strcmp(inner->name, "cpu") != 0,
                         .began = began};
    struct device *d = xmalloc(sizeof *d);
    *d = *inner;
    d->state = p;
/* What the inner device lacks, this one lacks as well. */
#define OPERATION(result, name, parameters, arguments)                                             \
    d->name = inner->name ? profile_##name : NULL;
#include "kernels/operations.h"
    d->close = profile_close;
    return d;
}

/* ---- the table ---- */

/* The counting device has a matrix's operations by its shape: "matmul 576x1536". */
static void add_counts(struct profile_line *line, const struct profile *p)
{
    size_t n, length = strlen(line->name);
    const struct operation_count *o = count_device_operations(p->counter, &n);
    for (size_t i = 0; i < n; i++)
        if (strcspn(o[i].name, " ") == length && !strncmp(o[i].name, line->name, length)) {
            line->flops += o[i].flops;
            line->bytes += o[i].bytes_read + o[i].bytes_written;
            line->bound += p->bounded ? o[i].seconds : 0;
        }
}

static int longest_first(const void *a, const void *b)
{
    const struct profile_line *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

struct profile_line *profile_device_lines(const struct device *d, size_t *count)
{
    const struct profile *p = profile_of(d);
    struct profile_line *lines = xcalloc(COUNT, sizeof *lines);
    size_t n = 0;
    for (enum operation o = 0; o < COUNT; o++) {
        if (!p->calls[o])
            continue;
        lines[n] =
            (struct profile_line){.name = names[o], .calls = p->calls[o], .seconds = p->seconds[o]};
        add_counts(&lines[n], p);
        if (o == AT_weight_create)
            lines[n].name = "weights";
        n++;
    }
    qsort(lines, n, sizeof *lines, longest_first);
    *count = n;
    return lines;
}

/* A dash where nothing was counted. */
static void print_rate(double amount, double seconds, FILE *out)
{
    if (amount > 0 && seconds > 0)
        fprintf(out, " %10.2f", 1e-9 * amount / seconds);
    else
        fprintf(out, " %10s", "-");
}

/* Of a machine that is known: the least time, and how many times as long it took. */
static void print_bound(const struct profile *p, const struct profile_line *l, FILE *out)
{
    if (p->bounded && l->bound > 0)
        fprintf(out, " %10.3f %8.2f", l->bound, l->seconds / l->bound);
    else if (p->bounded)
        fprintf(out, " %10s %8s", "-", "-");
}

void profile_device_print(const struct device *d, FILE *out)
{
    const struct profile *p = profile_of(d);
    double all = clock_seconds() - p->began, rest = all;
    size_t n;
    struct profile_line *lines = profile_device_lines(d, &n);
    fprintf(out, "%s: %.3f s, by operations on %s%s\n", program_name, all, d->description,
            p->queues ? "; each was waited for, which slows it" : "");
    fprintf(out, "%-18s %9s %10s %8s %10s %10s%s\n", "operation", "calls", "seconds", "share",
            "GFLOP/s", "GB/s", p->bounded ? "      bound    times" : "");
    for (size_t i = 0; i < n; i++) {
        const struct profile_line *l = &lines[i];
        fprintf(out, "%-18s %9lu %10.3f %6.2f %%", l->name, l->calls, l->seconds,
                100 * l->seconds / all);
        print_rate(l->flops, l->seconds, out);
        print_rate(l->bytes, l->seconds, out);
        print_bound(p, l, out);
        fputc('\n', out);
        rest -= l->seconds;
    }
    fprintf(out, "%-18s %9s %10.3f %6.2f %%\n", "the rest", "", rest, 100 * rest / all);
    free(lines);
}
