#include "common/util/options_help.h"

#include "common/util/mem.h"

#include <string.h>

enum {
    LETTER_COLUMN = 2,
    COMMAND_COLUMN = 2,
    SUMMARY_COLUMN = 13,
};

const struct option_row *option_row_find(const struct option_row *rows, const char *name)
{
    for (const struct option_row *r = rows; r && !option_row_ends(r); r++)
        if (r->name && !strcmp(r->name, name))
            return r;
    return NULL;
}

/* Mere words have their option's letter. */
static char letter_of(const struct option_row *rows, const struct option_row *r)
{
    if (r->kind != OPTION_KIND_WORDS)
        return r->letter;
    for (; !option_row_ends(rows); rows++)
        if (rows->kind != OPTION_KIND_WORDS && rows->name && !strcmp(rows->name, r->name))
            return rows->letter;
    const struct option_row *common = option_row_find(common_rows, r->name);
    return common ? common->letter : 0;
}

/* "-x, --name ARGUMENT"; brief: "-x ARGUMENT" or "--name ARGUMENT". */
static void add_option(struct buf *out, const struct option_row *r, char letter, bool brief)
{
    if (letter)
        buf_addf(out, "-%c", letter);
    if (r->name && !(letter && brief))
        buf_addf(out, "%s--%s", letter ? ", " : "", r->name);
    if (r->argument)
        buf_addf(out, "%s%s", *r->argument == '[' && r->argument[1] == '=' ? "" : " ", r->argument);
}

/* Blanks up to a column of the line that began at `line`, two at least. */
static void pad(struct buf *out, size_t line, int column, int least)
{
    int n = column - (int)(out->len - line);
    buf_addf(out, "%*s", n > 0 ? n : least, "");
}

/* Its lines after the first begin in this column. */
static void add_lines(struct buf *out, const char *text, int column)
{
    for (; *text; text++) {
        buf_addc(out, *text);
        if (*text == '\n')
            buf_addf(out, "%*s", column, "");
    }
}

/* ---- rows, line by line ---- */

struct lines {
    struct buf *out;
    const struct program *program;
    const struct option_row *rows; /* the program's or command's own */
    int help_column;
    bool open; /* rows without help are in the last line, and wait for one that has some */
    size_t line;
};

static void add_row(struct lines *l, const struct option_row *r)
{
    if (r->kind == OPTION_KIND_UNSAID || (r->help && !*r->help))
        return;
    bool brief = l->program->brief;
    char letter = brief && r->kind == OPTION_KIND_HELP ? 0 : letter_of(l->rows, r);
    if (l->open) {
        buf_addf(l->out, "%s", brief ? ", " : " / ");
    } else {
        l->line = l->out->len;
        buf_addf(l->out, "%*s", letter ? LETTER_COLUMN : l->program->name_column, "");
    }
    add_option(l->out, r, letter, brief);
    l->open = !r->help;
    if (l->open)
        return;
    pad(l->out, l->line, l->help_column, 2);
    add_lines(l->out, r->help, l->help_column);
    buf_addc(l->out, '\n');
}

static void add_rows(struct lines *l, const struct option_row *rows)
{
    for (; !option_row_ends(rows); rows++)
        add_row(l, rows);
}

/* Those that the own rows have no other words for. */
static void add_common_rows(struct lines *l)
{
    for (const struct option_row *r = common_rows; !option_row_ends(r); r++)
        if (!option_row_find(l->rows, r->name))
            add_row(l, r);
    if (l->open)
        buf_addc(l->out, '\n');
}

/* ---- commands ---- */

/* Rows in the summary's line. */
static void add_inline(struct buf *out, const struct option_row *rows)
{
    bool open = false;
    for (const struct option_row *r = rows; !option_row_ends(r); r++) {
        if (out->data[out->len - 1] != ' ') /* nor at the beginning of a line */
            buf_addf(out, "%s", open ? " " : "  ");
        add_option(out, r, letter_of(rows, r), true);
        open = !r->help;
        if (!open) {
            buf_addf(out, "  ");
            add_lines(out, r->help, SUMMARY_COLUMN);
        }
    }
    buf_addc(out, '\n');
}

/* With those that share its summary; returns the next one. */
static const struct command *add_command(struct buf *out, const struct program *p,
                                         const struct command *c)
{
    size_t line = out->len;
    buf_addf(out, "%*s%s", COMMAND_COLUMN, "", c->name);
    const struct command *next = c + 1;
    for (; next->name && !next->summary; next++)
        buf_addf(out, ", %s", next->name);
    pad(out, line, SUMMARY_COLUMN, 3);
    add_lines(out, c->summary, SUMMARY_COLUMN);
    if (c->help_column) {
        buf_addc(out, '\n');
        struct lines l = {.out = out, .program = p, .rows = c->rows, .help_column = c->help_column};
        add_rows(&l, c->rows);
    } else {
        add_inline(out, c->rows);
    }
    return next;
}

void options_help(const struct program *p, FILE *to)
{
    static const struct option_row none[] = {OPTIONS_END};
    struct buf out = {0};
    buf_addf(&out, "%s", p->about);
    if (p->commands) {
        for (const struct command *c = p->commands; c->name;)
            c = add_command(&out, p, c);
        buf_addc(&out, '\n');
    }
    struct lines l = {
        .out = &out, .program = p, .rows = p->rows ? p->rows : none, .help_column = p->help_column};
    add_rows(&l, l.rows);
    add_common_rows(&l);
    fputs(buf_str(&out), to);
    buf_free(&out);
}

/* ---- the list ---- */

static void list_row(const char *command, const struct option_row *r, FILE *to)
{
    if (r->kind == OPTION_KIND_WORDS || r->kind == OPTION_KIND_UNSAID)
        return;
    fprintf(to, "%s\t%c\t%s\t%s\t", command, r->letter ? r->letter : '-', r->name ? r->name : "-",
            r->argument ? r->argument : "-");
    const struct option_choice *c = r->choices;
    fputs(c ? c->name : "-", to);
    while (c && (++c)->name)
        fprintf(to, ",%s", c->name);
    putc('\n', to);
}

static void list_rows(const char *command, const struct option_row *rows, FILE *to)
{
    for (; !option_row_ends(rows); rows++)
        list_row(command, rows, to);
}

void options_list(const struct program *p, FILE *to)
{
    for (const struct command *c = p->commands; c && c->name; c++) {
        fprintf(to, "%s\t-\t-\t-\t-\n", c->name);
        list_rows(c->name, c->rows, to);
    }
    if (p->rows)
        list_rows("-", p->rows, to);
    for (const struct option_row *r = common_rows; !option_row_ends(r); r++) {
        const struct option_row *other = option_row_find(p->rows, r->name);
        if (!other || other->kind != OPTION_KIND_UNSAID)
            list_row("-", r, to);
    }
}
