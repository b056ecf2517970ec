/* A GPU as a device: opening it, its memory, what goes there and back, and what is said when a call
 * fails.
 *
 * Memory comes from CUDA's stream-ordered pool, which keeps what is released, so that allocating in
 * the midst of work costs no wait. Uploads are copied into a ring of pinned memory and go from
 * there by themselves while the host goes on; it waits only when the ring is full. */
#include "kernels/cuda/cuda.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdlib.h>

static double mib(size_t bytes)
{
    return (double)bytes / (1 << 20);
}

/* ---- errors ---- */

/* A call without its arguments; "kernel NAME" as it is. */
static int name_length(const char *call)
{
    size_t n = strcspn(call, "(");
    return (int)(n > 0 && call[n - 1] != ' ' ? n : strlen(call));
}

/* What a failed call may have lacked: kernels are loaded when they first run, cuBLAS's as well, and
 * do not fit where the work has taken all. A new string. */
static char *shortage()
{
    enum : size_t { ENOUGH = 256 << 20 };
    size_t free = 0, total = 0;
    if (cudaMemGetInfo(&free, &total) != cudaSuccess || free >= ENOUGH)
        return xstrdup("");
    return xasprintf("; %.0f of the GPU's %.0f MiB are free: less at once may fit", mib(free),
                     mib(total));
}

void cuda_check(cudaError_t status, const char *call, const char *file)
{
    if (status == cudaSuccess)
        return;
    die(EX_OSERR, "CUDA: %s (%s) from %.*s in %s, or from work queued before it%s",
        cudaGetErrorString(status), cudaGetErrorName(status), name_length(call), call, file,
        shortage());
}

void cublas_check(cublasStatus_t status, const char *call, const char *file)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return;
    cuda_check(cudaDeviceSynchronize(), call, file); /* it may be earlier work that failed */
    die(EX_OSERR, "cuBLAS: %s (%s) from %.*s in %s%s", cublasGetStatusString(status),
        cublasGetStatusName(status), name_length(call), call, file, shortage());
}

/* ---- memory ---- */

/* What could still be allocated: what no process holds, and what the pool has of its own. */
static size_t room(const struct cuda *c, size_t *total)
{
    size_t free = 0;
    uint64_t reserved = 0, used = 0;
    CUDA(cudaMemGetInfo(&free, total));
    CUDA(cudaMemPoolGetAttribute(c->pool, cudaMemPoolAttrReservedMemCurrent, &reserved));
    CUDA(cudaMemPoolGetAttribute(c->pool, cudaMemPoolAttrUsedMemCurrent, &used));
    return free + (size_t)(reserved - used);
}

/* What the pool holds may lie in pieces that are too small, or be released by work that is still
 * queued. Where it does not do, all that is released goes back to the driver, and comes whole. */
static cudaError_t allocate(struct cuda *c, void **p, size_t bytes)
{
    cudaError_t status = cudaMallocAsync(p, bytes, c->stream);
    if (status != cudaErrorMemoryAllocation)
        return status;
    cudaGetLastError(); /* else the next launch would find it */
    CUDA(cudaStreamSynchronize(c->stream));
    CUDA(cudaMemPoolTrimTo(c->pool, 0));
    return cudaMallocAsync(p, bytes, c->stream);
}

void *cuda_alloc(struct device *d, size_t bytes)
{
    struct cuda *c = cuda_of(d);
    void *p = nullptr;
    cudaError_t status = allocate(c, &p, bytes ? bytes : 1);
    if (status == cudaErrorMemoryAllocation) {
        size_t total, free = room(c, &total);
        die(EX_OSERR,
            "out of memory on GPU %d: %.1f MiB were asked for, %.1f of its %.1f MiB are free; %s",
            c->index, mib(bytes), mib(free), mib(total),
            d->advice
                ? d->advice
                : "the rest is held by the model or by other programs (nvidia-smi lists them)");
    }
    cuda_check(status, "cudaMallocAsync", __FILE__);
    return p;
}

void cuda_memory(struct device *d, size_t *free, size_t *total)
{
    *free = room(cuda_of(d), total);
}

void cuda_release(struct device *d, void *p)
{
    if (p)
        CUDA(cudaFreeAsync(p, cuda_of(d)->stream));
}

void cuda_clear(struct device *d, void *p, size_t bytes)
{
    if (bytes)
        CUDA(cudaMemsetAsync(p, 0, bytes, cuda_of(d)->stream));
}

/* ---- there and back ---- */

enum : size_t { PIECE = 4 << 20, RING = 4 * PIECE };
enum { MARKS = 64 };

/* Bytes begin .. end - 1 hold what is on its way, counted from the start of all time: byte i is at
 * memory[i % RING]. Mark i % MARKS says when the bytes before ends[i % MARKS] have gone. */
struct staging {
    char *memory;
    size_t begin, end;
    size_t first_mark, marks;
    cudaEvent_t gone[MARKS];
    size_t ends[MARKS];
};

static struct staging *staging_open(void)
{
    struct staging *s = static_cast<struct staging *>(xcalloc(1, sizeof *s));
    void *memory = nullptr;
    cudaError_t status = cudaMallocHost(&memory, RING);
    if (status == cudaErrorMemoryAllocation)
        die(EX_OSERR, "out of memory: %.0f MiB of the host's could not be pinned for copies",
            mib(RING));
    cuda_check(status, "cudaMallocHost", __FILE__);
    s->memory = static_cast<char *>(memory);
    for (cudaEvent_t &event : s->gone)
        CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    return s;
}

static void staging_close(struct staging *s)
{
    for (cudaEvent_t &event : s->gone)
        CUDA(cudaEventDestroy(event));
    CUDA(cudaFreeHost(s->memory));
    free(s);
}

static void wait_for_oldest(struct staging *s)
{
    size_t mark = s->first_mark++ % MARKS;
    CUDA(cudaEventSynchronize(s->gone[mark]));
    s->begin = s->ends[mark];
}

/* Copies at most PIECE bytes by way of the ring. */
static void upload_piece(struct cuda *c, void *to, const void *from, size_t bytes)
{
    struct staging *s = c->staging;
    size_t at = s->end;
    if (at % RING + bytes > RING) /* in one piece, from the ring's start */
        at += RING - at % RING;
    while (s->first_mark < s->marks && at + bytes - s->begin > RING)
        wait_for_oldest(s);
    if (s->marks - s->first_mark == MARKS)
        wait_for_oldest(s);
    char *room = s->memory + at % RING;
    memcpy(room, from, bytes);
    CUDA(cudaMemcpyAsync(to, room, bytes, cudaMemcpyHostToDevice, c->stream));
    size_t mark = s->marks++ % MARKS;
    s->end = s->ends[mark] = at + bytes;
    CUDA(cudaEventRecord(s->gone[mark], c->stream));
}

void cuda_upload(struct device *d, void *to, const void *from, size_t bytes)
{
    for (size_t done = 0; done < bytes; done += PIECE)
        upload_piece(cuda_of(d), static_cast<char *>(to) + done,
                     static_cast<const char *>(from) + done,
                     bytes - done < PIECE ? bytes - done : PIECE);
}

void cuda_download(struct device *d, void *to, const void *from, size_t bytes)
{
    struct cuda *c = cuda_of(d);
    if (bytes)
        CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, c->stream));
    CUDA(cudaStreamSynchronize(c->stream));
}

/* Every import is freed when the device closes. */
struct import {
    void *copy;
    struct import *next;
};

const void *cuda_import(struct device *d, const void *host, size_t bytes)
{
    struct cuda *c = cuda_of(d);
    struct import *i = static_cast<struct import *>(xmalloc(sizeof *i));
    *i = {cuda_alloc(d, bytes), c->imports};
    c->imports = i;
    cuda_upload(d, i->copy, host, bytes);
    return i->copy;
}

/* ---- the device ---- */

/* Why a GPU cannot be used, as a new string; NULL when it can. */
static char *obstacle_of(int index, const struct cudaDeviceProp *p)
{
    if (p->major < 8)
        return xasprintf(
            "GPU %d, %s, has compute capability %d.%d; 8.0 (Ampere) or later is needed", index,
            p->name, p->major, p->minor);
    if (!p->memoryPoolsSupported)
        return xasprintf("GPU %d, %s, is set up without memory pools, which are needed", index,
                         p->name);
    return nullptr;
}

/* GPUs have the numbers that nvidia-smi gives them, not those of CUDA's own order, the fastest
 * first, unless the user chose one. CUDA reads it at its first call. */
static void number_as_the_driver_does(void)
{
    setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 0);
}

int cuda_device_count(void)
{
    number_as_the_driver_does();
    int n = 0, usable = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess)
        return 0;
    for (; usable < n; usable++) {
        struct cudaDeviceProp p;
        if (cudaGetDeviceProperties(&p, usable) != cudaSuccess) {
            cudaGetLastError(); /* else the first launch on another GPU would find it */
            break;
        }
        char *obstacle = obstacle_of(usable, &p);
        free(obstacle);
        if (obstacle)
            break;
    }
    return usable;
}

/* The number of GPUs, usable or not. */
static int require_driver(void)
{
    number_as_the_driver_does();
    int n = 0, driver = 0, runtime = 0;
    cudaError_t status = cudaGetDeviceCount(&n);
    if (status == cudaSuccess && n > 0)
        return n;
    CUDA(cudaDriverGetVersion(&driver));
    CUDA(cudaRuntimeGetVersion(&runtime));
    if (driver == 0)
        die(EX_UNAVAILABLE, "no NVIDIA driver is installed; compute on the processor (cpu)");
    if (status == cudaErrorInsufficientDriver)
        die(EX_UNAVAILABLE,
            "the NVIDIA driver is too old: it knows CUDA %d.%d, this program was built with %d.%d; "
            "update the driver, or compute on the processor (cpu)",
            driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (status == cudaErrorNoDevice || status == cudaSuccess)
        die(EX_UNAVAILABLE, "the NVIDIA driver finds no GPU (is CUDA_VISIBLE_DEVICES set?); "
                            "compute on the processor (cpu)");
    die(EX_UNAVAILABLE, "the GPUs cannot be used: %s (%s); compute on the processor (cpu)",
        cudaGetErrorString(status), cudaGetErrorName(status));
}

static struct cudaDeviceProp properties_of(int index)
{
    int n = require_driver();
    if (index < 0 || index >= n)
        die(EX_UNAVAILABLE, "there is no GPU %d: this machine has %d, counted from 0", index, n);
    struct cudaDeviceProp p;
    CUDA(cudaGetDeviceProperties(&p, index));
    char *obstacle = obstacle_of(index, &p);
    if (obstacle)
        die(EX_UNAVAILABLE, "%s; compute on the processor (cpu)", obstacle);
    return p;
}

static void cuda_close(struct device *d)
{
    struct cuda *c = cuda_of(d);
    CUDA(cudaStreamSynchronize(c->stream));
    staging_close(c->staging);
    while (c->imports) {
        struct import *next = c->imports->next;
        cuda_release(d, c->imports->copy);
        free(c->imports);
        c->imports = next;
    }
    cuda_attention_forget(d);
    CUBLAS(cublasDestroy(c->cublas));
    cuda_release(d, c->workspace);
    cuda_release(d, c->partials);
    CUDA(cudaStreamSynchronize(c->stream));
    CUDA(cudaStreamDestroy(c->stream));
    free(c->description);
    free(c);
    free(d);
}

/* cuBLAS gives the same bits in every run when it has a workspace of its own and one stream; 32 MiB
 * is what NVIDIA advises for compute capability 9.0, 4 MiB for those before. */
static void open_cublas(struct device *d, int capability)
{
    struct cuda *c = cuda_of(d);
    size_t bytes = (size_t)(capability >= 9 ? 32 : 4) << 20;
    c->workspace = cuda_alloc(d, bytes);
    CUBLAS(cublasCreate(&c->cublas));
    CUBLAS(cublasSetStream(c->cublas, c->stream));
    CUBLAS(cublasSetWorkspace(c->cublas, c->workspace, bytes));
}

struct device *cuda_device_open(enum dtype compute, int index)
{
    struct cudaDeviceProp p = properties_of(index);
    struct cuda *c = static_cast<struct cuda *>(xcalloc(1, sizeof *c));
    struct device *d = static_cast<struct device *>(xcalloc(1, sizeof *d));
    c->index = index;
    c->processors = p.multiProcessorCount;
    c->description = xasprintf("cuda:%d (%s)", index, p.name);
    d->name = "cuda";
    d->description = c->description;
    d->compute = compute;
    d->computes = compute == F32 ? "f32" : "bf16";
    d->own_memory = true;
    d->state = c;
    CUDA(cudaSetDevice(index));
    CUDA(cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking));
    CUDA(cudaDeviceGetDefaultMemPool(&c->pool, index));
    uint64_t keep = UINT64_MAX;
    CUDA(cudaMemPoolSetAttribute(c->pool, cudaMemPoolAttrReleaseThreshold, &keep));
    size_t total, free = room(c, &total);
    inform("GPU %d: %s, %.0f of %.0f MiB free, computing in %s", index, p.name, mib(free),
           mib(total), dtype_name(compute));
    open_cublas(d, p.major);
    c->partials = static_cast<double *>(cuda_alloc(d, SQUARES_BLOCKS * sizeof *c->partials));
    c->staging = staging_open();
    c->attention_bytes = ATTENTION_BYTES;

    d->close = cuda_close;
    d->attention_memory = cuda_attention_memory;
#define OPERATION(result, name, parameters, arguments) d->name = cuda_##name;
#define OPTIONAL_OPERATION(...)
#include "kernels/operations.h"
    return d;
}
