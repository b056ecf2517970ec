/* How many processors this process may use. */
#ifndef DUQ_UTIL_PROCESSORS_H
#define DUQ_UTIL_PROCESSORS_H

/* Those that the process's affinity allows. */
int processors_allowed(void);

/* What the quota of the process's control group, and of those above it, comes to in processors,
 * rounded up; 0 where there is none. root is what proc and sys/fs/cgroup are under: "" but in
 * tests, which make such folders up. */
int processors_quota(const char *root);

#endif
