/* rec: record streams from and to CSV, TSV and JSON lines; taken apart, put together, checked. */
#include "cmd/rec/commands.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

static void take_delimiter(void *target, const char *option, const char *value)
{
    bool tab = !strcmp(value, "\\t");
    if (!tab && (strlen(value) != 1 || strchr("\"\r\n", *value)))
        usage_error("%s: '%s' is not one character (\\t is a tab)", option, value);
    *(char *)target = tab ? '\t' : *value;
}

#define TEXT(m) OPTION_TEXT(struct settings, m)
#define SET(m) OPTION_SET(struct settings, m)
#define WHOLE(m, min, max) OPTION_WHOLE(struct settings, m, min, max)

static const struct option_choice missing_choices[] = {
    {"as-is", MISSING_AS_IS}, {"pandas", MISSING_PANDAS}, {0}};

/* The rows of several commands. */
#define IMPORT_ROWS                                                                                \
    {"text", 0, "TEMPLATE",                                                                        \
     "what becomes the text: a column's name or number, or text with\n"                            \
     "{NAME} or {NUMBER} in it: 'Question: {2} {3}'",                                              \
     TEXT(import.text)},                                                                           \
        {"id", 0, "TEMPLATE", "what becomes the id (the row's number)", TEXT(import.id)},          \
        {"missing", 0, "AS",                                                                       \
         "a missing cell of the text: as-is (default), or pandas: nan, as\n"                       \
         "pandas reads it",                                                                        \
         OPTION_CHOICE(enum import_missing, struct settings, import.missing, missing_choices)},    \
        {"label", 0, "COLUMN", "what becomes the label (none: all labels nil)",                    \
         TEXT(import.label)},                                                                      \
        {"classes", 0, "A,B,...", "the classes' names, class 0 first", TEXT(import.classes)},      \
        {"labels", 0, "X,Y,...", "what stands for class 0, 1 ... in the label column",             \
         TEXT(import.labels)},                                                                     \
    {                                                                                              \
        "label-map", 0, "X=1,Y=0", "the same, one by one", TEXT(import.label_map)                  \
    }
#define NO_HEADER_ROW                                                                              \
    {                                                                                              \
        "no-header", 0, NULL, "the first row holds data: columns go by number",                    \
            OPTION_CLEAR(struct settings, names)                                                   \
    }
#define IGNORE_UNUSED_ROW                                                                          \
    {                                                                                              \
        "ignore-unused", 0, NULL, "and columns that nothing asks for are ignored",                 \
            SET(import.ignore_unused)                                                              \
    }
#define SKIP_BAD_ROW                                                                               \
    {                                                                                              \
        "skip-bad", 0, NULL, "pass over bad rows and count them, instead of stopping",             \
            SET(import.skip_bad)                                                                   \
    }
#define NUMBER_ROW(argument, help)                                                                 \
    {                                                                                              \
        NULL, 'n', argument, help, WHOLE(number, 1, INT32_MAX)                                     \
    }

static const struct option_row csv_rows[] = {
    IMPORT_ROWS,
    NO_HEADER_ROW,
    IGNORE_UNUSED_ROW,
    {"delimiter", 0, "CHAR", "what ends a field in from-csv (,)",
     OPTION_OWN(struct settings, delimiter, take_delimiter)},
    SKIP_BAD_ROW,
    OPTIONS_END};
static const struct option_row tsv_rows[] = {IMPORT_ROWS, NO_HEADER_ROW, IGNORE_UNUSED_ROW,
                                             SKIP_BAD_ROW, OPTIONS_END};
static const struct option_row jsonl_rows[] = {IMPORT_ROWS, SKIP_BAD_ROW, OPTIONS_END};
static const struct option_row npy_rows[] = {
    {"like", 0, "STREAM", "whose ids, labels and classes the texts have (numbers, none)",
     TEXT(like)},
    {"weights", 0, "FILE", "of the members, an .npy of [members] (equal ones)", TEXT(npy.weights)},
    {"members", 0, NULL, "keep the members, not their mean log p alone", SET(npy.keep_members)},
    OPTIONS_END};
static const struct option_row json_rows[] = {
    {"header", 0, NULL, "the header as the first line", SET(header)}, OPTIONS_END};
static const struct option_row show_rows[] = {NUMBER_ROW("N", "how many of them (10)"),
                                              {"table", 0, NULL, "without histograms", SET(table)},
                                              {"full", 0, NULL, "nothing cut", SET(full)},
                                              OPTIONS_END};
static const struct option_row head_rows[] = {
    {NULL, 'n', "N", "how many (10)", WHOLE(number, 0, INT32_MAX)},
    {"skip", 0, "K", "after passing over K", WHOLE(skip, 0, INT64_MAX)},
    OPTIONS_END};
static const struct option_row sample_rows[] = {
    NUMBER_ROW("N", "random records;"),
    {"shuffle", 0, NULL, "in random order (all without -n);\n", SET(shuffle)},
    {"seed", 0, "S", "another choice (0)", WHOLE(seed, 0, INT64_MAX)},
    OPTIONS_END};
static const struct option_row split_rows[] = {
    NUMBER_ROW("N", NULL),
    {"output", 0, "PREFIX", "N shards PREFIX.0.mp ...;", OPTION_WORDS},
    {"index", 0, "I", "shard I alone", WHOLE(index, 0, INT32_MAX)},
    OPTIONS_END};
static const struct option_row join_rows[] = {
    {"inner", 0, NULL, "leave out what has no partner there", SET(inner)}, OPTIONS_END};
static const struct option_row no_rows[] = {OPTIONS_END};

static const struct command commands[] = {
    {"from-csv", "rows to 'example' records:", csv_rows, 29, run_from_csv},
    {"from-tsv", NULL, tsv_rows, 0, run_from_tsv},
    {"from-jsonl", NULL, jsonl_rows, 0, run_from_jsonl},
    {"from-lines", "one text a line to 'example' records", no_rows, 0, run_from_lines},
    {"from-json", "what to-json --header printed, or the like, back to records", no_rows, 0,
     run_from_json},
    {"from-npy", "an array [texts, classes] or [texts, classes, members] to 'prediction' records:",
     npy_rows, 29, run_from_npy},
    {"to-json", "records as JSON, one a line;", json_rows, 0, run_to_json},
    {"to-csv", "records as a table", no_rows, 0, run_to_csv},
    {"show", "records for people: the first as a table, all as histograms;\n", show_rows, 0,
     run_show},
    {"cat", "the streams in FILEs, verified, as one", no_rows, 0, run_cat},
    {"head", "the first records;", head_rows, 0, run_head},
    {"sample", "", sample_rows, 0, run_sample},
    {"split", "", split_rows, 0, run_split},
    {"join", "the records of the first FILE with the fields of the second's by id;\n", join_rows, 0,
     run_join},
    {"count", "how many records, in all and by label (-q: in all)", no_rows, 0, run_count},
    {"check", "each FILE against the schema of its records", no_rows, 0, run_check},
    {0}};

static const struct program program = {
    .name = "rec",
    .about = "usage: rec COMMAND [OPTION ...] [FILE ...]\n"
             "Makes record streams of tables, and takes streams apart, puts them together, checks "
             "and\n"
             "shows them.\n"
             "\n"
             "  rec from-csv --id idx --text sentence --label label train.csv >all.mp\n"
             "  rec head -n 10000 all.mp >train.mp; rec head --skip 10000 -n 45 all.mp >shots.mp\n"
             "  rec to-json teacher.test.mp | jq -c 'select(.epistemic > 0.1)'\n"
             "\n"
             "Commands:\n",
    .commands = commands,
    .name_column = 6,
    .help_column = 28};

int main(int argc, char **argv)
{
    program_start(&program, argc, argv);
    const struct command *command = command_find(&program, argc, argv);
    struct settings s = {
        .import = {.row_remedy = "--skip-bad passes over such rows",
                   .label_remedy =
                       "--classes A,B,... names the classes, class 0 first, whose names "
                       "are labels too; --labels or --label-map tells what other "
                       "words stand for",
                   .column_remedy =
                       "a text with commas stands in quotes, 'rec from-lines' reads one "
                       "text a line, --ignore-unused ignores such columns"},
        .delimiter = ',',
        .names = true,
        .number = -1,
        .index = -1,
        .argc = argc,
        .argv = argv};
    /* Messages name argv[0], and operands move; the stream's header has them as they were. */
    char **arguments = xcalloc((size_t)argc, sizeof *arguments);
    memcpy(arguments, argv + 1, (size_t)(argc - 1) * sizeof *arguments);
    char *name = xasprintf("rec %s", command->name);
    arguments[0] = name;
    int first = options_parse(&program, command->rows, argc - 1, arguments, &s.common);
    s.files = arguments + first;
    s.n_files = argc - 1 - first;
    command->run(&s);
    free(arguments);
    free(name);
    return 0;
}
