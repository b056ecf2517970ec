/* Training an adapter: epochs over a training set, optimizer steps, validation, checkpoints. */
#ifndef DUQ_TRAIN_TRAIN_H
#define DUQ_TRAIN_TRAIN_H

#include "common/train/trainer.h"
#include "common/train/validation.h"

/* Which student the adapter's folder gets: the last one, or that of the validation with the lowest
 * loss. KEEP_ALL: the last one, and those on the way to it get folders of their own. */
enum keep { KEEP_LAST, KEEP_BEST, KEEP_ALL };

struct train_settings {
    struct trainer_settings step;
    double rate;        /* peak learning rate */
    double alpha0_rate; /* that of the learned ln a0, on the same schedule */
    double annealing;   /* of LOSS_EDL: epochs until its KL has the weight 1; 0: from the start */
    double epochs;      /* not necessarily whole; > 0 */
    unsigned long dropout_epochs; /* dropout is of the first ones alone; 0: of all */
    enum schedule_kind schedule;
    unsigned long warmup; /* steps */
    bool shuffle;
    const double *class_weights; /* that the set's weights are of, or NULL */
    enum keep keep;
    unsigned long validate_every; /* steps; 0: as many as an epoch has */
    unsigned long patience;       /* validations without a lower loss that end it; 0: it goes on */
};

struct train_files {
    const char *folder;     /* the adapter's */
    const char *checkpoint; /* kept while training, removed at its end */
    const char *lock;       /* there while training (common/util/lock.h) */
    unsigned long every;    /* steps between checkpoints; 0: none are made for their number */
    double minutes;         /* between checkpoints; 0: none are made for the time */
    bool resume;
    const char *log; /* as TSV (log.h), or NULL */
    /* Of KEEP_ALL: a folder that gets the adapter after each epoch, as 1, 2 ..., or after every
     * validate_every steps, by their number. */
    const char *all;
};

/* Trains on the model (its device is set, its classes are the set's) and writes the adapter. The
 * result is the same to the last bit for any number of threads and however often the run was
 * interrupted; for other numbers of ranks, within the rounding of the gradients' sum. Rank 0 alone
 * reads and writes the files. v: what it is validated on, or NULL, which KEEP_BEST and patience
 * need; it changes no student. Dies (EX_DATAERR) at a loss that is not finite, in validation too:
 * the last checkpoint stays, and of KEEP_BEST the best student so far is written first; and at a
 * rank that was given other settings, data or another model than rank 0. Where there are
 * checkpoints, SIGHUP, SIGINT and SIGTERM to any rank end it after the present step, with a
 * checkpoint of it. */
void train(struct model *m, const struct training_set *t, struct validator *v,
           const struct train_settings *s, const struct train_files *files, struct ranks *r);

#endif
