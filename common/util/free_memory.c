#include "common/util/free_memory.h"

#include "common/util/cgroup.h"
#include "common/util/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file's line "NAME NUMBER" or "NAME: NUMBER"; 0 where there is none. */
static long long named_number(const char *folder, const char *file, const char *name)
{
    char *path = xasprintf("%s/%s", folder, file), line[160];
    FILE *f = fopen(path, "re");
    free(path);
    long long number = 0;
    size_t n = strlen(name);
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, n) && sscanf(line + n, " %lld", &number) == 1)
            break;
    if (f)
        fclose(f);
    return number;
}

/* What a group may take beside what it has; pages of files go when memory is asked for. At least 1,
 * for 0 is no limit. */
static long long left(long long most, long long used, long long pages_of_files)
{
    long long n = most - (used - pages_of_files);
    return n > 1 ? n : 1;
}

/* "max" where there is no limit. */
static long long left_of_v2(const char *folder)
{
    long long most[2], used[2] = {0};
    if (!cgroup_numbers(folder, "memory.max", most))
        return 0;
    cgroup_numbers(folder, "memory.current", used);
    return left(most[0], used[0],
                named_number(folder, "memory.stat", "inactive_file ") +
                    named_number(folder, "memory.stat", "active_file "));
}

/* A limit beyond all memory is none. */
static long long left_of_v1(const char *folder)
{
    long long most[2], used[2] = {0};
    if (!cgroup_numbers(folder, "memory.limit_in_bytes", most) || most[0] >= 1LL << 60)
        return 0;
    cgroup_numbers(folder, "memory.usage_in_bytes", used);
    return left(most[0], used[0],
                named_number(folder, "memory.stat", "total_inactive_file ") +
                    named_number(folder, "memory.stat", "total_active_file "));
}

size_t free_memory(const char *root)
{
    char *proc = xasprintf("%s/proc", root);
    long long available = 1024 * named_number(proc, "meminfo", "MemAvailable:");
    free(proc);
    if (!available)
        available = (long long)sysconf(_SC_PAGESIZE) * sysconf(_SC_AVPHYS_PAGES);
    long long group = cgroup_lowest(root, "memory", left_of_v1, left_of_v2);
    return (size_t)(group && group < available ? group : available);
}
