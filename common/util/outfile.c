#include "common/util/outfile.h"

#include "common/util/diag.h"
#include "common/util/input.h"
#include "common/util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A pipe's usual room: text comes to the stream line by line. */
enum { BUFFER = 1 << 16 };

struct outfile {
    FILE *stream;
    char *path, *temporary; /* temporary is NULL when written in place */
    void (*drain)(void *);  /* NULL: nothing to be done before a flush */
    void *drain_data;
    struct wait_hook hook;
    char *buffer; /* the stream's */
};

/* The names that a sudden end must remove; read by the signal handler, hence fixed in place. */
enum { MAX_PENDING = 16 };
static char *volatile pending[MAX_PENDING];

static void remove_pending(void)
{
    for (int i = 0; i < MAX_PENDING; i++)
        if (pending[i])
            unlink(pending[i]);
}

static void on_signal(int number)
{
    remove_pending();
    signal(number, SIG_DFL);
    raise(number);
}

static void watch(char *name)
{
    static bool installed;
    if (!installed) {
        installed = true;
        atexit(remove_pending);
        int signals[] = {SIGINT, SIGTERM, SIGHUP};
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
            struct sigaction old;
            sigaction(signals[i], NULL, &old);
            if (old.sa_handler != SIG_IGN)
                signal(signals[i], on_signal);
        }
    }
    for (int i = 0; i < MAX_PENDING; i++)
        if (!pending[i]) {
            pending[i] = name;
            return;
        }
    die(EX_SOFTWARE, "more than %d output files at once", MAX_PENDING);
}

static void unwatch(const char *name)
{
    for (int i = 0; i < MAX_PENDING; i++)
        if (pending[i] == name)
            pending[i] = NULL;
}

static _Noreturn void cannot_create(const char *path)
{
    die(EX_CANTCREAT, "%s: cannot be created: %s", path, strerror(errno));
}

/* For a file that is written in place: somebody may be waiting for it. */
static void flush_when_waiting(void *file)
{
    outfile_flush(file);
}

static void open_in_place(struct outfile *f, FILE *stream)
{
    f->stream = stream;
    f->hook = (struct wait_hook){.call = flush_when_waiting, .data = f};
    input_on_wait(&f->hook);
}

static void open_beside(struct outfile *f)
{
    const char *path = f->path;
    f->temporary = xasprintf("%s.part.XXXXXX", path);
    int fd = mkstemp(f->temporary);
    if (fd < 0)
        cannot_create(path);
    watch(f->temporary);
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd, 0666 & ~mask))
        cannot_create(path);
    f->stream = fdopen(fd, "wb");
}

struct outfile *outfile_open(const char *path)
{
    struct outfile *f = xcalloc(1, sizeof *f);
    bool standard = !path || !strcmp(path, "-");
    f->path = xstrdup(standard ? "standard output" : path);
    struct stat st;
    if (standard)
        open_in_place(f, stdout);
    else if (!stat(path, &st) && !S_ISREG(st.st_mode))
        open_in_place(f, fopen(path, "wb"));
    else
        open_beside(f);
    if (!f->stream)
        cannot_create(path);
    f->buffer = xmalloc(BUFFER);
    setvbuf(f->stream, f->buffer, _IOFBF, BUFFER);
    return f;
}

FILE *outfile_stream(struct outfile *f)
{
    return f->stream;
}

void outfile_before_flush(struct outfile *f, void (*drain)(void *data), void *data)
{
    f->drain = drain;
    f->drain_data = data;
}

void outfile_flush(struct outfile *f)
{
    if (f->drain)
        f->drain(f->drain_data);
    if (fflush(f->stream))
        die(EX_IOERR, "%s: not written: %s", f->path, strerror(errno));
}

const char *outfile_name(const struct outfile *f)
{
    return f->path;
}

void outfile_finish(struct outfile *f)
{
    input_off_wait(&f->hook);
    bool bad = fflush(f->stream) || ferror(f->stream);
    if (!bad && f->temporary)
        bad = fsync(fileno(f->stream)) != 0;
    /* Standard output is closed too: some file systems report a full disk only then. */
    if (fclose(f->stream) || bad)
        die(EX_IOERR, "%s: not written: %s", f->path, strerror(errno));
    if (f->temporary) {
        if (rename(f->temporary, f->path))
            die(EX_IOERR, "%s: not put in place: %s", f->path, strerror(errno));
        unwatch(f->temporary);
    }
    free(f->buffer);
    free(f->temporary);
    free(f->path);
    free(f);
}

void outfile_remove_stale(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? xasprintf("%.*s", (int)(slash - path + 1), path) : xstrdup(".");
    char *prefix = xasprintf("%s.part.", name);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (!strncmp(e->d_name, prefix, strlen(prefix)) &&
            strlen(e->d_name) == strlen(prefix) + strlen("XXXXXX"))
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    free(folder);
    free(prefix);
}
