/* The CPU as a device: its memory is the program's own, its operations are done when they return.
 */
#include "common/util/diag.h"
#include "common/util/free_memory.h"
#include "common/util/mem.h"
#include "common/util/threads.h"
#include "kernels/cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *cpu_alloc(struct device *d, size_t bytes)
{
    enum { CACHE_LINE = 64 };
    size_t lines = bytes / CACHE_LINE + 1;
    void *p = bytes < SIZE_MAX - CACHE_LINE ? aligned_alloc(CACHE_LINE, lines * CACHE_LINE) : NULL;
    if (!p)
        die(EX_OSERR, "out of memory: %.1f MiB were asked for; %s", (double)bytes / (1 << 20),
            d->advice ? d->advice : "give it less to hold at once");
    return p;
}

void cpu_release(struct device *d, void *p)
{
    (void)d;
    free(p);
}

void cpu_upload(struct device *d, void *to, const void *from, size_t bytes)
{
    (void)d;
    memcpy(to, from, bytes);
}

void cpu_download(struct device *d, void *to, const void *from, size_t bytes)
{
    (void)d;
    memcpy(to, from, bytes);
}

void cpu_memory(struct device *d, size_t *free_bytes, size_t *total)
{
    (void)d;
    *free_bytes = free_memory("");
    *total = (size_t)sysconf(_SC_PAGESIZE) * (size_t)sysconf(_SC_PHYS_PAGES);
}

const void *cpu_import(struct device *d, const void *host, size_t bytes)
{
    (void)d;
    (void)bytes;
    return host;
}

void cpu_clear(struct device *d, void *p, size_t bytes)
{
    (void)d;
    memset(p, 0, bytes);
}

static void cpu_close(struct device *d)
{
    struct cpu *cpu = d->state;
    free(cpu->description);
    free(cpu->room.p);
    free(cpu->kept.p);
    free(cpu);
    free(d);
}

struct each {
    void (*body)(void *context, size_t first, size_t end);
    void *context;
    size_t n, step;
};

static void each_piece(void *context, size_t piece)
{
    const struct each *e = context;
    size_t first = piece * e->step;
    e->body(e->context, first, e->n - first < e->step ? e->n : first + e->step);
}

void cpu_each(size_t n, size_t step, size_t work,
              void (*body)(void *context, size_t first, size_t end), void *context)
{
    enum { PARALLEL_FROM = 16384 };
    struct each e = {body, context, n, step};
    size_t pieces = (n + step - 1) / step;
    if (work > PARALLEL_FROM)
        threads_run(pieces, each_piece, &e);
    else
        for (size_t i = 0; i < pieces; i++)
            each_piece(&e, i);
}

bool cpu_has_bf16(void)
{
    return path_choose()->bf16.multiply;
}

struct device *cpu_device_open(enum dtype compute, int threads)
{
    return cpu_device_on_path(compute, threads, path_choose());
}

struct device *cpu_device_on_path(enum dtype compute, int threads, const struct path *path)
{
    threads_set(threads);
    struct cpu *cpu = xcalloc(1, sizeof *cpu);
    cpu->path = path;
    cpu->description = xasprintf("cpu (%d thread%s, %s)", threads_count(),
                                 threads_count() == 1 ? "" : "s", path->name);
    /* Paths that widen bf16 agree with one another. */
    snprintf(cpu->computes, sizeof cpu->computes, "bf16/%s",
             path->bf16.multiply ? path->name : "widened");
    struct device *d = xcalloc(1, sizeof *d);
    *d = (struct device){
        .name = "cpu",
        .description = cpu->description,
        .compute = compute,
        .computes = compute == F32 ? "f32" : cpu->computes,
        .state = cpu,
        .close = cpu_close,
        .gated_matmul = cpu_gated_matmul,
    };
#define OPERATION(result, name, parameters, arguments) d->name = cpu_##name;
#define OPTIONAL_OPERATION(...)
#include "kernels/operations.h"
    return d;
}
