/* Streams of any schema: the first byte says what reads them. */
#include "common/stream/check.h"
#include "common/stream/join.h"
#include "common/stream/print.h"
#include "common/stream/record.h"
#include "common/stream/schema.h"
#include "common/stream/show.h"
#include "common/stream/store.h"
#include "common/util/diag.h"
#include "tests/fuzz/harness.h"

#include <stdlib.h>
#include <string.h>

/* Schemas are compiled once and stay. */
static const char *const types[] = {"example",    "prompt",  "tokens", "scores",  "weights",
                                    "prediction", "metrics", "rule",   "decision"};
enum { TYPES = sizeof types / sizeof *types };

void fuzz_start(void)
{
    schema_find("header");
    for (size_t i = 0; i < TYPES; i++)
        schema_find(types[i]);
}

static void check(struct stream_reader *r)
{
    msgpack_object o;
    struct checker *c = checker_new(stream_name(r), stream_header(r));
    while (stream_next(r, &o))
        if (!checker_record(c, &o, stream_record_number(r)))
            warn("%s %s", checker_problem(c), checker_id(c) ? checker_id(c) : "");
    checker_free(c);
}

static void print(struct stream_reader *r, bool csv)
{
    msgpack_object o;
    struct buf out = {0};
    struct csv_columns *columns = NULL;
    while (stream_next(r, &o)) {
        out.len = 0;
        if (csv && !columns) {
            columns = csv_columns_new(r, &o);
            print_csv_header(&out, columns);
        }
        if (csv)
            print_csv(&out, columns, r, &o);
        else
            print_json(&out, r, &o);
    }
    csv_columns_free(columns);
    buf_free(&out);
}

static void show(struct stream_reader *r)
{
    msgpack_object o;
    struct buf out = {0};
    struct show *s = show_new(r, 2);
    while (stream_next(r, &o))
        show_add(s, r, &o);
    show_table(s, &out, 20);
    show_table(s, &out, 100);
    show_histograms(s, &out, 40);
    show_free(s);
    buf_free(&out);
}

static void store(struct stream_reader *r)
{
    struct store s = {0};
    store_all(&s, r);
    store_free(&s);
}

static void join(struct stream_reader *r)
{
    struct join *j = join_new(r);
    json_t *header = json_object();
    join_header(j, "none", header);
    json_decref(header);
    join_free(j);
}

/* As its own schema says. */
static void read_records(struct stream_reader *r)
{
    union {
        struct example example;
        struct prompt prompt;
        struct tokens tokens;
        struct scores scores;
        struct prompt_weight weight;
        struct prediction prediction;
        struct rule_limit limit;
        struct identity identity;
    } x;
    size_t n;
    const char *schema = stream_schema(r);
    if (json_object_get(stream_header(r), "classes"))
        free(header_classes(stream_header(r), stream_name(r), &n));
    for (bool more = true; more;)
        more = !strcmp(schema, "example")      ? example_read(r, &x.example)
               : !strcmp(schema, "prompt")     ? prompt_read(r, &x.prompt)
               : !strcmp(schema, "tokens")     ? tokens_read(r, &x.tokens)
               : !strcmp(schema, "scores")     ? scores_read(r, &x.scores)
               : !strcmp(schema, "weights")    ? weight_read(r, &x.weight)
               : !strcmp(schema, "prediction") ? prediction_read(r, &x.prediction)
               : !strcmp(schema, "rule")       ? rule_limit_read(r, &x.limit)
                                               : identity_read(r, &x.identity);
}

void fuzz_one(const char *data, size_t size)
{
    if (!size)
        return;
    struct stream_reader *r = stream_open(fuzz_stream("in.mp", data + 1, size - 1), NULL);
    switch (*data) {
    case 'c':
        check(r);
        break;
    case 'j':
        print(r, false);
        break;
    case 't':
        print(r, true);
        break;
    case 'w':
        show(r);
        break;
    case 's':
        store(r);
        break;
    case 'o':
        join(r);
        break;
    default:
        read_records(r);
    }
    stream_close(r);
}
