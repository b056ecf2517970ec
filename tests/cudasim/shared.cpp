/* Shared memory: one arena, as blocks run one after another. Dynamic shared memory stands first;
 * each static array gets its place when a thread of the launch first comes by its declaration. */
#include "access.h"

#include <sys/mman.h>

namespace cudasim
{

constexpr size_t ARENA = 512 << 10, GAP = 64; /* between arrays: out of bounds */

static char *arena;
static size_t dynamic_bytes, static_bytes, end;
static uint64_t launches;

static void make_arena()
{
    arena =
        (char *)mmap(nullptr, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED)
        report("internal", "no memory for shared memory");
    access_begin_shared(arena, ARENA);
}

struct array {
    std::string name;
    size_t offset, bytes;
};
static std::vector<struct array> arrays; /* of this launch */

static void open_array(const char *name, size_t offset, size_t bytes)
{
    arrays.push_back({name, offset, bytes});
    ASAN_UNPOISON_MEMORY_REGION(arena + offset, bytes);
    shared_open(offset, bytes);
}

void shared_begin_launch(size_t dynamic)
{
    if (!arena)
        make_arena();
    ASAN_POISON_MEMORY_REGION(arena, ARENA);
    shared_close(0, end);
    arrays.clear();
    launches++;
    dynamic_bytes = dynamic;
    static_bytes = 0;
    end = GAP;
    if (dynamic) {
        open_array("dynamic shared memory", end, dynamic);
        end += dynamic;
    }
}

void shared_begin_block()
{
    for (const struct array &a : arrays)
        shared_open(a.offset, a.bytes);
}

std::string place_in_shared_memory(const void *p)
{
    size_t offset = (size_t)((const char *)p - arena);
    const struct array *nearest = arrays.empty() ? nullptr : &arrays[0];
    for (const struct array &a : arrays)
        if (a.offset <= offset)
            nearest = &a;
    if (!nearest)
        return "outside of shared memory";
    return "byte " + std::to_string((ptrdiff_t)offset - (ptrdiff_t)nearest->offset) + " of " +
           nearest->name + " of " + std::to_string(nearest->bytes) + " bytes";
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

void *shared_array(struct shared_slot *slot, size_t bytes, size_t alignment, const char *name)
{
    if (!running)
        report("host", "%s: shared memory is used outside a kernel", name);
    if (slot->launch != launches) {
        static_bytes += bytes;
        if (static_bytes > SHARED_STATIC_LIMIT)
            report("shared", "%s: %zu bytes of static shared memory, %zu are the limit", name,
                   static_bytes, SHARED_STATIC_LIMIT);
        if (static_bytes + dynamic_bytes > SHARED_OPTIN_LIMIT)
            report("shared", "%s: %zu bytes of shared memory, %zu are the limit", name,
                   static_bytes + dynamic_bytes, SHARED_OPTIN_LIMIT);
        slot->launch = launches;
        slot->offset = round_up(end + GAP, alignment < 16 ? 16 : alignment);
        end = slot->offset + bytes;
        open_array(name, slot->offset, bytes);
    }
    return arena + slot->offset;
}

void *dynamic_shared()
{
    if (!running)
        report("host", "dynamic shared memory is used outside a kernel");
    return arena + GAP;
}

} // namespace cudasim
