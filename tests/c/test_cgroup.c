/* What control groups leave of processors and memory, in folders made up. */
#include "common/util/free_memory.h"
#include "common/util/mem.h"
#include "common/util/processors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

static void make_root(void)
{
    snprintf(root, sizeof root, "/tmp/test_cgroup.XXXXXX");
    assert_non_null(mkdtemp(root));
}

static void remove_root(void)
{
    char *command = xasprintf("rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
    free(command);
}

/* Writes a file under root, and the folders it is in. */
static void put(const char *name, const char *text)
{
    char *path = xasprintf("%s/%s", root, name);
    for (char *slash = path + strlen(root); (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static void quotas_of_version_2_are_followed(void **state)
{
    (void)state;
    make_root();
    assert_int_equal(processors_quota(root), 0); /* no proc */
    put("proc/self/cgroup", "0::/job.slice/step one\n");
    assert_int_equal(processors_quota(root), 0);
    put("sys/fs/cgroup/job.slice/step one/cpu.max", "max 100000\n");
    assert_int_equal(processors_quota(root), 0);
    put("sys/fs/cgroup/job.slice/cpu.max", "350000 100000\n");
    assert_int_equal(processors_quota(root), 4);
    put("sys/fs/cgroup/job.slice/step one/cpu.max", "200000 100000\n");
    assert_int_equal(processors_quota(root), 2);
    put("sys/fs/cgroup/job.slice/step one/cpu.max", "50000 100000\n");
    assert_int_equal(processors_quota(root), 1);
    put("sys/fs/cgroup/job.slice/step one/cpu.max", "800000 100000\n");
    assert_int_equal(processors_quota(root), 4);
    put("sys/fs/cgroup/cpu.max", "150000 50000\n");
    assert_int_equal(processors_quota(root), 3);
    /* A container may see its own group at the top. */
    put("proc/self/cgroup", "0::/\n");
    assert_int_equal(processors_quota(root), 3);
    put("proc/self/cgroup", "0::/docker/0123\n");
    assert_int_equal(processors_quota(root), 3);
    put("sys/fs/cgroup/cpu.max", "nonsense\n");
    assert_int_equal(processors_quota(root), 0);
    put("proc/self/cgroup", "nonsense\n\n0:\n");
    assert_int_equal(processors_quota(root), 0);
    remove_root();
}

static void quotas_of_version_1_are_followed(void **state)
{
    (void)state;
    make_root();
    put("proc/self/cgroup", "5:cpuset:/other\n4:cpuacct,cpu:/a/b\n1:name=systemd:/x\n0::/x\n");
    put("sys/fs/cgroup/cpuset/other/cpu.cfs_quota_us", "100000\n");
    put("sys/fs/cgroup/cpuset/other/cpu.cfs_period_us", "100000\n");
    assert_int_equal(processors_quota(root), 0);
    put("sys/fs/cgroup/cpuacct,cpu/a/b/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpuacct,cpu/a/b/cpu.cfs_period_us", "100000\n");
    assert_int_equal(processors_quota(root), 0);
    put("sys/fs/cgroup/cpuacct,cpu/a/cpu.cfs_quota_us", "250000\n");
    assert_int_equal(processors_quota(root), 0);
    put("sys/fs/cgroup/cpuacct,cpu/a/cpu.cfs_period_us", "100000\n");
    assert_int_equal(processors_quota(root), 3);
    put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "10000\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(processors_quota(root), 1);
    remove_root();
}

/* Pages of files count as free. */
static void memory_of_version_2_is_what_groups_leave(void **state)
{
    (void)state;
    make_root();
    assert_true(free_memory(root) > 0); /* no proc */
    put("proc/meminfo", "MemTotal:       8000 kB\nMemFree:  10 kB\nMemAvailable:    4000 kB\n");
    assert_int_equal(free_memory(root), 4000 * 1024);
    put("proc/self/cgroup", "0::/a/b\n");
    assert_int_equal(free_memory(root), 4000 * 1024);
    put("sys/fs/cgroup/a/b/memory.max", "max\n");
    assert_int_equal(free_memory(root), 4000 * 1024);
    put("sys/fs/cgroup/a/memory.max", "3000000\n");
    assert_int_equal(free_memory(root), 3000000);
    put("sys/fs/cgroup/a/memory.current", "2500000\n");
    assert_int_equal(free_memory(root), 500000);
    put("sys/fs/cgroup/a/memory.stat",
        "anon 1\nfile 9\ninactive_file 300000\nactive_file 200000\n");
    assert_int_equal(free_memory(root), 1000000);
    put("sys/fs/cgroup/a/b/memory.max", "700000\n");
    assert_int_equal(free_memory(root), 700000);
    put("sys/fs/cgroup/a/b/memory.current", "900000\n");
    assert_int_equal(free_memory(root), 1);
    remove_root();
}

static void memory_of_version_1_is_what_groups_leave(void **state)
{
    (void)state;
    make_root();
    put("proc/meminfo", "MemAvailable:    4000 kB\n");
    put("proc/self/cgroup", "5:cpu:/other\n4:memory:/job\n");
    put("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(free_memory(root), 4000 * 1024);
    put("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2000000\n");
    put("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1500000\n");
    put("sys/fs/cgroup/memory/job/memory.stat",
        "cache 5\ntotal_inactive_file 100000\ntotal_active_file 20000\n");
    assert_int_equal(free_memory(root), 620000);
    remove_root();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotas_of_version_2_are_followed),
        cmocka_unit_test(quotas_of_version_1_are_followed),
        cmocka_unit_test(memory_of_version_2_is_what_groups_leave),
        cmocka_unit_test(memory_of_version_1_is_what_groups_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
