#include "common/eval/training_log.h"

#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP, LOSS, RATE, VALIDATION, N_COLUMNS };
static const char *const column_names[N_COLUMNS] = {"step", "loss", "lr", "val_loss"};

/* Cuts a line into its fields; returns how many. */
static size_t cut(char *line, char **fields, size_t max)
{
    size_t n = 0;
    char *rest = line;
    line[strcspn(line, "\r\n")] = '\0';
    while (rest && n < max)
        fields[n++] = strsep(&rest, "\t");
    return n;
}

static bool number(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == '\0';
}

/* Columns by the names in a first line. */
static void take_names(const char *path, char **fields, size_t n, size_t *columns)
{
    for (int c = 0; c < N_COLUMNS; c++) {
        columns[c] = n;
        for (size_t i = 0; i < n; i++)
            if (!strcmp(fields[i], column_names[c]))
                columns[c] = i;
        if (columns[c] == n && c != RATE && c != VALIDATION)
            die(EX_DATAERR, "%s: line 1: no column is named '%s'", path, column_names[c]);
    }
}

static void add_row(struct training_log *log, const char *path, unsigned long line, char **fields,
                    size_t n, const size_t *columns)
{
    double values[N_COLUMNS];
    for (int c = 0; c < N_COLUMNS; c++)
        if (columns[c] >= n || !number(fields[columns[c]], &values[c]))
            values[c] = NAN;
    if (columns[STEP] >= n || columns[LOSS] >= n || !isfinite(values[STEP]))
        die(EX_DATAERR, "%s: line %lu: not a step and its loss, separated by a tab", path, line);
    size_t rows = log->n + 1;
    log->step = xreallocarray(log->step, rows, sizeof *log->step);
    log->loss = xreallocarray(log->loss, rows, sizeof *log->loss);
    log->rate = xreallocarray(log->rate, rows, sizeof *log->rate);
    log->step[log->n] = values[STEP];
    log->loss[log->n] = values[LOSS];
    log->rate[log->n] = values[RATE];
    log->validation = xreallocarray(log->validation, rows, sizeof *log->validation);
    log->validation[log->n] = values[VALIDATION];
    log->n = rows;
}

struct training_log training_log_read(char *name, const char *path)
{
    const char *slash = strrchr(path, '/');
    struct training_log log = {.name = name ? name : xstrdup(slash ? slash + 1 : path)};
    FILE *f = file_open(path);
    char *line = NULL, *fields[32];
    size_t capacity = 0, columns[N_COLUMNS] = {STEP, LOSS, RATE, VALIDATION};
    bool first = true;
    double value;
    for (unsigned long number_of = 1; getline(&line, &capacity, f) >= 0; number_of++) {
        if (*line == '#' || line[strspn(line, " \t\r\n")] == '\0')
            continue;
        size_t n = cut(line, fields, sizeof fields / sizeof *fields);
        if (first && !number(fields[0], &value))
            take_names(path, fields, n, columns);
        else
            add_row(&log, path, number_of, fields, n, columns);
        first = false;
    }
    if (!feof(f)) /* there may be no memory for a line, too */
        die_errno("%s", path);
    file_close(f, path);
    if (log.n == 0)
        die(EX_DATAERR, "%s: no step in the training log", path);
    free(line);
    return log;
}

void training_log_free(struct training_log *log)
{
    free(log->name);
    free(log->step);
    free(log->loss);
    free(log->rate);
    free(log->validation);
    *log = (struct training_log){0};
}
