/* PCRE2 with memory from mem.h: it never has too little. */
#ifndef DUQ_UTIL_PCRE2_MEMORY_H
#define DUQ_UTIL_PCRE2_MEMORY_H

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

/* By which PCRE2's other objects take memory, also when it is gone; not NULL.
 * pcre2_general_context_free() releases it. */
pcre2_general_context *pcre2_memory_new(void);

#endif
