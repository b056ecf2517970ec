#include "common/eval/gnuplot.h"

#include "common/util/apart.h"
#include "common/util/diag.h"
#include "common/util/unfinished.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Runs gnuplot on a script; its messages go to messages. False when it failed. */
static bool run(const char *const *argv, FILE *script, FILE *messages)
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    int error = posix_spawn_file_actions_init(&actions);
    if (!error && script)
        error = posix_spawn_file_actions_adddup2(&actions, fileno(script), STDIN_FILENO);
    if (!error)
        error = posix_spawn_file_actions_adddup2(&actions, fileno(messages), STDOUT_FILENO);
    if (!error)
        error = posix_spawn_file_actions_adddup2(&actions, fileno(messages), STDERR_FILENO);
    if (!error)
        error = posix_spawnp(&child, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error == ENOENT)
        die(EX_UNAVAILABLE, "gnuplot is not installed, and figures need it; install the package "
                            "gnuplot-nox, or leave out --figures");
    if (error)
        die(EX_OSERR, "gnuplot cannot be run: %s", strerror(error));
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            die(EX_OSERR, "gnuplot: %s", strerror(errno));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static FILE *temporary(void)
{
    FILE *f = tmpfile();
    if (!f)
        die(EX_CANTCREAT, "a temporary file cannot be created: %s", strerror(errno));
    return f;
}

void gnuplot_prepare(const char *folder)
{
    static const char *const version[] = {"gnuplot", "--version", NULL};
    FILE *messages = temporary();
    if (!run(version, NULL, messages))
        die(EX_UNAVAILABLE, "gnuplot is installed but does not run; figures need it");
    fclose(messages);
    struct stat st;
    if (mkdir(folder, 0777) && (errno != EEXIST || stat(folder, &st) || !S_ISDIR(st.st_mode)))
        die(EX_CANTCREAT, "%s: the folder for figures cannot be created: %s", folder,
            strerror(errno));
}

void gnuplot_quote(struct buf *script, const char *text)
{
    buf_addc(script, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            buf_addc(script, '\'');
        buf_addc(script, (unsigned char)*text < ' ' ? ' ' : *text);
    }
    buf_addc(script, '\'');
}

static _Noreturn void failed(const char *name, FILE *messages)
{
    char text[512];
    rewind(messages);
    text[fread(text, 1, sizeof text - 1, messages)] = '\0';
    char *line = text + strspn(text, " \n");
    line[strcspn(line, "\n")] = '\0';
    die(EX_SOFTWARE, "gnuplot did not draw %s: %s", name, line);
}

/* gnuplot takes a name that begins with | or < for a command, and one that begins with ~ for a
 * user's folder. */
static void quote_path(struct buf *script, const char *path)
{
    char *plain = xasprintf("%s%s", *path == '/' ? "" : "./", path);
    gnuplot_quote(script, plain);
    free(plain);
}

static void add_drawing(struct buf *all, const char *terminal, const char *path, int title_size,
                        const struct buf *draw)
{
    buf_addf(all, "reset\n%s\ntitle_font = ',%d'\nset output ", terminal, title_size);
    quote_path(all, path);
    buf_addc(all, '\n');
    buf_add(all, draw->data, draw->len);
    buf_addf(all, "unset output\n");
}

static bool draw_parts(const struct figure *f, char *const *parts, FILE *messages)
{
    static const char *const gnuplot[] = {"gnuplot", "-d", "-", NULL};
    /* A point of text is a pixel to the one and 1/72 of an inch, of 96 pixels, to the other. */
    char *svg = xasprintf("set terminal svg noenhanced size %d,%d background 'white' "
                          "font 'DejaVu Sans,Helvetica,Arial,sans-serif,12'",
                          f->width, f->height);
    char *png = xasprintf("set terminal pngcairo noenhanced size %d,%d background 'white' "
                          "font 'DejaVu Sans,9' fontscale 2 linewidth 2 pointscale 2",
                          2 * f->width, 2 * f->height);
    struct buf all = {0};
    buf_addf(&all, "set encoding utf8\n");
    buf_add(&all, f->data.data, f->data.len);
    add_drawing(&all, svg, parts[0], 14, &f->draw);
    add_drawing(&all, png, parts[1], 10, &f->draw);
    FILE *script = temporary();
    if (fwrite(all.data, 1, all.len, script) != all.len || fflush(script))
        die(EX_IOERR, "a temporary file was not written: %s", strerror(errno));
    rewind(script);
    bool drawn = run(gnuplot, script, messages);
    fclose(script);
    buf_free(&all);
    free(svg);
    free(png);
    return drawn;
}

/* Whether the file ends as an SVG or a PNG does: gnuplot calls it success where a disk is full. */
static bool is_whole(const char *path)
{
    char last[16];
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    bool read =
        !fseek(f, -(long)sizeof last, SEEK_END) && fread(last, 1, sizeof last, f) == sizeof last;
    fclose(f);
    return read && (memmem(last, sizeof last, "</svg>", 6) || memmem(last, sizeof last, "IEND", 4));
}

void gnuplot_draw(const char *folder, const char *name, struct figure *f)
{
    char *paths[2], *parts[2];
    for (int i = 0; i < 2; i++) {
        bool slash = *folder && folder[strlen(folder) - 1] == '/';
        paths[i] = xasprintf("%s%s%s.%s", folder, slash ? "" : "/", name, i ? "png" : "svg");
        apart_check(paths[i]);
        parts[i] = xasprintf("%s.part.XXXXXX", paths[i]);
        int fd = unfinished_create(parts[i]); /* gnuplot opens it again */
        if (fd < 0 || close(fd))
            die(EX_CANTCREAT, "%s: cannot be created: %s", paths[i], strerror(errno));
    }
    FILE *messages = temporary();
    bool drawn = draw_parts(f, parts, messages);
    for (int i = 0; i < 2; i++) {
        if (!drawn)
            failed(paths[i], messages);
        if (!is_whole(parts[i]))
            die(EX_IOERR, "%s: gnuplot wrote it in part: is the disk full?", paths[i]);
        if (rename(parts[i], paths[i]))
            die(EX_IOERR, "%s: not put in place: %s", paths[i], strerror(errno));
        unfinished_done(parts[i]);
    }
    fclose(messages);
    for (int i = 0; i < 2; i++) {
        inform("%s drawn", paths[i]);
        free(paths[i]);
        free(parts[i]);
    }
    buf_free(&f->data);
    buf_free(&f->draw);
}
