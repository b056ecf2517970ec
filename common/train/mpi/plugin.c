/* struct ranks over MPI (mpi-forum.org, version 3 of the standard or later). */
#include "common/train/ranks.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <limits.h>
#include <mpi.h>
#include <stdbool.h>
#include <stdlib.h>

struct world {
    float *parts; /* sum()'s */
    size_t room;
    int *counts, *first, *own_counts, *own_first; /* [size] */
};

static bool closed;

/* Where a rank dies, MPI's launchers end the others if they are told. */
static void end_all(int status, void *unused)
{
    (void)unused;
    if (!closed)
        MPI_Abort(MPI_COMM_WORLD, status ? status : EX_SOFTWARE);
}

/* Each rank sums a piece, over what all others send it of theirs; then the pieces go round. */
static void mpi_sum(struct ranks *r, float *x, size_t n)
{
    struct world *w = r->state;
    size_t size = (size_t)r->size, piece = (n + size - 1) / size;
    if (n > INT_MAX)
        die(EX_UNAVAILABLE, "%zu gradients are more than MPI counts", n);
    for (size_t k = 0; k < size; k++) {
        size_t first = k * piece < n ? k * piece : n;
        w->first[k] = (int)first;
        w->counts[k] = (int)(n - first < piece ? n - first : piece);
    }
    int own = w->counts[r->rank];
    for (int k = 0; k < r->size; k++) {
        w->own_counts[k] = own;
        w->own_first[k] = k * own;
    }
    if (size * piece > w->room) {
        w->room = size * piece;
        w->parts = xreallocarray(w->parts, w->room, sizeof *w->parts);
    }
    MPI_Alltoallv(x, w->counts, w->first, MPI_FLOAT, w->parts, w->own_counts, w->own_first,
                  MPI_FLOAT, MPI_COMM_WORLD);
    for (int i = 0; i < own; i++) {
        double sum = 0;
        for (int k = 0; k < r->size; k++)
            sum += (double)w->parts[w->own_first[k] + i];
        w->parts[i] = (float)sum;
    }
    MPI_Allgatherv(w->parts, own, MPI_FLOAT, x, w->counts, w->first, MPI_FLOAT, MPI_COMM_WORLD);
}

/* However MPI orders them, zeros change nothing. */
static void mpi_collect(struct ranks *r, double *x, size_t n)
{
    (void)r;
    if (n > INT_MAX)
        die(EX_UNAVAILABLE, "%zu numbers are more than MPI counts", n);
    MPI_Allreduce(MPI_IN_PLACE, x, (int)n, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

static void mpi_broadcast(struct ranks *r, void *bytes, size_t n)
{
    enum { MOST = 1 << 30 };
    (void)r;
    for (size_t at = 0; at < n; at += MOST)
        MPI_Bcast((char *)bytes + at, n - at < MOST ? (int)(n - at) : MOST, MPI_BYTE, 0,
                  MPI_COMM_WORLD);
}

static void mpi_wait(struct ranks *r)
{
    (void)r;
    MPI_Barrier(MPI_COMM_WORLD);
}

static void mpi_close(struct ranks *r)
{
    struct world *w = r->state;
    closed = true;
    MPI_Finalize();
    free(w->parts);
    free(w->counts);
    free(w->first);
    free(w->own_counts);
    free(w->own_first);
    free(w);
    free(r);
}

struct ranks *mpi_ranks_open(void)
{
    int thread_level;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &thread_level) != MPI_SUCCESS)
        die(EX_UNAVAILABLE, "MPI does not start");
    on_exit(end_all, NULL);
    struct ranks *r = xcalloc(1, sizeof *r);
    *r = (struct ranks){.sum = mpi_sum,
                        .collect = mpi_collect,
                        .broadcast = mpi_broadcast,
                        .wait = mpi_wait,
                        .close = mpi_close};
    MPI_Comm_rank(MPI_COMM_WORLD, &r->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &r->size);
    MPI_Comm host;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &r->local_rank);
    MPI_Comm_size(host, &r->local_size);
    MPI_Comm_free(&host);
    struct world *w = xcalloc(1, sizeof *w);
    size_t size = (size_t)r->size;
    w->counts = xcalloc(size, sizeof *w->counts);
    w->first = xcalloc(size, sizeof *w->first);
    w->own_counts = xcalloc(size, sizeof *w->own_counts);
    w->own_first = xcalloc(size, sizeof *w->own_first);
    r->state = w;
    return r;
}
