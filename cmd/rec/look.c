/* How many records there are, and whether they are as they should be. */
#include "cmd/rec/commands.h"
#include "common/stream/check.h"
#include "common/stream/record.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/outfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct tally {
    int label; /* NO_LABEL for nil */
    uint64_t count;
};

static int by_label(const void *a, const void *b)
{
    const struct tally *x = a, *y = b;
    return (x->label > y->label) - (x->label < y->label);
}

static void tally_label(struct tally **tallies, size_t *n, int label)
{
    size_t i = 0;
    while (i < *n && (*tallies)[i].label != label)
        i++;
    if (i == *n) {
        *tallies = xreallocarray(*tallies, ++*n, sizeof **tallies);
        (*tallies)[i] = (struct tally){label, 0};
    }
    (*tallies)[i].count++;
}

void run_count(const struct settings *s)
{
    plain_text_only(s, "a count");
    struct stream_reader *r = open_input(s);
    struct outfile *f = outfile_open(s->common.output);
    struct tally *tallies = NULL;
    size_t n_labels = 0;
    uint64_t n = 0;
    msgpack_object record;
    for (; stream_next(r, &record); n++)
        if (map_get(&record, "label"))
            tally_label(&tallies, &n_labels, label_of(r, NULL, &record));
    FILE *out = outfile_stream(f);
    fprintf(out, "%" PRIu64 "\n", n);
    if (n_labels)
        qsort(tallies, n_labels, sizeof *tallies, by_label);
    const json_t *classes = json_object_get(stream_header(r), "classes");
    for (size_t i = 0; i < n_labels && verbosity != QUIET; i++) {
        const struct tally *t = &tallies[i];
        const char *name = t->label == NO_LABEL
                               ? NULL
                               : json_string_value(json_array_get(classes, (size_t)t->label));
        if (t->label == NO_LABEL)
            fprintf(out, "nil");
        else
            fprintf(out, "%d", t->label);
        fprintf(out, "\t%s\t%" PRIu64 "\n", name ? name : "-", t->count);
    }
    outfile_finish(f);
    free(tallies);
    stream_close(r);
}

static void check_file(const char *path)
{
    struct stream_reader *r = stream_open(path, NULL);
    struct checker *c = checker_new(stream_name(r), stream_header(r));
    msgpack_object record;
    unsigned long n = 0;
    for (; stream_next(r, &record); n++)
        if (!checker_record(c, &record, stream_record_number(r)))
            stream_bad_record(r, checker_id(c), "%s", checker_problem(c));
    inform("%s: %lu '%s' records, all as they should be", stream_name(r), n, stream_schema(r));
    if (!n)
        die(EX_DATAERR, "%s: holds no records", stream_name(r));
    checker_free(c);
    stream_close(r);
}

/* In a process of its own, for what is wrong with one file ends the program. Returns its status. */
static int check_apart(const char *path)
{
    pid_t child = fork();
    if (child < 0)
        die(EX_OSERR, "%s: no process to check it in: %s", path, strerror(errno));
    if (!child) {
        check_file(path);
        exit(EX_OK);
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            die(EX_OSERR, "%s: not checked: %s", path, strerror(errno));
    if (!WIFEXITED(status))
        die(EX_SOFTWARE, "%s: not checked to its end: %s", path, strsignal(WTERMSIG(status)));
    return WEXITSTATUS(status);
}

void run_check(const struct settings *s)
{
    if (s->n_files < 2) {
        check_file(s->n_files ? s->files[0] : NULL);
        return;
    }
    int first = EX_OK;
    for (int i = 0; i < s->n_files; i++) {
        int status = check_apart(s->files[i]);
        if (!first)
            first = status;
    }
    if (first)
        exit(first);
}
