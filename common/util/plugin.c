#include "common/util/plugin.h"

#include "common/util/mem.h"

#include <stdlib.h>
#include <unistd.h>

char *plugin_path(const char *variable, const char *name)
{
    const char *given = getenv(variable);
    if (given && *given)
        return xstrdup(given);
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program);
    int folder = n < 0 ? 0 : (int)n;
    while (folder > 0 && program[folder - 1] != '/')
        folder--;
    return xasprintf("%.*s../lib/duq/%s", folder, program, name);
}
