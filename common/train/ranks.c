#include "common/train/ranks.h"

#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/plugin.h"
#include "common/util/threads.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- one process ---- */

static void sum_alone(struct ranks *r, float *x, size_t n)
{
    (void)r;
    (void)x;
    (void)n;
}

static void collect_alone(struct ranks *r, double *x, size_t n)
{
    (void)r;
    (void)x;
    (void)n;
}

static void broadcast_alone(struct ranks *r, void *bytes, size_t n)
{
    (void)r;
    (void)bytes;
    (void)n;
}

static void wait_alone(struct ranks *r)
{
    (void)r;
}

static void close_alone(struct ranks *r)
{
    free(r);
}

static struct ranks *alone(void)
{
    struct ranks *r = xcalloc(1, sizeof *r);
    *r = (struct ranks){.size = 1,
                        .local_size = 1,
                        .sum = sum_alone,
                        .collect = collect_alone,
                        .broadcast = broadcast_alone,
                        .wait = wait_alone,
                        .close = close_alone};
    return r;
}

/* ---- several ---- */

static int environment_number(const char *name)
{
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

/* How many processes a launcher has started, 0 where none has. */
static int launched(void)
{
    int n = environment_number("OMPI_COMM_WORLD_SIZE"); /* Open MPI's mpirun */
    if (!n)
        n = environment_number("PMI_SIZE"); /* MPICH's and Intel's, srun --mpi=pmi2 */
    if (!n && getenv("PMIX_RANK"))
        n = environment_number("SLURM_STEP_NUM_TASKS"); /* srun --mpi=pmix */
    return n;
}

static struct ranks *open_plugin(int expected)
{
    char *path = plugin_path("DUQ_MPI_PLUGIN", "duq-mpi.so");
    static const char advice[] = "or give --mpi no to train in each process alone";
    if (access(path, F_OK))
        die(EX_UNAVAILABLE,
            "there is no MPI plugin %s: build duq where mpicc is, or name the plugin in "
            "DUQ_MPI_PLUGIN; %s",
            path, advice);
    /* Global, for MPI's own plugins look its symbols up. */
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!library)
        die(EX_UNAVAILABLE, "the MPI plugin cannot be opened (%s); %s", dlerror(), advice);
    struct ranks *(*open)(void);
    /* POSIX's way from an object pointer to a function's. */
    *(void **)&open = dlsym(library, "mpi_ranks_open");
    if (!open)
        die(EX_UNAVAILABLE, "%s is no MPI plugin of this duq; %s", path, advice);
    free(path);
    struct ranks *r = open();
    if (expected && r->size != expected)
        die(EX_UNAVAILABLE,
            "the launcher started %d processes, of which MPI sees %d: duq is built with another "
            "MPI than the launcher's; use that one's mpirun, %s",
            expected, r->size, advice);
    return r;
}

struct ranks *ranks_open(enum ranks_mode mode)
{
    int n = mode == RANKS_ALONE ? 1 : launched();
    if (mode == RANKS_AUTO && n == 0 && environment_number("SLURM_STEP_NUM_TASKS") > 1)
        warn("srun started this process as one of several, without MPI: each trains alone; "
             "srun --mpi=pmix makes them one training, --mpi no says that this is meant");
    if (mode != RANKS_MPI && n <= 1)
        return alone();
    struct ranks *r = open_plugin(n);
    if (r->rank > 0) {
        program_name = xasprintf("%s[%d]", program_name, r->rank);
        verbosity = QUIET;
    }
    inform("one of %d processes, %d of them on this host", r->size, r->local_size);
    return r;
}

int ranks_threads(const struct ranks *r)
{
    return threads_share(r->local_size);
}
