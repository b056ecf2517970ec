#include "common/model/device.h"

#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/plugin.h"
#include "common/util/threads.h"
#include "kernels/cuda/plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the plugin ---- */

struct plugin {
    struct device *(*open)(enum dtype compute, int index);
    int (*count)(void);
};

/* Fills in *p, or says why there is none: the caller frees that. The plugin is never closed. */
static char *plugin_open(struct plugin *p, const char *path)
{
    if (access(path, F_OK))
        return xasprintf("there is no CUDA plugin %s: build duq with CUDA (make cuda, where nvcc "
                         "is) or name the plugin in DUQ_CUDA_PLUGIN",
                         path);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return xasprintf("the CUDA plugin cannot be opened (%s): install the CUDA runtime and "
                         "cuBLAS of the version it was built with",
                         dlerror());
    /* POSIX's way from an object pointer to a function's. */
    *(void **)&p->open = dlsym(library, "cuda_device_open");
    *(void **)&p->count = dlsym(library, "cuda_device_count");
    if (!p->open || !p->count)
        return xasprintf("%s is no CUDA plugin of this duq", path);
    return NULL;
}

/* Opening the plugin takes a tenth of a second and 200 MB for cuBLAS, in vain without a driver. */
static bool driver_is_installed(void)
{
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY);
    if (driver)
        dlclose(driver);
    return driver;
}

/* ---- the request ---- */

enum { PROCESSOR = -1, UNKNOWN = -2 };

/* The N of "cuda:N", `gpu` for "cuda" and "auto"; PROCESSOR or UNKNOWN. */
static int gpu_index(const char *name, int gpu)
{
    if (!strcmp(name, "cpu"))
        return PROCESSOR;
    if (!strcmp(name, "auto") || !strcmp(name, "cuda"))
        return gpu;
    if (strncmp(name, "cuda:", 5) != 0)
        return UNKNOWN;
    char *end;
    errno = 0;
    long n = strtol(name + 5, &end, 10);
    return errno || end == name + 5 || *end || n < 0 || n >= DEVICE_GPUS ? UNKNOWN : (int)n;
}

bool device_name_known(const char *name)
{
    return gpu_index(name, 0) != UNKNOWN;
}

static enum dtype compute_type(enum device_compute compute, enum dtype automatic)
{
    return compute == COMPUTE_AUTO ? automatic : compute == COMPUTE_F32 ? F32 : BF16;
}

/* Ranks take GPU after GPU of those they see. */
static void require_gpu_for_rank(const struct plugin *p, int rank)
{
    int count = p->count();
    if (count > 0 && count <= rank)
        die(EX_UNAVAILABLE,
            "process %d of this host sees %d GPU%s: start no more processes than there are GPUs, "
            "or, if each of them sees one of its own, give --device cuda:0",
            rank + 1, count, count == 1 ? "" : "s");
}

/* A plugin's table that lacks an operation is found here, not in the middle of a job. */
static struct device *complete(struct device *d)
{
    const char *device = d->name;
#define OPERATION(result, name, parameters, arguments)                                             \
    if (!d->name)                                                                                  \
        die(EX_SOFTWARE, "device %s lacks the operation " #name " (kernels/operations.h)", device);
#define OPTIONAL_OPERATION(...)
#include "kernels/operations.h"
    return d;
}

static struct device *open_device(const struct device_request *r)
{
    int index = gpu_index(r->name, r->gpu);
    enum dtype cpu = compute_type(r->compute, r->cpu_compute);
    enum dtype gpu = compute_type(r->compute, dtype_size(r->stored) == 2 ? BF16 : F32);
    if (index == UNKNOWN)
        die(EX_UNAVAILABLE, "there is no device '%s'", r->name);
    if (index == PROCESSOR)
        return cpu_device_open(cpu, r->threads);
    bool automatic = !strcmp(r->name, "auto");
    struct plugin plugin = {0};
    /* A plugin that was named may do without a driver (tests/cudasim). */
    bool named = getenv("DUQ_CUDA_PLUGIN"), driver = !named && driver_is_installed();
    char *path = plugin_path("DUQ_CUDA_PLUGIN", "duq-cuda.so");
    char *obstacle = automatic && !named && !driver
                         ? xstrdup("no NVIDIA driver (libcuda.so.1) is installed")
                         : plugin_open(&plugin, path);
    free(path);
    if (obstacle && !automatic)
        die(EX_UNAVAILABLE, "--device %s: %s; or use --device cpu", r->name, obstacle);
    if (!obstacle && automatic && plugin.count() == 0)
        obstacle = xstrdup("the CUDA plugin finds no GPU that it can use (--device cuda says why)");
    if (obstacle) {
        /* Where there is a GPU, that may take days that nobody meant to spend. */
        (driver ? warn : inform)("computing on the processor: %s", obstacle);
        free(obstacle);
        return cpu_device_open(cpu, r->threads);
    }
    if (r->threads)
        threads_set(r->threads);
    if (r->gpu > 0 && !strchr(r->name, ':'))
        require_gpu_for_rank(&plugin, r->gpu);
    return plugin.open(gpu, index);
}

struct device *device_open(const struct device_request *r)
{
    return complete(open_device(r));
}
