#include "common/util/processors.h"

#include "common/util/cgroup.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
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

static long long in_processors(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    long long n = quota / period + (quota % period != 0);
    return n < INT_MAX ? n : INT_MAX;
}

/* "QUOTA PERIOD"; "max PERIOD" where there is no quota. */
static long long quota_of_v2(const char *folder)
{
    long long n[2];
    return cgroup_numbers(folder, "cpu.max", n) == 2 ? in_processors(n[0], n[1]) : 0;
}

/* A quota of -1 is none. */
static long long quota_of_v1(const char *folder)
{
    long long quota[2], period[2];
    if (!cgroup_numbers(folder, "cpu.cfs_quota_us", quota) ||
        !cgroup_numbers(folder, "cpu.cfs_period_us", period))
        return 0;
    return in_processors(quota[0], period[0]);
}

int processors_quota(const char *root)
{
    return (int)cgroup_lowest(root, "cpu", quota_of_v1, quota_of_v2);
}
