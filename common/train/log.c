#include "common/train/log.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct log {
    const char *path;
    FILE *file;
    bool validated;
};

/* The length of the lines up to a step's, the heading included. */
static long kept_length(FILE *file, unsigned long last)
{
    char line[256];
    unsigned long step;
    long keep = 0;
    while (fgets(line, sizeof line, file) && strchr(line, '\n') &&
           (keep == 0 || (sscanf(line, "%lu", &step) == 1 && step <= last)))
        keep = ftell(file);
    return keep;
}

struct log *log_open(const char *path, unsigned long taken, bool validated)
{
    struct log *l = xcalloc(1, sizeof *l);
    struct stat st;
    bool goes_on = taken && !stat(path, &st) && S_ISREG(st.st_mode);
    *l = (struct log){path, fopen(path, goes_on ? "r+" : "w"), validated};
    if (!l->file)
        die(EX_CANTCREAT, "%s: cannot be written: %s", path, strerror(errno));
    long keep = goes_on ? kept_length(l->file, taken) : 0;
    if (goes_on &&
        (ferror(l->file) || fseek(l->file, keep, SEEK_SET) || ftruncate(fileno(l->file), keep)))
        die(EX_IOERR, "%s: cannot be cut to step %lu: %s", path, taken, strerror(errno));
    if (keep == 0)
        fprintf(l->file, "step\tloss\tlr%s\n",
                validated ? "\tval_loss\tval_nll\tval_accuracy\tval_ece" : "");
    return l;
}

void log_step(struct log *l, unsigned long step, double loss, double rate,
              const struct validation *v)
{
    fprintf(l->file, "%lu\t%.9g\t%.9g", step, loss, rate);
    if (v)
        fprintf(l->file, "\t%.9g\t%.9g\t%.9g\t%.9g", v->loss, v->nll, v->accuracy, v->ece);
    else if (l->validated)
        fputs("\t\t\t\t", l->file);
    fputc('\n', l->file);
    if (fflush(l->file) || ferror(l->file))
        die(EX_IOERR, "%s: not written: %s", l->path, strerror(errno));
}

void log_close(struct log *l)
{
    if (fclose(l->file))
        die(EX_IOERR, "%s: not written: %s", l->path, strerror(errno));
    free(l);
}
