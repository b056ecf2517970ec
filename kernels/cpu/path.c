/* Which paths the processor and the kernel offer, and which of them is taken. */
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "kernels/cpu/paths.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_PATHS = 5 };

static const struct path *here[MOST_PATHS + 1];

#ifdef __x86_64__
#include <cpuid.h>

/* The kernel gives a process its tiles' registers when it is asked. */
static bool amx_is_granted(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM */
    unsigned a, b, c, d;
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & AMX_BF16) || !(d & AMX_TILE))
        return false;
    if (syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0)
        return true;
    inform("this processor has AMX, but the kernel does not grant its use (Linux 5.16 and later "
           "do): computing without it");
    return false;
}

static void find_paths(void)
{
    static struct path bf16, amx;
    const struct path **to = here;
    bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512cd");
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (v4 && amx_is_granted()) {
        amx = path_avx512;
        amx.name = "amx";
        amx.bf16 = multiplier_amx;
        *to++ = &amx;
    }
    if (v4 && __builtin_cpu_supports("avx512bf16")) {
        bf16 = path_avx512;
        bf16.name = "avx512bf16";
        bf16.bf16 = multiplier_avx512bf16;
        *to++ = &bf16;
    }
    if (v4)
        *to++ = &path_avx512;
    if (v3)
        *to++ = &path_avx2;
    *to++ = &path_plain;
}

#else

static void find_paths(void)
{
    here[0] = &path_plain;
}

#endif

const struct path *const *paths_here(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_paths);
    return here;
}

const struct path *path_choose(void)
{
    const struct path *const *paths = paths_here();
    const char *name = getenv("DUQ_ISA");
    if (!name || !*name)
        return paths[0];
    for (const struct path *const *p = paths; *p; p++)
        if (!strcmp((*p)->name, name))
            return *p;
    struct buf names = {0};
    for (const struct path *const *p = paths; *p; p++)
        buf_addf(&names, "%s%s", names.len ? ", " : "", (*p)->name);
    die(EX_UNAVAILABLE, "DUQ_ISA=%s: this processor has %s; name one of these or unset DUQ_ISA",
        name, buf_str(&names));
}
