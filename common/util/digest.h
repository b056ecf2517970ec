/* Digests as headers and messages have them. */
#ifndef DUQ_UTIL_DIGEST_H
#define DUQ_UTIL_DIGEST_H

#include <stdint.h>
#include <xxhash.h>

enum { DIGEST_SIZE = 24 }; /* bytes of the text, its end among them */

/* A state that nothing has been added to; XXH64_freeState() releases it. */
XXH64_state_t *digest_new(void);

/* "xxh64:" and the hash in 16 hex digits. */
void digest_text(uint64_t hash, char text[DIGEST_SIZE]);

#endif
