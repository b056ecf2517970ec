/* The environment: what a test asks of the simulator. README.md describes it. */
#include "simulator.h"

#include <stdio.h>
#include <stdlib.h>

namespace cudasim
{

[[noreturn]] static void refuse(const char *name, const char *value)
{
    fprintf(stderr, "cudasim: %s=%s is not understood; see tests/cudasim/README.md\n", name, value);
    exit(64);
}

static uint64_t number(const char *name, const char *value, const char *digits)
{
    char *end;
    uint64_t n = strtoull(digits, &end, 10);
    if (end == digits || *end)
        refuse(name, value);
    return n;
}

static const char *after(const char *s, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(s, prefix, n) == 0 ? s + n : nullptr;
}

static void read_order(struct settings *s)
{
    static const char *name = "DUQ_CUDASIM_ORDER";
    const char *value = getenv(name), *seed;
    if (!value || strcmp(value, "forward") == 0)
        return;
    if (strcmp(value, "reverse") == 0) {
        s->order = start_order::REVERSE;
    } else if ((seed = after(value, "shuffle:"))) {
        s->order = start_order::SHUFFLE;
        s->order_seed = number(name, value, seed);
    } else {
        refuse(name, value);
    }
}

static void read_fail(struct settings *s)
{
    static const char *name = "DUQ_CUDASIM_FAIL";
    static const char *const calls[FAILING_CALLS] = {
        "malloc:", "memcpy:", "launch:", "kernel:", "cublas:", "memory:"};
    const char *value = getenv(name);
    if (!value)
        return;
    for (int i = 0; i < FAILING_CALLS; i++)
        if (const char *digits = after(value, calls[i])) {
            s->fail_at[i] = number(name, value, digits);
            return;
        }
    refuse(name, value);
}

static void read_memory(struct settings *s)
{
    static const char *name = "DUQ_CUDASIM_MEMORY";
    s->memory = (size_t)4 << 30;
    if (const char *value = getenv(name))
        s->memory = number(name, value, value);
}

static void read_streams(struct settings *s)
{
    static const char *name = "DUQ_CUDASIM_STREAMS";
    const char *value = getenv(name);
    if (!value)
        return;
    const char *seed = after(value, "deferred:");
    if (!seed)
        refuse(name, value);
    s->deferred = true;
    s->stream_seed = number(name, value, seed);
}

static void read_driver(struct settings *s)
{
    static const char *name = "DUQ_CUDASIM_DRIVER";
    const char *value = getenv(name);
    if (!value || strcmp(value, "good") == 0)
        return;
    if (strcmp(value, "none") == 0)
        s->driver = driver_state::NONE;
    else if (strcmp(value, "old") == 0)
        s->driver = driver_state::OLD;
    else if (strcmp(value, "no-gpu") == 0)
        s->driver = driver_state::NO_GPU;
    else if (strcmp(value, "old-gpu") == 0)
        s->driver = driver_state::OLD_GPU;
    else if (strcmp(value, "lost-gpu") == 0)
        s->driver = driver_state::LOST_GPU;
    else
        refuse(name, value);
}

static struct settings read_settings()
{
    struct settings s = {};
    read_order(&s);
    read_fail(&s);
    read_memory(&s);
    read_streams(&s);
    read_driver(&s);
    return s;
}

const struct settings &settings()
{
    static const struct settings s = read_settings();
    return s;
}

bool fails(enum failing_call call)
{
    static uint64_t calls[FAILING_CALLS];
    uint64_t n = ++calls[call], at = settings().fail_at[call];
    return call == FAIL_MEMORY ? at && n >= at : n == at;
}

uint64_t random::next()
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

size_t random::below(size_t n)
{
    return next() % n;
}

} // namespace cudasim
