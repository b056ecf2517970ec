#include "common/util/outfile.h"

#include "common/util/apart.h"
#include "common/util/diag.h"
#include "common/util/input.h"
#include "common/util/mem.h"
#include "common/util/outpath.h"
#include "common/util/printable.h"
#include "common/util/unfinished.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A pipe's usual room: text comes to the stream line by line. */
enum { BUFFER = 1 << 16 };

struct outfile {
    FILE *stream;
    char *path;              /* as the user has it */
    char *place, *temporary; /* where it is to be, what it is until then; NULL: written in place */
    struct apart *use;
    void (*drain)(void *); /* NULL: nothing to be done before a flush */
    void *drain_data;
    struct wait_hook hook;
    char *buffer; /* the stream's */
};

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

static _Noreturn void cannot_create(const struct outfile *f)
{
    die(EX_CANTCREAT, "%s: cannot be created: %s", f->path, strerror(errno));
}

/* A regular file, or one that is not there yet. */
static bool is_replaceable(const struct outfile *f)
{
    struct stat st;
    if (!stat(f->place, &st))
        return S_ISREG(st.st_mode);
    if (errno != ENOENT)
        cannot_create(f);
    return true;
}

static void open_beside(struct outfile *f)
{
    f->use = apart_write(f->place, f->path);
    f->temporary = xasprintf("%s.part.XXXXXX", f->place);
    int fd = unfinished_create(f->temporary);
    if (fd >= 0)
        f->stream = fdopen(fd, "wb");
}

/* One of the program's own descriptors: position and mode are shared with it. */
static void open_descriptor(struct outfile *f, int number)
{
    int own = number == STDOUT_FILENO ? number : dup(number);
    FILE *stream = number == STDOUT_FILENO ? stdout : own < 0 ? NULL : fdopen(own, "wb");
    if (stream)
        f->use = apart_write_open(own, f->path);
    open_in_place(f, stream);
}

struct outfile *outfile_open(const char *path)
{
    struct outfile *f = xcalloc(1, sizeof *f);
    bool standard = !path || !strcmp(path, "-");
    f->path = xstrdup(standard ? "standard output" : path);
    int number = STDOUT_FILENO;
    f->place = standard ? NULL : outpath_follow(path, &number);
    if (!f->place)
        open_descriptor(f, number);
    else if (is_replaceable(f))
        open_beside(f);
    else
        open_in_place(f, fopen(f->place, "wb"));
    if (!f->stream)
        cannot_create(f);
    f->buffer = xmalloc(BUFFER);
    setvbuf(f->stream, f->buffer, _IOFBF, BUFFER);
    return f;
}

FILE *outfile_stream(struct outfile *f)
{
    return f->stream;
}

void outfile_write(struct outfile *f, const void *bytes, size_t len)
{
    if (fwrite(bytes, 1, len, f->stream) != len)
        die(EX_IOERR, "%s: not written: %s", f->path, strerror(errno));
}

void outfile_write_text(struct outfile *f, const char *text, size_t len)
{
    char shown[PRINTABLE_SIZE];
    if (!isatty(fileno(f->stream))) {
        outfile_write(f, text, len);
        return;
    }
    for (size_t i = 0; i < len;) {
        size_t n = printable(text + i, len - i, shown);
        bool layout = text[i] == '\n' || text[i] == '\t';
        outfile_write(f, layout ? text + i : shown, layout ? 1 : strlen(shown));
        i += n;
    }
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
    errno = EIO; /* what failed before, not by outfile_write(), has left no other word */
    bool bad = fflush(f->stream) || ferror(f->stream);
    if (!bad && f->temporary)
        bad = fsync(fileno(f->stream)) != 0;
    /* Standard output is closed too: some file systems report a full disk only then. */
    if (fclose(f->stream) || bad)
        die(EX_IOERR, "%s: not written: %s", f->path, strerror(errno));
    if (f->temporary) {
        if (rename(f->temporary, f->place))
            die(EX_IOERR, "%s: not put in place: %s", f->path, strerror(errno));
        unfinished_done(f->temporary);
    }
    apart_forget(f->use);
    free(f->buffer);
    free(f->temporary);
    free(f->place);
    free(f->path);
    free(f);
}

void outfile_remove_stale(const char *user_path)
{
    int number;
    char *path = outpath_follow(user_path, &number);
    if (!path)
        return;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = outpath_folder(path);
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
    free(path);
}
