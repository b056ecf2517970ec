/* Fails one call of the program that it is preloaded into (LD_PRELOAD).
 *
 *   FAULT_CALL=KIND FAULT_AT=N  the Nth call of that kind fails; FAULT_ON=1: all later ones, too
 *   FAULT_SHORT=1               reads and writes take a few bytes, reads are interrupted; none
 * fails FAULT_COUNT=FILE            at the end the file says how many calls of each kind there were
 *
 * Buffered streams are opened as streams of the shim's own (fopencookie(3)): their reads and writes
 * within the C library could not be seen otherwise. Standard error is left alone, and so are calls
 * before main() and those of programs that this one starts. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum kind {
    MEMORY,
    OPEN,
    READ,
    WRITE,
    CLOSE,
    MAP,
    RENAME,
    SYNC,
    LOOK,   /* stat, access, readlink, realpath, and reading folders */
    REMOVE, /* unlink, rmdir */
    OTHER,
    KINDS
};

static const struct {
    const char *name;
    int error;
} kinds[KINDS] = {
    [MEMORY] = {"memory", ENOMEM}, [OPEN] = {"open", EMFILE},   [READ] = {"read", EIO},
    [WRITE] = {"write", ENOSPC},   [CLOSE] = {"close", EIO},    [MAP] = {"mmap", ENOMEM},
    [RENAME] = {"rename", EIO},    [SYNC] = {"fsync", EIO},     [LOOK] = {"look", EIO},
    [REMOVE] = {"remove", EACCES}, [OTHER] = {"other", EAGAIN},
};

static atomic_long calls[KINDS];
static enum kind failing = KINDS;
static long failing_at;
static bool failing_on, shortened;
static atomic_bool active;
static _Thread_local bool inside; /* the shim's own calls are not the program's */

/* Counts the call; true, and errno is set, where it is to fail. */
static bool fails(enum kind k)
{
    if (!atomic_load(&active) || inside)
        return false;
    long n = atomic_fetch_add(&calls[k], 1) + 1;
    if (k != failing || (failing_on ? n < failing_at : n != failing_at))
        return false;
    errno = kinds[k].error;
    return true;
}

/* The function that this one stands before. */
static void *real(const char *name)
{
    inside = true;
    void *f = dlsym(RTLD_NEXT, name);
    inside = false;
    return f;
}

#define REAL(name) ((__typeof__(&name))real(#name))

/* ---- memory ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    return fails(MEMORY) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(MEMORY) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails(MEMORY) ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails(MEMORY) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **p, size_t alignment, size_t size)
{
    void *memory = fails(MEMORY) ? NULL : __libc_memalign(alignment, size);
    if (!memory)
        return ENOMEM;
    *p = memory;
    return 0;
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fails(MAP))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

/* ---- descriptors ---- */

static atomic_uint turn; /* of calls that are cut short */

/* How many of a call's bytes are dealt with. */
static size_t share(size_t size)
{
    size_t most = 1 + atomic_fetch_add(&turn, 1) * 37 % 1000;
    return !shortened || size < most ? size : most;
}

ssize_t read(int fd, void *bytes, size_t size)
{
    if (shortened && !inside && atomic_fetch_add(&turn, 1) % 5 == 1) {
        errno = EINTR;
        return -1;
    }
    return fails(READ) ? -1 : syscall(SYS_read, fd, bytes, share(size));
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    if (fd == STDERR_FILENO)
        return syscall(SYS_write, fd, bytes, size);
    return fails(WRITE) ? -1 : syscall(SYS_write, fd, bytes, share(size));
}

/* As on Linux: the descriptor is gone, whatever is said of it. */
int close(int fd)
{
    bool bad = fails(CLOSE);
    int error = errno, closed = (int)syscall(SYS_close, fd);
    if (bad)
        errno = error;
    return bad ? -1 : closed;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
    va_end(args);
    return fails(OPEN) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int mkstemp(char *pattern)
{
    return fails(OPEN) ? -1 : REAL(mkstemp)(pattern);
}

int fsync(int fd)
{
    return fails(SYNC) ? -1 : REAL(fsync)(fd);
}

int ftruncate(int fd, off_t length)
{
    return fails(OTHER) ? -1 : REAL(ftruncate)(fd, length);
}

int fchmod(int fd, mode_t mode)
{
    return fails(OTHER) ? -1 : REAL(fchmod)(fd, mode);
}

int dup(int fd)
{
    return fails(OPEN) ? -1 : REAL(dup)(fd);
}

int poll(struct pollfd *fds, nfds_t n, int milliseconds)
{
    return fails(OTHER) ? -1 : REAL(poll)(fds, n, milliseconds);
}

/* ---- buffered streams ---- */

/* The descriptors of streams that are the shim's. */
struct stream {
    int fd;
    FILE *file;
    struct stream *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stream *streams;

static ssize_t stream_read(void *cookie, char *bytes, size_t size)
{
    int fd = ((struct stream *)cookie)->fd;
    return fails(READ) ? -1 : syscall(SYS_read, fd, bytes, share(size));
}

/* Of streams such as these the C library takes a short write for an error; of its own it does not.
 */
static ssize_t stream_write(void *cookie, const char *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = write(((struct stream *)cookie)->fd, bytes + done, size - done);
        if (n < 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int stream_seek(void *cookie, off64_t *offset, int whence)
{
    if (fails(OTHER))
        return -1;
    off_t at = lseek(((struct stream *)cookie)->fd, *offset, whence);
    *offset = at;
    return at < 0 ? -1 : 0;
}

static int stream_close(void *cookie)
{
    struct stream *s = cookie;
    pthread_mutex_lock(&lock);
    struct stream **at = &streams;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    pthread_mutex_unlock(&lock);
    int result = close(s->fd);
    free(s);
    return result;
}

static FILE *stream_of(int fd, const char *mode)
{
    inside = true;
    struct stream *s = __libc_malloc(sizeof *s);
    s->fd = fd;
    cookie_io_functions_t calls_of_it = {stream_read, stream_write, stream_seek, stream_close};
    s->file = fopencookie(s, mode, calls_of_it);
    inside = false;
    pthread_mutex_lock(&lock);
    s->next = streams;
    streams = s;
    pthread_mutex_unlock(&lock);
    return s->file;
}

int fileno(FILE *f)
{
    int fd = -1;
    pthread_mutex_lock(&lock);
    for (struct stream *s = streams; s; s = s->next)
        if (s->file == f)
            fd = s->fd;
    pthread_mutex_unlock(&lock);
    return fd >= 0 ? fd : f == stderr ? STDERR_FILENO : f == stdin ? STDIN_FILENO : -1;
}

FILE *fopen(const char *path, const char *mode)
{
    int flags = *mode == 'r' ? 0 : *mode == 'w' ? O_CREAT | O_TRUNC : O_CREAT | O_APPEND;
    flags |= strchr(mode, '+') ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
    int fd = fails(OPEN) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0666);
    return fd < 0 ? NULL : stream_of(fd, mode);
}

FILE *fdopen(int fd, const char *mode)
{
    return fails(MEMORY) ? NULL : stream_of(fd, mode);
}

FILE *tmpfile(void)
{
    if (fails(OPEN))
        return NULL;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR, 0600);
    return fd < 0 ? NULL : stream_of(fd, "w+");
}

/* ---- names ---- */

int rename(const char *from, const char *to)
{
    return fails(RENAME) ? -1 : REAL(rename)(from, to);
}

int unlink(const char *path)
{
    return fails(REMOVE) ? -1 : REAL(unlink)(path);
}

int rmdir(const char *path)
{
    return fails(REMOVE) ? -1 : REAL(rmdir)(path);
}

int mkdir(const char *path, mode_t mode)
{
    return fails(OPEN) ? -1 : REAL(mkdir)(path, mode);
}

int stat(const char *restrict path, struct stat *restrict st)
{
    return fails(LOOK) ? -1 : REAL(stat)(path, st);
}

int lstat(const char *restrict path, struct stat *restrict st)
{
    return fails(LOOK) ? -1 : REAL(lstat)(path, st);
}

int fstat(int fd, struct stat *st)
{
    return fails(LOOK) ? -1 : REAL(fstat)(fd, st);
}

int access(const char *path, int mode)
{
    return fails(LOOK) ? -1 : REAL(access)(path, mode);
}

ssize_t readlink(const char *restrict path, char *restrict target, size_t size)
{
    return fails(LOOK) ? -1 : REAL(readlink)(path, target, size);
}

char *realpath(const char *restrict path, char *restrict found)
{
    return fails(LOOK) ? NULL : REAL(realpath)(path, found);
}

DIR *opendir(const char *path)
{
    return fails(LOOK) ? NULL : REAL(opendir)(path);
}

struct dirent *readdir(DIR *d)
{
    return fails(LOOK) ? NULL : REAL(readdir)(d);
}

/* ---- threads and programs ---- */

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                   void *(*body)(void *), void *restrict data)
{
    return fails(OTHER) ? EAGAIN : REAL(pthread_create)(thread, attributes, body, data);
}

int posix_spawnp(pid_t *restrict child, const char *restrict file,
                 const posix_spawn_file_actions_t *restrict actions,
                 const posix_spawnattr_t *restrict attributes, char *const argv[restrict],
                 char *const environment[restrict])
{
    if (fails(OTHER))
        return EAGAIN;
    return REAL(posix_spawnp)(child, file, actions, attributes, argv, environment);
}

pid_t waitpid(pid_t child, int *status, int options)
{
    if (fails(OTHER)) {
        errno = EINTR;
        return -1;
    }
    return REAL(waitpid)(child, status, options);
}

/* ---- beginning and end ---- */

static void say_counts(void)
{
    const char *path = getenv("FAULT_COUNT");
    atomic_store(&active, false);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_TRUNC | O_WRONLY, 0666);
    for (int k = 0; k < KINDS; k++)
        dprintf(fd, "%s %ld\n", kinds[k].name, atomic_load(&calls[k]));
    syscall(SYS_close, fd);
}

static int (*program_main)(int argc, char **argv, char **environment);

static bool given(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value;
}

/* A program that never ends is ended: soon where it works, late where it waits, for machines may be
 * slow. */
static void limit_time(void)
{
    enum { WORK = 30, WAIT = 300 };
    struct rlimit most = {WORK, WORK + 1};
    setrlimit(RLIMIT_CPU, &most);
    alarm(WAIT);
}

static int begin(int argc, char **argv, char **environment)
{
    const char *kind = getenv("FAULT_CALL"), *at = getenv("FAULT_AT");
    unsetenv("LD_PRELOAD");
    for (int k = 0; kind && k < KINDS; k++)
        if (!strcmp(kinds[k].name, kind))
            failing = k;
    failing_at = at ? atol(at) : 0;
    failing_on = given("FAULT_ON");
    shortened = given("FAULT_SHORT");
    if (fcntl(STDOUT_FILENO, F_GETFD) >= 0)
        stdout = stream_of(STDOUT_FILENO, "w");
    if (getenv("FAULT_COUNT"))
        atexit(say_counts);
    limit_time();
    atomic_store(&active, true);
    return program_main(argc, argv, environment);
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
    int (*start)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                 void (*)(void), void *) = real("__libc_start_main");
    program_main = main;
    return start(begin, argc, argv, init, fini, rtld_fini, stack_end);
}
