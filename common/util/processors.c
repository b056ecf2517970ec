#include "common/util/processors.h"

#include "common/util/mem.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int processors_allowed(void)
{
    /* The call fails where the set is smaller than the kernel's own. */
    for (size_t room = CPU_SETSIZE; room <= 1 << 20; room *= 2) {
        cpu_set_t *set = CPU_ALLOC(room);
        size_t size = CPU_ALLOC_SIZE(room);
        bool known = set && !sched_getaffinity(0, size, set);
        int n = known ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (n > 0)
            return n;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

/* ---- the quota; 0 stands for none ---- */

static int lower(int a, int b)
{
    return !a || (b && b < a) ? b : a;
}

static int in_processors(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    long long n = quota / period + (quota % period != 0);
    return n < INT_MAX ? (int)n : INT_MAX;
}

/* The numbers that folder/name begins with: how many there are, at most two. */
static int read_numbers(const char *folder, const char *name, long long number[2])
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

/* "QUOTA PERIOD"; "max PERIOD" where there is no quota. */
static int quota_of_v2(const char *folder)
{
    long long n[2];
    return read_numbers(folder, "cpu.max", n) == 2 ? in_processors(n[0], n[1]) : 0;
}

/* A quota of -1 is none. */
static int quota_of_v1(const char *folder)
{
    long long quota[2], period[2];
    if (!read_numbers(folder, "cpu.cfs_quota_us", quota) ||
        !read_numbers(folder, "cpu.cfs_period_us", period))
        return 0;
    return in_processors(quota[0], period[0]);
}

/* The lowest quota of a group and of those above it. A container may see its own group as the root
 * of the hierarchy and name it by its path outside: folders that are missing have no quota. */
static int lowest_quota(int (*quota)(const char *folder), const char *root, const char *hierarchy,
                        const char *group)
{
    char *folder = xasprintf("%s/sys/fs/cgroup%s%s", root, hierarchy, group);
    char *end = folder + strlen(folder) - strlen(group), *slash;
    int lowest = quota(folder);
    while ((slash = strrchr(folder, '/')) && slash >= end) {
        *slash = '\0';
        lowest = lower(lowest, quota(folder));
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
static int quota_of_line(const char *root, char *line)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':'),
         *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return 0;
    *group++ = '\0';
    if (!*++controllers)
        return lowest_quota(quota_of_v2, root, "", group);
    if (!lists(controllers, "cpu"))
        return 0;
    /* Systems differ in whether the hierarchy is found under its short name. */
    char *hierarchy = xasprintf("/%s", controllers);
    int lowest = lower(lowest_quota(quota_of_v1, root, "/cpu", group),
                       lowest_quota(quota_of_v1, root, hierarchy, group));
    free(hierarchy);
    return lowest;
}

int processors_quota(const char *root)
{
    char *path = xasprintf("%s/proc/self/cgroup", root), *line = NULL;
    FILE *f = fopen(path, "re");
    free(path);
    if (!f)
        return 0;
    int lowest = 0;
    for (size_t room = 0; getline(&line, &room, f) > 0;)
        lowest = lower(lowest, quota_of_line(root, line));
    free(line);
    fclose(f);
    return lowest;
}
