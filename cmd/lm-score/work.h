/* What lm-score is to score, one stream after another: its operands as one, or those of a list. */
#ifndef DUQ_CMD_LM_SCORE_WORK_H
#define DUQ_CMD_LM_SCORE_WORK_H

#include <stdbool.h>

struct work {
    char *const *files; /* [count] of tokens, one stream; none is standard input */
    int count;
    const char *output; /* NULL: standard output */
    bool compress;
};

struct work_list;

/* list: a file of lines, "-" for standard input, each with a file of tokens, a tab and the file to
 * write, compressed where only is or the name asks for it; NULL: only is all there is. Dies with
 * EX_NOINPUT where it cannot be opened, and with EX_CANTCREAT where lines of a list in a regular
 * file would write what another one writes or reads. */
struct work_list *work_open(const char *list, const struct work *only);

/* The next, until the call after; NULL at the end. Waits for the list's next line. Dies with
 * EX_DATAERR at a line that is none. */
const struct work *work_next(struct work_list *w);

/* Says on standard output that the one last returned is written, if it is of a list. */
void work_done(const struct work_list *w);

void work_close(struct work_list *w);

#endif
