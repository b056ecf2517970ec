/* A progress line with rate and time left, on a terminal's standard error only. */
#ifndef DUQ_UTIL_PROGRESS_H
#define DUQ_UTIL_PROGRESS_H

/* unit: what is counted ("records"); total: how many there will be, 0 when not known. */
void progress_start(const char *unit, unsigned long total);
/* Sets the count reached; redraws at most ten times a second. */
void progress_update(unsigned long done);
/* What the line ends with from now on, 63 bytes at most. */
void progress_note(const char *note);
/* Wipes the line. */
void progress_end(void);

#endif
