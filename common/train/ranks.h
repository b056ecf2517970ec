/* The processes that train one adapter together, a device each: "ranks", as MPI calls them. Most
 * often there is one, which knows nothing of MPI; where a launcher (mpirun, srun) has started
 * several, they speak through the MPI plugin (common/train/mpi/), which is opened then. */
#ifndef DUQ_TRAIN_RANKS_H
#define DUQ_TRAIN_RANKS_H

#include <stddef.h>

struct ranks {
    int rank, size;             /* this process's number, from 0, and how many there are */
    int local_rank, local_size; /* the same among those of its host */
    void *state;

    /* All ranks call these together; a rank that ends before the others ends them too. */

    /* x becomes the sum over the ranks: in their order, in double precision, rounded once. */
    void (*sum)(struct ranks *, float *x, size_t n);
    /* For x of which each element is other than zero in one rank at most: all get all of them. */
    void (*collect)(struct ranks *, double *x, size_t n);
    /* Rank 0's bytes, to all. */
    void (*broadcast)(struct ranks *, void *bytes, size_t n);
    /* Returns when all have called it. */
    void (*wait)(struct ranks *);
    void (*close)(struct ranks *);
};

enum ranks_mode { RANKS_AUTO, RANKS_MPI, RANKS_ALONE };

/* RANKS_AUTO asks the environment whether an MPI launcher has started this process as one of
 * several. The plugin is the file that $DUQ_MPI_PLUGIN names, else ../lib/duq/duq-mpi.so beside the
 * folder of the program. Dies (EX_UNAVAILABLE) where it is needed and cannot be had, or is of
 * another MPI than the launcher. Then messages of ranks from 1 on name the rank, and rank 0 alone
 * warns and informs. */
struct ranks *ranks_open(enum ranks_mode mode);

/* Processor threads for each rank of a host that share its processors. */
int ranks_threads(const struct ranks *r);

/* What the plugin exports: MPI's world, begun. It ends all ranks when this process exits without
 * close(). */
struct ranks *mpi_ranks_open(void);

#endif
