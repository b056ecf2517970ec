#include "common/util/pcre2_memory.h"

#include "common/util/mem.h"

#include <stdlib.h>

static void *take(size_t size, void *data)
{
    (void)data;
    return xmalloc(size);
}

static void release(void *memory, void *data)
{
    (void)data;
    free(memory);
}

pcre2_general_context *pcre2_memory_new(void)
{
    return pcre2_general_context_create(take, release, NULL);
}
