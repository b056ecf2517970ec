/* What every program counts on, whoever started it. */
#ifndef DUQ_UTIL_SURROUNDINGS_H
#define DUQ_UTIL_SURROUNDINGS_H

/* Once, before anything is opened: descriptors 0 to 2 are open, signals of pipes and of the limit
 * on files' sizes do what programs here expect, and JSON has its memory from mem.h. */
void surroundings_settle(void);

#endif
