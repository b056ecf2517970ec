#include "cmd/lm-score/work.h"

#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/mem.h"
#include "common/util/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct work_list {
    FILE *file; /* NULL: there is no list */
    const char *name;
    unsigned long number; /* of the line */
    char *line;
    size_t room;
    char *files[1];
    struct work present;
    bool compress; /* whatever the names say */
    bool given;    /* the only one, where there is no list */
};

/* ---- a list that can be read ahead ---- */

struct line {
    char *output;
    struct stat read; /* of what it reads; st_nlink 0: there is none */
};

static bool is_file(const struct stat *st)
{
    return st->st_nlink && S_ISREG(st->st_mode);
}

static void look_at(const char *path, struct stat *st)
{
    if (stat(path, st))
        st->st_nlink = 0;
}

/* What a line would write is no other line's to write, and no line's to read. */
static void check_output(const struct work_list *w, const struct line *lines, size_t n, size_t at)
{
    struct stat written;
    look_at(lines[at].output, &written);
    bool special = written.st_nlink && !S_ISREG(written.st_mode);
    for (size_t i = 0; i < n; i++) {
        const struct stat *read = &lines[i].read;
        bool again = i < at && !special && !strcmp(lines[i].output, lines[at].output);
        bool same = is_file(&written) && is_file(read) && read->st_dev == written.st_dev &&
                    read->st_ino == written.st_ino;
        if (again || same)
            die(EX_CANTCREAT,
                "%s: line %zu: %s is what line %zu %s; an output needs a file of its own", w->name,
                at + 1, lines[at].output, i + 1, again ? "writes" : "reads");
    }
}

/* Holds the lines against each other before any is scored. One that is none is told of when its
 * turn comes; a list that comes by a pipe is worked on as it comes. */
static void read_ahead(struct work_list *w)
{
    struct stat st;
    struct line *lines = NULL;
    size_t n = 0;
    if (fstat(fileno(w->file), &st) || !S_ISREG(st.st_mode))
        return;
    off_t start = ftello(w->file);
    for (ssize_t length; (length = getline(&w->line, &w->room, w->file)) >= 0; n++) {
        if ((n & (n + 1)) == 0) /* 2^k - 1: full */
            lines = xreallocarray(lines, 2 * n + 1, sizeof *lines);
        w->line[strcspn(w->line, "\n")] = '\0';
        char *tab = strchr(w->line, '\t');
        lines[n].output = xstrdup(tab ? tab + 1 : "");
        w->line[strcspn(w->line, "\t")] = '\0';
        look_at(w->line, &lines[n].read);
    }
    for (size_t i = 0; i < n; i++)
        if (*lines[i].output)
            check_output(w, lines, n, i);
    for (size_t i = 0; i < n; i++)
        free(lines[i].output);
    free(lines);
    clearerr(w->file);
    if (fseeko(w->file, start, SEEK_SET))
        die_errno("%s", w->name);
}

/* ---- line by line ---- */

struct work_list *work_open(const char *list, const struct work *only)
{
    struct work_list *w = xcalloc(1, sizeof *w);
    w->present = *only;
    w->compress = only->compress;
    if (!list)
        return w;
    bool standard = !strcmp(list, "-");
    w->name = standard ? "standard input" : list;
    w->file = standard ? stdin : file_open(list);
    read_ahead(w);
    return w;
}

static _Noreturn void bad_line(const struct work_list *w)
{
    die(EX_DATAERR, "%s: line %lu: not a file of tokens, a tab and the file to write", w->name,
        w->number);
}

static const struct work *take_line(struct work_list *w, size_t length)
{
    if (length && w->line[length - 1] == '\n')
        w->line[--length] = '\0';
    char *tab = strchr(w->line, '\t');
    if (strlen(w->line) != length || !tab || tab == w->line || !tab[1] || strchr(tab + 1, '\t'))
        bad_line(w);
    *tab = '\0';
    w->files[0] = w->line;
    w->present.files = w->files;
    w->present.count = 1;
    w->present.output = tab + 1;
    w->present.compress = w->compress || names_compressed(tab + 1);
    return &w->present;
}

const struct work *work_next(struct work_list *w)
{
    if (!w->file) {
        bool first = !w->given;
        w->given = true;
        return first ? &w->present : NULL;
    }
    errno = 0;
    ssize_t length = getline(&w->line, &w->room, w->file);
    w->number++;
    if (length >= 0)
        return take_line(w, (size_t)length);
    if (!feof(w->file)) /* there may be no memory for a line, too */
        die(EX_IOERR, "%s: not read: %s", w->name, strerror(errno));
    return NULL;
}

void work_done(const struct work_list *w)
{
    if (!w->file)
        return;
    printf("%s\n", w->present.output);
    if (fflush(stdout))
        die(EX_IOERR, "standard output: not written: %s", strerror(errno));
}

void work_close(struct work_list *w)
{
    if (w->file && w->file != stdin)
        fclose(w->file);
    free(w->line);
    free(w);
}
