#include "tests/fuzz/harness.h"

#include "common/util/apart.h"
#include "common/util/mapping.h"
#include "common/util/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <msgpack.h>
#include <sanitizer/allocator_interface.h>
#include <sanitizer/asan_interface.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

static jmp_buf end_of_input;
static _Thread_local bool within; /* an input: libFuzzer has a thread of its own, which allocates */

static _Noreturn void finding(const char *what, long number)
{
    fprintf(stderr, "finding: %s (%ld)\n", what, number);
    abort();
}

/* ---- what an input holds ---- */

/* A set of pointers. */
enum { SLOTS = 1 << 22 };
static void *slots[SLOTS];
static uint32_t used[SLOTS]; /* the slots that were, in order */
static size_t n_used, n_held;
static char gone;

/* Neighbours get neighbouring slots, which the cache holds. The allocator keeps pointers of each
 * size in a region of its own, so the upper bits tell these apart. */
static size_t slot_of(const void *p)
{
    uintptr_t address = (uintptr_t)p;
    return (size_t)(address / 16 + (address >> 32) * 40503) % SLOTS;
}

static void note_malloc(const volatile void *p, size_t size)
{
    (void)size;
    if (!within || !p)
        return;
    size_t i = slot_of((const void *)p);
    while (slots[i] && slots[i] != &gone)
        i = (i + 1) % SLOTS;
    if (!slots[i]) {
        if (n_used > SLOTS / 2)
            finding("more allocations than an input should make", SLOTS / 2);
        used[n_used++] = (uint32_t)i;
    }
    slots[i] = (void *)p;
    n_held++;
}

static void note_free(const volatile void *p)
{
    if (!within || !p)
        return;
    for (size_t i = slot_of((const void *)p); slots[i]; i = (i + 1) % SLOTS)
        if (slots[i] == p) {
            slots[i] = &gone;
            n_held--;
            return;
        }
}

/* Where what is held was allocated. */
static void describe_held(void)
{
    for (size_t k = 0; k < n_used; k++)
        if (slots[used[k]] && slots[used[k]] != &gone)
            __asan_describe_address(slots[used[k]]);
}

static void free_held(void)
{
    for (size_t k = 0; k < n_used; k++) {
        void *p = slots[used[k]];
        slots[used[k]] = NULL;
        if (p != &gone)
            free(p);
    }
    n_used = n_held = 0;
}

enum { MOST_OPEN = 64 };
static FILE *files[MOST_OPEN];
static struct {
    void *at;
    size_t size;
} maps[1 << 12];
enum { MOST_MAPS = sizeof maps / sizeof *maps };
static size_t n_maps; /* those that were in use, the first of them */

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
int __real_fclose(FILE *f);
int __wrap_fclose(FILE *f);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size);
_Noreturn void __real_exit(int status);
_Noreturn void __wrap_exit(int status);

FILE *__wrap_fopen(const char *path, const char *mode)
{
    FILE *f = __real_fopen(path, mode);
    for (size_t i = 0; within && f && i < MOST_OPEN; i++)
        if (!files[i]) {
            files[i] = f;
            break;
        }
    return f;
}

int __wrap_fclose(FILE *f)
{
    for (size_t i = 0; i < MOST_OPEN; i++)
        if (files[i] == f)
            files[i] = NULL;
    return __real_fclose(f);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *p = __real_mmap(at, size, protection, flags, fd, offset);
    for (size_t i = 0; within && p != MAP_FAILED && i < MOST_MAPS; i++)
        if (!maps[i].at) {
            maps[i].at = p;
            maps[i].size = size;
            n_maps = i < n_maps ? n_maps : i + 1;
            break;
        }
    return p;
}

int __wrap_munmap(void *at, size_t size)
{
    for (size_t i = 0; i < n_maps; i++)
        if (maps[i].at == at)
            maps[i].at = NULL;
    return __real_munmap(at, size);
}

/* That a file is an input is noted to the end of a program, which an input is not. */
struct apart *__wrap_apart_read(int fd, const char *name);
struct apart *__wrap_apart_read(int fd, const char *name)
{
    (void)fd;
    (void)name;
    return NULL;
}

static int first_descriptor; /* of those that an input opens */

static void take_back(void)
{
    for (size_t i = 0; i < MOST_OPEN; i++)
        if (files[i])
            __wrap_fclose(files[i]);
    for (size_t i = 0; i < n_maps; i++)
        if (maps[i].at) {
            mapping_forget(maps[i].at);
            __wrap_munmap(maps[i].at, maps[i].size);
        }
    n_maps = 0;
    within = false;
    free_held();
    close_range((unsigned)first_descriptor, ~0u, 0);
}

_Noreturn void __wrap_exit(int status)
{
    if (!within)
        __real_exit(status);
    if (status < EX__BASE || status > EX__MAX || status == EX_SOFTWARE || status == EX_OSERR)
        finding("exit status", status);
    longjmp(end_of_input, 1);
}

/* ---- files ---- */

static char folder[4096];

const char *fuzz_folder(void)
{
    return folder;
}

/* Paths that targets got. */
static char *paths[16];
static size_t n_paths;

const char *fuzz_file(const char *name, const void *data, size_t size)
{
    bool before = within;
    within = false;
    if (n_paths == sizeof paths / sizeof *paths)
        abort();
    char *path = paths[n_paths++] = xasprintf("%s/%s", folder, name);
    within = before;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd)) {
        perror(path);
        abort();
    }
    return path;
}

void fuzz_remove(const char *name)
{
    char *path = xasprintf("%s/%s", folder, name);
    unlink(path);
    free(path);
}

struct fuzz_part fuzz_part(const char *data, size_t size, const char *name)
{
    const char *end = data + size;
    char *line = xasprintf("=== %s\n", name);
    size_t n = strlen(line);
    struct fuzz_part part = {0};
    for (const char *at = data; !part.data && (at = memmem(at, (size_t)(end - at), line, n)); at++)
        if (at == data || at[-1] == '\n')
            part.data = at + n;
    free(line);
    if (!part.data)
        return part;
    const char *next = memmem(part.data, (size_t)(end - part.data), "\n=== ", 5);
    part.size = (size_t)((next ? next : end) - part.data);
    return part;
}

bool fuzz_part_file(const char *data, size_t size, const char *name)
{
    struct fuzz_part part = fuzz_part(data, size, name);
    if (part.data)
        fuzz_file(name, part.data, part.size);
    else
        fuzz_remove(name);
    return part.data;
}

const char *fuzz_safetensors(const char *name, struct fuzz_part part)
{
    if (!part.size || *part.data != '{')
        return fuzz_file(name, part.data ? part.data : "", part.size);
    const char *nul = memchr(part.data, 0, part.size);
    uint64_t length = nul ? (size_t)(nul - part.data) : part.size;
    size_t rest = part.size - (size_t)length - (nul != NULL);
    struct buf file = {0};
    buf_add(&file, &length, sizeof length);
    buf_add(&file, part.data, (size_t)length);
    if (nul)
        buf_add(&file, nul + 1, rest);
    const char *path = fuzz_file(name, file.data, file.len);
    buf_free(&file);
    return path;
}

static int append(void *data, const char *bytes, size_t len)
{
    buf_add(data, bytes, len);
    return 0;
}

static void pack_text(msgpack_packer *p, const char *text)
{
    msgpack_pack_str_with_body(p, text, strlen(text));
}

static void pack_sum(msgpack_packer *p, const char *key, const char *bytes, size_t size)
{
    char hex[17];
    snprintf(hex, sizeof hex, "%016" PRIx64, (uint64_t)XXH64(bytes, size, 0));
    pack_text(p, key);
    pack_text(p, hex);
}

/* Where the object at the beginning ends, without building it; 0: nowhere. */
static size_t end_of_object(const unsigned char *p, size_t size)
{
    static const unsigned char length_width[32] = {
        [0x04] = 1, [0x05] = 2, [0x06] = 4, [0x19] = 1, [0x1a] = 2,
        [0x1b] = 4, [0x1c] = 2, [0x1d] = 4, [0x1e] = 2, [0x1f] = 4};
    static const unsigned char value_width[32] = {
        [0x0a] = 4, [0x0b] = 8, [0x0c] = 1, [0x0d] = 2, [0x0e] = 4,
        [0x0f] = 8, [0x10] = 1, [0x11] = 2, [0x12] = 4, [0x13] = 8};
    uint64_t left = 1;
    size_t at = 0;
    for (; left; left--) {
        if (at >= size)
            return 0;
        unsigned c = p[at++], width = c >= 0xc0 && c < 0xe0 ? length_width[c - 0xc0] : 0;
        uint64_t length = 0;
        if (width > size - at)
            return 0;
        for (; width; width--)
            length = length << 8 | p[at++];
        if (c >= 0x80 && c < 0xa0)
            left += (c & 15) * (c < 0x90 ? 2u : 1u);
        else if (c >= 0xdc && c < 0xe0)
            left += length * (c >= 0xde ? 2 : 1);
        else if (c >= 0xa0 && c < 0xc0)
            length = c & 31;
        else if (c >= 0xc0 && c < 0xe0)
            length += value_width[c - 0xc0];
        if (c >= 0xa0 && c < 0xdc) {
            if (length > size - at)
                return 0;
            at += (size_t)length;
        }
    }
    return at;
}

/* How many objects there are, and where the second one begins; 0 where the bytes are none. */
static size_t count_objects(const char *data, size_t size, size_t *second)
{
    size_t n = 0;
    for (size_t at = 0, length; at < size; at += length) {
        length = end_of_object((const unsigned char *)data + at, size - at);
        if (!length)
            return 0;
        if (++n == 1)
            *second = length;
    }
    return n;
}

static bool has_trailer(const char *data, size_t size)
{
    enum { LEAST = 5, MOST = 64 };
    size_t end = size < MOST ? size : MOST;
    return memmem(data + size - end, end,
                  "\x83\xa3"
                  "end",
                  LEAST);
}

const char *fuzz_stream(const char *name, const char *data, size_t size)
{
    size_t second = 0, n = has_trailer(data, size) ? 0 : count_objects(data, size, &second);
    struct buf file = {0};
    buf_add(&file, data, size);
    if (n) {
        msgpack_packer p;
        msgpack_packer_init(&p, &file, append);
        msgpack_pack_map(&p, 3);
        pack_text(&p, "end");
        msgpack_pack_uint64(&p, n - 1);
        pack_sum(&p, "xxh64", data + second, size - second);
        pack_sum(&p, "header", data, second);
    }
    const char *path = fuzz_file(name, file.data, file.len);
    buf_free(&file);
    return path;
}

/* ---- libFuzzer's calls ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void remove_folder(void)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/duq-fuzz.XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        abort();
    }
    atexit(remove_folder);
    setenv("DUQ_THREADS", "1", 1);
    /* Or each date of a template that asks for it leaves the C library another name of the zone. */
    setenv("TZ", "UTC0", 1);
    tzset();
    fuzz_start();
    if (!__sanitizer_install_malloc_and_free_hooks(note_malloc, note_free))
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!first_descriptor) {
        first_descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
        close(first_descriptor);
    }
    /* Without room after it, so that a byte too many is seen; and never NULL. */
    char *bytes = xmalloc(size ? size : 1);
    memcpy(bytes, data, size);
    within = true;
    if (!setjmp(end_of_input)) {
        fuzz_one(bytes, size);
        if (n_held) {
            describe_held();
            finding("allocations left behind", (long)n_held);
        }
    }
    take_back();
    while (n_paths)
        free(paths[--n_paths]);
    free(bytes);
    return 0;
}
