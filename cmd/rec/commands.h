/* The commands of rec, and what they share. */
#ifndef DUQ_CMD_REC_COMMANDS_H
#define DUQ_CMD_REC_COMMANDS_H

#include "common/stream/import.h"
#include "common/stream/npy_predictions.h"
#include "common/stream/stream.h"
#include "common/util/options.h"

#include <stdint.h>

struct settings {
    struct common_options common;
    struct import_options import;
    char delimiter;
    bool names; /* the first row of a table has the columns' names */
    bool header, shuffle, inner, table, full;
    long number, skip, index; /* number, index: -1 when not given */
    uint64_t seed;
    struct npy_options npy; /* its path is the operand */
    const char *like;       /* whose ids and labels; NULL: numbers */
    char **files;
    int n_files;
    int argc; /* of the whole command line, for the stream's header */
    char **argv;
};

/* from_rows.c */
void run_from_csv(const struct settings *s);
void run_from_tsv(const struct settings *s);
void run_from_jsonl(const struct settings *s);
void run_from_lines(const struct settings *s);

/* from_json.c */
void run_from_json(const struct settings *s);

/* from_npy.c */
void run_from_npy(const struct settings *s);

/* show.c */
void run_show(const struct settings *s);

/* to_text.c */
void run_to_json(const struct settings *s);
void run_to_csv(const struct settings *s);

/* streams.c */
void run_cat(const struct settings *s);
void run_head(const struct settings *s);
void run_sample(const struct settings *s);
void run_split(const struct settings *s);
void run_join(const struct settings *s);

/* look.c */
void run_count(const struct settings *s);
void run_check(const struct settings *s);

static inline struct stream_reader *open_input(const struct settings *s)
{
    return stream_open_all(s->files, s->n_files, NULL);
}

static inline struct stream_writer *create_output(const struct settings *s, json_t *header)
{
    return stream_create(s->common.output, s->common.compress, header);
}

/* A stream of the same records as the input's. */
static inline struct stream_writer *create_like(const struct settings *s,
                                                const struct stream_reader *r)
{
    return create_output(s,
                         stream_header_from(stream_header(r), stream_schema(r), s->argc, s->argv));
}

static inline void plain_text_only(const struct settings *s, const char *what)
{
    if (s->common.compress)
        usage_error("%s is not compressed here: pipe it through zstd", what);
}

#endif
