/* Option tables: where values go, what is refused and in which words, the help and the list. */
#include "common/util/options.h"

#include "common/util/diag.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 16, SAID = 8192 };
enum colour { RED = 3, GREEN = 7, BLUE = 1 };
enum side { LEFT, RIGHT };

struct list {
    int n;
    const char *options[MOST], *values[MOST];
};

struct settings {
    struct common_options common;
    bool fast, share, colour_given, show;
    const char *file, *show_id;
    int count;
    long offset;
    unsigned long size;
    double rate;
    enum colour colour;
    enum side side;
    struct list list;
};

static void take_item(void *target, const char *option, const char *value)
{
    struct list *l = target;
    l->options[l->n] = strdup(option);
    l->values[l->n++] = value;
}

static const struct option_choice colours[] = {{"red", RED}, {"green", GREEN}, {"blue", BLUE}, {0}};
static const struct option_choice sides[] = {{"left", LEFT}, {"right", RIGHT}, {0}};

#define T struct settings
static const struct option_row rows[] = {
    {"model", 0, "DIR", "", OPTION_TEXT(T, file)},
    {"fast", 'f', NULL, "do not\ndawdle", OPTION_SET(T, fast)},
    {"no-share", 0, NULL, "every record alone", OPTION_CLEAR(T, share)},
    {"file", 'F', "FILE", NULL, OPTION_TEXT(T, file)},
    {"count", 0, "N", "a file, and how many", OPTION_WHOLE(T, count, -5, 100)},
    {"offset", 0, "N", "where from", OPTION_WHOLE(T, offset, 0, LONG_MAX)},
    {NULL, 'n', "N", "how large", OPTION_WHOLE(T, size, 1, 1L << 40)},
    {"rate", 0, "R", "how fast", OPTION_REAL(T, rate, 1e-3, 2)},
    {"colour", 0, "NAME", "red, green or blue", OPTION_CHOICE(enum colour, T, colour, colours),
     OPTION_GIVEN(T, colour_given)},
    {"side", 0, "NAME-THAT-IS-LONG", "left or right", OPTION_CHOICE(enum side, T, side, sides)},
    {"item", 'i', "X", "one more", OPTION_OWN(T, list, take_item)},
    {"item", 0, "Y:X", "one more of Y", OPTION_WORDS},
    {"show", 0, "[=ID]", "this one", OPTION_TEXT(T, show_id), OPTION_GIVEN(T, show)},
    OPTIONS_END};

static const struct program program = {.name = "test",
                                       .about = "usage: test --model DIR [OPTION ...]\n\n",
                                       .rows = rows,
                                       .name_column = 6,
                                       .help_column = 24};

/* What is parsed, and the operands. */
struct line {
    struct settings settings;
    char *argv[MOST];
    int argc, first;
};

static struct line new_line(char *const *words)
{
    struct line l = {.settings = {.share = true, .count = 1}};
    l.argv[l.argc++] = "test";
    for (; *words; words++)
        l.argv[l.argc++] = *words;
    return l;
}

static void parse_line(struct line *l)
{
    l->first = options_parse(&program, rows, l->argc, l->argv, &l->settings.common);
}

static void free_line(struct line *l)
{
    for (int i = 0; i < l->settings.list.n; i++)
        free((char *)l->settings.list.options[i]);
}

#define WORDS(...) ((char *[]){__VA_ARGS__, NULL})
#define PARSE(...) parsed(WORDS(__VA_ARGS__))
static struct line parsed(char *const *words)
{
    struct line l = new_line(words);
    parse_line(&l);
    return l;
}

/* Runs it in a process of its own; its exit status, what it said on both outputs in `said`. */
static int status_of(void (*run)(void *), void *data, char said[SAID])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        run(data);
        fflush(NULL);
        _exit(0);
    }
    close(ends[1]);
    size_t have = 0;
    for (ssize_t n; (n = read(ends[0], said + have, SAID - 1 - have)) > 0;)
        have += (size_t)n;
    said[have] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void start_and_parse(void *data)
{
    struct line *l = data;
    program_start(&program, l->argc, l->argv);
    parse_line(l);
}

/* The words are refused as wrong usage, with this before the pointer to --help. */
static void refused(const char *message, char *const *words)
{
    char said[SAID], expected[SAID];
    struct line l = new_line(words);
    assert_int_equal(status_of(start_and_parse, &l, said), EX_USAGE);
    snprintf(expected, sizeof expected, "test: %s\nTry 'test --help'.\n", message);
    assert_string_equal(said, expected);
}
#define REFUSED(message, ...) refused(message, WORDS(__VA_ARGS__))

static void prints(const char *expected, void (*run)(void *), void *data)
{
    char said[SAID];
    int status = status_of(run, data, said);
    assert_string_equal(said, expected);
    assert_int_equal(status, EX_OK);
}

/* ---- values ---- */

static void flags_set_and_clear(void **state)
{
    (void)state;
    struct line none = PARSE("operand");
    assert_false(none.settings.fast);
    assert_true(none.settings.share);
    struct line both = PARSE("--fast", "--no-share");
    assert_true(both.settings.fast);
    assert_false(both.settings.share);
    assert_true(PARSE("-f").settings.fast);
    REFUSED("option '--fast' doesn't allow an argument", "--fast=1");
}

static void the_last_text_counts(void **state)
{
    (void)state;
    assert_null(PARSE("x").settings.file);
    assert_string_equal(PARSE("--file", "a", "--file=b").settings.file, "b");
    assert_string_equal(PARSE("-Fa").settings.file, "a");
    assert_string_equal(PARSE("--model", "").settings.file, "");
    REFUSED("option '--file' requires an argument", "--file");
    REFUSED("option requires an argument -- 'F'", "-F");
}

static void whole_numbers_have_their_members_size_and_range(void **state)
{
    (void)state;
    struct line l =
        PARSE("--count", "-5", "--offset", "9223372036854775807", "-n", "1099511627776");
    assert_int_equal(l.settings.count, -5);
    assert_int_equal(l.settings.offset, LONG_MAX);
    assert_int_equal(l.settings.size, 1L << 40);
    assert_int_equal(PARSE("--count=100").settings.count, 100);
    assert_int_equal(PARSE("x").settings.count, 1);
    REFUSED("--count: '101' is not a whole number from -5 to 100", "--count", "101");
    REFUSED("--count: '-6' is not a whole number from -5 to 100", "--count=-6");
    REFUSED("--count: '' is not a whole number from -5 to 100", "--count=");
    REFUSED("--count: '7x' is not a whole number from -5 to 100", "--count=7x");
    REFUSED("--count: '0.5' is not a whole number from -5 to 100", "--count=0.5");
    REFUSED("--offset: '9223372036854775808' is not a whole number from 0 to 9223372036854775807",
            "--offset=9223372036854775808");
    REFUSED("-n: '0' is not a whole number from 1 to 1099511627776", "-n", "0");
    REFUSED("-n: ' 1' is not a whole number from 1 to 1099511627776", "-n", " 1");
    REFUSED("-n: '1 ' is not a whole number from 1 to 1099511627776", "-n", "1 ");
    REFUSED("-n: '+1' is not a whole number from 1 to 1099511627776", "-n", "+1");
}

static void real_numbers_have_a_range_and_are_finite(void **state)
{
    (void)state;
    assert_true(PARSE("--rate", "1e-3").settings.rate == 1e-3);
    assert_true(PARSE("--rate", "2").settings.rate == 2);
    assert_true(PARSE("--rate", ".5").settings.rate == 0.5);
    assert_true(PARSE("--rate", "0.1E+1").settings.rate == 1);
    REFUSED("--rate: '2.1' is not a number from 0.001 to 2", "--rate=2.1");
    REFUSED("--rate: '0' is not a number from 0.001 to 2", "--rate=0");
    REFUSED("--rate: ' 1' is not a number from 0.001 to 2", "--rate= 1");
    REFUSED("--rate: '+1' is not a number from 0.001 to 2", "--rate=+1");
    REFUSED("--rate: '0x1p-1' is not a number from 0.001 to 2", "--rate=0x1p-1");
    REFUSED("--rate: 'nan' is not a number from 0.001 to 2", "--rate=nan");
    REFUSED("--rate: '1,5' is not a number from 0.001 to 2", "--rate=1,5");
    REFUSED("--rate: '' is not a number from 0.001 to 2", "--rate", "");
}

static void choices_are_named_whole(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--colour", "green").settings.colour, GREEN);
    assert_int_equal(PARSE("--side", "right").settings.side, RIGHT);
    REFUSED("--colour: 'gre' is none of red, green, blue", "--colour=gre");
    REFUSED("--side: 'up' is neither left nor right", "--side", "up");
}

static void that_an_option_was_given_is_kept(void **state)
{
    (void)state;
    assert_false(PARSE("--side", "left").settings.colour_given);
    assert_true(PARSE("--colour", "red").settings.colour_given);
}

static void a_value_may_be_left_out(void **state)
{
    (void)state;
    struct line without = PARSE("--show", "operand"), with = PARSE("--show=operand");
    assert_true(without.settings.show);
    assert_null(without.settings.show_id);
    assert_string_equal(without.argv[without.first], "operand");
    assert_true(with.settings.show);
    assert_string_equal(with.settings.show_id, "operand");
    assert_false(PARSE("x").settings.show);
}

static void an_own_function_hears_of_each_time(void **state)
{
    (void)state;
    struct line l = PARSE("--item", "a", "x", "-i", "b", "--item=c");
    assert_int_equal(l.settings.list.n, 3);
    assert_string_equal(l.settings.list.values[0], "a");
    assert_string_equal(l.settings.list.values[1], "b");
    assert_string_equal(l.settings.list.values[2], "c");
    for (int i = 0; i < 3; i++)
        assert_string_equal(l.settings.list.options[i], "--item");
    free_line(&l);
}

static void common_options_are_every_programs(void **state)
{
    (void)state;
    struct line l = PARSE("-o", "out.mp", "-z");
    assert_string_equal(l.settings.common.output, "out.mp");
    assert_true(l.settings.common.compress);
    assert_false(PARSE("--output=out.mp").settings.common.compress);
    assert_true(PARSE("--output=out.mp.zst").settings.common.compress);
    assert_false(PARSE("--output=.zst").settings.common.compress);
    verbosity = NORMAL;
    PARSE("-v");
    assert_int_equal(verbosity, VERBOSE);
    PARSE("--quiet");
    assert_int_equal(verbosity, QUIET);
    verbosity = NORMAL;
}

/* ---- as getopt_long() has it ---- */

static void names_may_be_cut_short(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--cou=7").settings.count, 7);
    assert_false(PARSE("--no").settings.share);
    /* Another form of an option, for the help, makes it no other option. */
    struct line l = PARSE("--it", "a");
    assert_int_equal(l.settings.list.n, 1);
    free_line(&l);
    REFUSED("option '--co' is ambiguous; possibilities: '--count' '--colour' '--compress'", "--co");
    REFUSED("unrecognized option '--counts'", "--counts");
    REFUSED("invalid option -- 'x'", "-x");
    REFUSED("unrecognized option '--share'", "--share");
}

static void operands_move_behind_options(void **state)
{
    (void)state;
    struct line l = PARSE("a", "--fast", "b", "--count", "3", "--", "--file", "-");
    assert_true(l.settings.fast);
    assert_int_equal(l.settings.count, 3);
    assert_null(l.settings.file);
    assert_int_equal(l.argc - l.first, 4);
    const char *const operands[] = {"a", "b", "--file", "-"};
    for (int i = 0; i < 4; i++)
        assert_string_equal(l.argv[l.first + i], operands[i]);
}

static void letters_go_together(void **state)
{
    (void)state;
    struct line l = PARSE("-fzi", "a");
    assert_true(l.settings.fast && l.settings.common.compress);
    assert_string_equal(l.settings.list.values[0], "a");
    free_line(&l);
}

/* ---- the help and the list ---- */

static void the_help_has_rows_in_their_order(void **state)
{
    (void)state;
    struct line l = new_line(WORDS("--help"));
    prints("usage: test --model DIR [OPTION ...]\n"
           "\n"
           "  -f, --fast            do not\n"
           "                        dawdle\n"
           "      --no-share        every record alone\n"
           "  -F, --file FILE / --count N  a file, and how many\n"
           "      --offset N        where from\n"
           "  -n N                  how large\n"
           "      --rate R          how fast\n"
           "      --colour NAME     red, green or blue\n"
           "      --side NAME-THAT-IS-LONG  left or right\n"
           "  -i, --item X          one more\n"
           "  -i, --item Y:X        one more of Y\n"
           "      --show[=ID]       this one\n"
           "  -o, --output FILE     write here; ends in .zst: compressed\n"
           "  -z, --compress        zstd output\n"
           "  -q, --quiet / -v, --verbose / -h, --help / --version\n",
           start_and_parse, &l);
}

static const struct option_row other_words[] = {
    {"alpha", 'a', "A", "of both", OPTION_REAL(T, rate, 0, 1)},
    {"output", 0, "DIR", "a folder", OPTION_WORDS},
    {"compress", 0, NULL, NULL, OPTION_UNSAID},
    {"quiet", 0, NULL, NULL, OPTION_WORDS},
    {"verbose", 0, NULL, "less; more", OPTION_WORDS},
    OPTIONS_END};
static const struct program brief = {.name = "brief",
                                     .about = "usage: brief\n",
                                     .rows = other_words,
                                     .name_column = 2,
                                     .help_column = 12,
                                     .brief = true};

static void start(void *data)
{
    const struct program *p = data;
    program_start(p, 2, (char *[]){"brief", "--list-options", NULL});
}

static void parse_brief(void *data)
{
    struct line *l = data;
    options_parse(&brief, other_words, l->argc, l->argv, &l->settings.common);
}

static void a_program_may_have_other_words_for_common_options(void **state)
{
    (void)state;
    struct line l = new_line(WORDS("-h"));
    prints("usage: brief\n"
           "  -a A      of both\n"
           "  -o DIR    a folder\n"
           "  -q, -v    less; more\n"
           "  --help, --version\n",
           parse_brief, &l);
}

static void the_list_has_every_option_once(void **state)
{
    (void)state;
    prints("-\ta\talpha\tA\t-\n"
           "-\to\toutput\tFILE\t-\n"
           "-\tq\tquiet\t-\t-\n"
           "-\tv\tverbose\t-\t-\n"
           "-\th\thelp\t-\t-\n"
           "-\t-\tversion\t-\t-\n",
           start, (void *)&brief);
}

static void the_version_is_duqs(void **state)
{
    (void)state;
    struct line l = new_line(WORDS("--version"));
    prints("test (duq) " DUQ_VERSION "\n", start_and_parse, &l);
}

/* ---- commands ---- */

static const struct option_row cut_rows[] = {{NULL, 'n', "N", NULL, OPTION_WHOLE(T, count, 1, 9)},
                                             {"output", 0, "PREFIX", "N parts;", OPTION_WORDS},
                                             {"fast", 0, NULL, "at once", OPTION_SET(T, fast)},
                                             OPTIONS_END};
static const struct option_row see_rows[] = {{"all", 'a', NULL, "not a part", OPTION_SET(T, fast)},
                                             OPTIONS_END};
static const struct command commands[] = {{"see", "shows it:", see_rows, 20, NULL},
                                          {"look", NULL, see_rows, 0, NULL},
                                          {"cut", "", cut_rows, 0, NULL},
                                          {"try", "and\nagain;", see_rows, 0, NULL},
                                          {0}};
static const struct program several = {.name = "several",
                                       .about = "usage: several COMMAND\n",
                                       .commands = commands,
                                       .name_column = 6,
                                       .help_column = 24};

static void find(void *data)
{
    struct line *l = data;
    program_start(&several, l->argc, l->argv);
    printf("%s\n", command_find(&several, l->argc, l->argv)->name);
}

static void a_command_is_the_first_argument(void **state)
{
    (void)state;
    char said[SAID];
    struct line l = new_line(WORDS("cut", "see"));
    prints("cut\n", find, &l);
    l = new_line(WORDS("sea"));
    assert_int_equal(status_of(find, &l, said), EX_USAGE);
    assert_string_equal(said, "several: no command 'sea'\nTry 'several --help'.\n");
    l = new_line(WORDS("-q", "see"));
    assert_int_equal(status_of(find, &l, said), EX_USAGE);
    assert_string_equal(said,
                        "several: the first argument is the command\nTry 'several --help'.\n");
}

static void the_help_has_each_commands_rows(void **state)
{
    (void)state;
    struct line l = new_line(WORDS("--help"));
    prints("usage: several COMMAND\n"
           "  see, look  shows it:\n"
           "  -a, --all         not a part\n"
           "  cut        -n N -o PREFIX  N parts;  --fast  at once\n"
           "  try        and\n"
           "             again;  -a  not a part\n"
           "\n"
           "  -o, --output FILE     write here; ends in .zst: compressed\n"
           "  -z, --compress        zstd output\n"
           "  -q, --quiet / -v, --verbose / -h, --help / --version\n",
           find, &l);
}

static void the_list_names_the_command(void **state)
{
    (void)state;
    struct line l = new_line(WORDS("--list-options"));
    prints("see\t-\t-\t-\t-\n"
           "see\ta\tall\t-\t-\n"
           "look\t-\t-\t-\t-\n"
           "look\ta\tall\t-\t-\n"
           "cut\t-\t-\t-\t-\n"
           "cut\tn\t-\tN\t-\n"
           "cut\t-\tfast\t-\t-\n"
           "try\t-\t-\t-\t-\n"
           "try\ta\tall\t-\t-\n"
           "-\to\toutput\tFILE\t-\n"
           "-\tz\tcompress\t-\t-\n"
           "-\tq\tquiet\t-\t-\n"
           "-\tv\tverbose\t-\t-\n"
           "-\th\thelp\t-\t-\n"
           "-\t-\tversion\t-\t-\n",
           find, &l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_set_and_clear),
        cmocka_unit_test(the_last_text_counts),
        cmocka_unit_test(whole_numbers_have_their_members_size_and_range),
        cmocka_unit_test(real_numbers_have_a_range_and_are_finite),
        cmocka_unit_test(choices_are_named_whole),
        cmocka_unit_test(that_an_option_was_given_is_kept),
        cmocka_unit_test(a_value_may_be_left_out),
        cmocka_unit_test(an_own_function_hears_of_each_time),
        cmocka_unit_test(common_options_are_every_programs),
        cmocka_unit_test(names_may_be_cut_short),
        cmocka_unit_test(operands_move_behind_options),
        cmocka_unit_test(letters_go_together),
        cmocka_unit_test(the_help_has_rows_in_their_order),
        cmocka_unit_test(a_program_may_have_other_words_for_common_options),
        cmocka_unit_test(the_list_has_every_option_once),
        cmocka_unit_test(the_version_is_duqs),
        cmocka_unit_test(a_command_is_the_first_argument),
        cmocka_unit_test(the_help_has_each_commands_rows),
        cmocka_unit_test(the_list_names_the_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
