#include "common/util/outpath.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder's part of a path, with the slash; "" where it has none. */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

char *outpath_folder(const char *path)
{
    return xasprintf("%.*s.", (int)folder_length(path), path);
}

/* NULL where there is none that can be looked at. */
static char *real_folder(const char *path)
{
    char *real = realpath(path, NULL);
    if (!real && errno != ENOENT && errno != ENOTDIR && errno != EACCES)
        die(EX_CANTCREAT, "%s: cannot be written in: %s", path, strerror(errno));
    return real;
}

/* Links in /proc/self/fd are not followed: what they show is no path that could be opened (pipes,
 * removed files), and the descriptor has a position and a mode. */
static bool is_descriptor(const char *path, int *number)
{
    size_t n = folder_length(path);
    char *end, *folder = outpath_folder(path);
    char *real = real_folder(folder), *own = real_folder("/proc/self/fd");
    bool there = real && own && !strcmp(real, own);
    free(folder);
    free(real);
    free(own);
    errno = 0;
    long value = strtol(path + n, &end, 10);
    *number = (int)value;
    return there && end != path + n && !*end && !errno && value >= 0 && value <= INT_MAX;
}

char *outpath_follow(const char *path, int *descriptor)
{
    enum { MOST_LINKS = 40 }; /* as the kernel has it */
    char *at = xstrdup(path), target[PATH_MAX];
    for (int links = 0; links <= MOST_LINKS; links++) {
        if (is_descriptor(at, descriptor)) {
            free(at);
            return NULL;
        }
        ssize_t n = readlink(at, target, sizeof target);
        if (n < 0 && errno != EINVAL && errno != ENOENT)
            die(EX_CANTCREAT, "%s: cannot be created: %s", path, strerror(errno));
        if (n < 0)
            return at; /* no link, or nothing */
        size_t folder = *target == '/' ? 0 : folder_length(at);
        char *next = xasprintf("%.*s%.*s", (int)folder, at, (int)n, target);
        free(at);
        at = next;
    }
    die(EX_CANTCREAT, "%s: symbolic links that lead in a circle", path);
}
