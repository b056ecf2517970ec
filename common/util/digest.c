#include "common/util/digest.h"

#include <inttypes.h>
#include <stdio.h>

void digest_text(uint64_t hash, char text[DIGEST_SIZE])
{
    snprintf(text, DIGEST_SIZE, "xxh64:%016" PRIx64, hash);
}
