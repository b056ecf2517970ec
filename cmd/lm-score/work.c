#include "cmd/lm-score/work.h"

#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/mem.h"
#include "common/util/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
