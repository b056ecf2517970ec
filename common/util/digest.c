#include "common/util/digest.h"

#include "common/util/diag.h"

#include <inttypes.h>
#include <stdio.h>

XXH64_state_t *digest_new(void)
{
    XXH64_state_t *state = XXH64_createState();
    if (!state)
        die(EX_OSERR, "out of memory");
    XXH64_reset(state, 0);
    return state;
}

void digest_text(uint64_t hash, char text[DIGEST_SIZE])
{
    snprintf(text, DIGEST_SIZE, "xxh64:%016" PRIx64, hash);
}
