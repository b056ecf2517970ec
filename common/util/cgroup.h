/* The control groups that this process is in, and what limits them (cgroups(7), versions 1 and 2).
 */
#ifndef DUQ_UTIL_CGROUP_H
#define DUQ_UTIL_CGROUP_H

/* What a group's folder says of one limit; 0 where it sets none. */
typedef long long cgroup_limit(const char *folder);

/* The lowest limit of the process's group and of those above it; 0 where there is none. controller:
 * the one of version 1, "cpu" or "memory". root is what proc and sys/fs/cgroup are under: "" but in
 * tests, which make such folders up. */
long long cgroup_lowest(const char *root, const char *controller, cgroup_limit *v1,
                        cgroup_limit *v2);

/* The numbers that folder/name begins with: how many there are, at most two. */
int cgroup_numbers(const char *folder, const char *name, long long number[2]);

#endif
