/* The loss log of a training run, as lora-train writes it. */
#ifndef DUQ_EVAL_TRAINING_LOG_H
#define DUQ_EVAL_TRAINING_LOG_H

#include <stddef.h>

struct training_log {
    char *name;
    size_t n;
    double *step, *loss, *rate; /* [n]; loss and rate NaN where the log has no number */
    double *validation;         /* [n]: the loss on texts held out after the step, or NaN */
};

/* Tab-separated lines of step, loss and learning rate. Lines that begin with '#' are skipped; a
 * first line of names (step, loss, lr, val_loss) says which columns hold them. name is taken over;
 * NULL: the path's last part. Dies with EX_NOINPUT, or EX_DATAERR naming the line. */
struct training_log training_log_read(char *name, const char *path);
void training_log_free(struct training_log *log);

#endif
