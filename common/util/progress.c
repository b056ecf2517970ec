#include "common/util/progress.h"

#include "common/util/clock.h"
#include "common/util/diag.h"

#include <stdio.h>
#include <unistd.h>

static struct {
    const char *unit;
    unsigned long total;
    double began, drawn;
    int shown;
    char note[64];
} line;

void progress_start(const char *unit, unsigned long total)
{
    line.unit = unit;
    line.total = total;
    line.began = line.drawn = clock_seconds();
    line.shown = verbosity != QUIET && isatty(STDERR_FILENO);
    line.note[0] = '\0';
}

void progress_note(const char *note)
{
    snprintf(line.note, sizeof line.note, "%s", note);
}

void progress_update(unsigned long done)
{
    if (!line.shown)
        return;
    double t = clock_seconds();
    if (t - line.drawn < 0.1)
        return;
    line.drawn = t;
    double rate = (double)done / (t - line.began);
    fprintf(stderr, "\r\033[K%s: %lu", program_name, done);
    if (line.total)
        fprintf(stderr, "/%lu", line.total);
    fprintf(stderr, " %s, %.3g/s", line.unit, rate);
    if (line.total > done && rate > 0) {
        unsigned long left = (unsigned long)((double)(line.total - done) / rate + 0.5);
        fprintf(stderr, ", %lu:%02lu:%02lu left", left / 3600, left / 60 % 60, left % 60);
    }
    if (line.note[0])
        fprintf(stderr, "; %s", line.note);
    fflush(stderr);
}

void progress_end(void)
{
    if (line.shown)
        fputs("\r\033[K", stderr);
    line.shown = 0;
}
