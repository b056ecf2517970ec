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

struct file_number {
    dev_t device;
    ino_t inode;
};

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
    /* What may not be written: what lines before have written and, of a list that can be read
     * ahead, what lines read. */
    struct file_number *taken;
    size_t n_taken;
};

/* False where there is no such file, or none that keeps what is written. */
static bool file_number(const char *path, struct file_number *number)
{
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode))
        return false;
    *number = (struct file_number){st.st_dev, st.st_ino};
    return true;
}

static void take_file(struct work_list *w, const char *path)
{
    struct file_number number;
    if (!file_number(path, &number))
        return;
    if ((w->n_taken & (w->n_taken + 1)) == 0) /* 2^k - 1: full */
        w->taken = xreallocarray(w->taken, 2 * w->n_taken + 1, sizeof *w->taken);
    w->taken[w->n_taken++] = number;
}

static void check_output(const struct work_list *w)
{
    struct file_number number;
    if (!file_number(w->present.output, &number))
        return;
    for (size_t i = 0; i < w->n_taken; i++)
        if (w->taken[i].device == number.device && w->taken[i].inode == number.inode)
            die(EX_CANTCREAT,
                "%s: line %lu: %s is read or written by another line, too; an output needs a file "
                "of its own",
                w->name, w->number, w->present.output);
}

/* What its lines read; a list that comes by a pipe is worked on as it comes. */
static void read_ahead(struct work_list *w)
{
    struct stat st;
    if (fstat(fileno(w->file), &st) || !S_ISREG(st.st_mode))
        return;
    off_t start = ftello(w->file);
    while (getline(&w->line, &w->room, w->file) >= 0) {
        w->line[strcspn(w->line, "\t")] = '\0';
        take_file(w, w->line);
    }
    clearerr(w->file);
    if (fseeko(w->file, start, SEEK_SET))
        die_errno("%s", w->name);
}

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
    check_output(w);
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

void work_done(struct work_list *w)
{
    if (!w->file)
        return;
    take_file(w, w->present.output);
    printf("%s\n", w->present.output);
    if (fflush(stdout))
        die(EX_IOERR, "standard output: not written: %s", strerror(errno));
}

void work_close(struct work_list *w)
{
    if (w->file && w->file != stdin)
        fclose(w->file);
    free(w->line);
    free(w->taken);
    free(w);
}
