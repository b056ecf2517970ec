#include "common/util/cgroup.h"

#include "common/util/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long long lower(long long a, long long b)
{
    return !a || (b && b < a) ? b : a;
}

int cgroup_numbers(const char *folder, const char *name, long long number[2])
{
    char *path = xasprintf("%s/%s", folder, name);
    FILE *f = fopen(path, "re");
    free(path);
    if (!f)
        return 0;
    int n = fscanf(f, "%lld %lld", &number[0], &number[1]);
    fclose(f);
    return n < 0 ? 0 : n;
}

/* A container may see its own group as the root of the hierarchy and name it by its path outside:
 * folders that are missing have no limit. */
static long long lowest_of(cgroup_limit *limit, const char *root, const char *hierarchy,
                           const char *group)
{
    char *folder = xasprintf("%s/sys/fs/cgroup%s%s", root, hierarchy, group);
    char *end = folder + strlen(folder) - strlen(group), *slash;
    long long lowest = limit(folder);
    while ((slash = strrchr(folder, '/')) && slash >= end) {
        *slash = '\0';
        lowest = lower(lowest, limit(folder));
    }
    free(folder);
    return lowest;
}

static bool lists(const char *controllers, const char *name)
{
    size_t n = strlen(name);
    for (const char *c = controllers; c; c = strchr(c, ',') ? strchr(c, ',') + 1 : NULL)
        if (!strncmp(c, name, n) && (c[n] == ',' || !c[n]))
            return true;
    return false;
}

/* line: NUMBER:CONTROLLERS:GROUP, where version 2 has no controllers. */
static long long lowest_of_line(const char *root, const char *controller, cgroup_limit *v1,
                                cgroup_limit *v2, char *line)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return 0;
    *group++ = '\0';
    if (!*++controllers)
        return lowest_of(v2, root, "", group);
    if (!lists(controllers, controller))
        return 0;
    /* Systems differ in whether the hierarchy is found under its short name. */
    char *brief = xasprintf("/%s", controller), *whole = xasprintf("/%s", controllers);
    long long lowest = lower(lowest_of(v1, root, brief, group), lowest_of(v1, root, whole, group));
    free(brief);
    free(whole);
    return lowest;
}

long long cgroup_lowest(const char *root, const char *controller, cgroup_limit *v1,
                        cgroup_limit *v2)
{
    char *path = xasprintf("%s/proc/self/cgroup", root), *line = NULL;
    FILE *f = fopen(path, "re");
    free(path);
    if (!f)
        return 0;
    long long lowest = 0;
    for (size_t room = 0; getline(&line, &room, f) > 0;)
        lowest = lower(lowest, lowest_of_line(root, controller, v1, v2, line));
    free(line);
    fclose(f);
    return lowest;
}
