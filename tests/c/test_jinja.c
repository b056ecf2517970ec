/* Templates against transformers' renderer, recorded by tests/oracle/jinja.py; marks, bounds and
 * what templates look at. */
#include "common/text/jinja.h"
#include "common/util/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct tm date = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26, .tm_wday = 5};

/* ---- recorded ---- */

static void set_context(struct jinja_run *run, const json_t *context)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)context, key, value)
    {
        jinja_set(run, key, jinja_from_json(run, value));
    }
}

/* wanted NULL: an error. */
static void check(const struct jinja_template *t, const char *damage, const char *source,
                  const json_t *context, const char *wanted)
{
    if (!t) {
        if (wanted)
            fail_msg("%s\n%s", source, damage);
        return;
    }
    struct jinja_run *run = jinja_run_new(t, &date);
    struct jinja_result result;
    const char *error;
    set_context(run, context);
    bool rendered = jinja_render(run, &result, &error);
    if (rendered != (wanted != NULL))
        fail_msg("%s\n%s", source, rendered ? "it is no error" : error);
    if (wanted && !jinja_same(result.text, jinja_text(wanted)))
        fail_msg("%s\nwanted: %s\ngot: %.*s", source, wanted, (int)result.text.len, result.text.s);
    assert_false(result.text.marks);
    jinja_run_free(run);
}

static void templates_render_as_transformers_renders_them(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/chat/jinja.jsonl", "r");
    assert_non_null(f);
    json_t *contexts = json_array(), *line, *pair;
    size_t checked = 0, i;
    while ((line = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
        const json_t *context = json_object_get(line, "context");
        if (context)
            json_array_append(contexts, (json_t *)context);
        const json_t *source = json_object_get(line, "template");
        char *damage = NULL;
        struct jinja_template *t =
            source ? jinja_parse(json_string_value(source), json_string_length(source), &damage)
                   : NULL;
        json_array_foreach(json_object_get(line, "texts"), i, pair)
        {
            size_t number = (size_t)json_integer_value(json_array_get(pair, 0));
            check(t, damage, json_string_value(source), json_array_get(contexts, number),
                  json_string_value(json_array_get(pair, 1)));
            checked++;
        }
        jinja_free(t);
        free(damage);
        json_decref(line);
    }
    assert_true(checked > 300);
    fclose(f);
    json_decref(contexts);
}

/* ---- marks ---- */

/* A rendering in which `text` is "..." with mark 1; marks as a string of 0 and 1. */
static void check_marks(const char *source, const char *text, const char *wanted, const char *marks,
                        int looked, int trimmed)
{
    char *damage;
    struct jinja_template *t = jinja_parse(source, strlen(source), &damage);
    assert_non_null(t);
    struct jinja_run *run = jinja_run_new(t, &date);
    struct jinja_builder b = {.run = run};
    jinja_add_bytes(&b, text, strlen(text), 1);
    jinja_set(run, "text", jinja_str(jinja_built(&b)));
    struct jinja_result r;
    const char *error;
    assert_true(jinja_render(run, &r, &error));
    assert_int_equal(r.text.len, strlen(wanted));
    assert_memory_equal(r.text.s, wanted, r.text.len);
    for (size_t i = 0; i < r.text.len; i++)
        if ((r.text.marks ? r.text.marks[i] : 0) != marks[i] - '0')
            fail_msg("%s: the mark of byte %zu", source, i);
    if (r.looked != looked || r.trimmed != trimmed)
        fail_msg("%s: looked %d, trimmed %d", source, r.looked, r.trimmed);
    jinja_run_free(run);
    jinja_free(t);
}

static void marks_stay_with_their_bytes(void **state)
{
    (void)state;
    check_marks("a{{ text }}b", "xy", "axyb", "0110", 0, 0);
    check_marks("{{ 'a' + text ~ text + 'b' }}", "xy", "axyxyb", "011110", 0, 0);
    check_marks("{% set q %}<{{ text }}>{% endset %}{{ q }}", "x", "<x>", "010", 0, 0);
    check_marks("{% macro m(t) %}<{{ t }}>{% endmacro %}{{ m(text) }}", "x", "<x>", "010", 0, 0);
    check_marks("{{ [text, 'a']|join(text) }}", "x", "xxa", "110", 0, 0);
    check_marks("{{ text|trim }}|", " x ", "x|", "10", 0, 1);
    check_marks("{{ (' ' + text + ' ').strip() }}|", "x", "x|", "10", 0, 1);
    check_marks("{{ ('a' + text + 'b').strip() }}|", " x ", "a x b|", "011100", 0, 0);
    check_marks("{{ ('a' + text).lstrip('ab') }}|", "bx", "x|", "10", 1, 0);
    check_marks("{{ text[1:3] }}|", "abcd", "bc|", "110", 1, 0);
    check_marks("{{ ('a' + text)[::-1] }}|", "bc", "cba|", "1100", 1, 0);
    check_marks("{{ (text + 'b')|upper }}", "\xC3\xA9",
                "\xC3\x89"
                "B",
                "110", 1, 0);
    check_marks("{{ ('a-' + text).split('-')[1] }}|", "x-y", "x|", "10", 1, 0);
    check_marks("{{ ('n' + text).replace('n', 'mm') }}|", "xn", "mmxmm|", "001000", 1, 0);
    check_marks("{{ '\\x00b'|title|length }}{{ text }}", "x", "2x", "01", 0, 0);
    check_marks("{{ ('a' + text)|tojson }}", "\"", "\"a\\\"\"", "00110", 1, 0);
    check_marks("{{ ['a' + text] }}", "\n", "['a\\n']", "0001100", 1, 0);
    check_marks("{% for c in text %}{{ c }},{% endfor %}", "xy", "x,y,", "1010", 1, 0);
}

static void it_is_known_on_which_bytes_the_rest_hangs(void **state)
{
    (void)state;
    check_marks("{{ 1 if text is string and text is defined }}{{ text|default('d') }}", "x", "1x",
                "01", 0, 0);
    check_marks("{{ 1 if 'a' + text }}", "x", "1", "0", 0, 0);
    check_marks("{{ 1 if text }}", "x", "1", "0", 1, 0);
    check_marks("{{ 1 if ('a' + text) == 'b' }}", "x", "", "", 0, 0);
    check_marks("{{ 1 if ('a' + text) == 'ax' }}", "x", "1", "0", 1, 0);
    check_marks("{{ 1 if ('ab' + text).startswith('ab') }}", "x", "1", "0", 0, 0);
    check_marks("{{ 1 if ('ab' + text).startswith('abc') }}", "x", "", "", 1, 0);
    check_marks("{{ 1 if (text + 'ab').endswith('b') }}", "x", "1", "0", 0, 0);
    check_marks("{{ 1 if 'z' in text }}", "x", "", "", 1, 0);
    check_marks("{{ text|length }}", "x", "1", "0", 1, 0);
    check_marks("{{ {'a': 1}[text] }}", "a", "1", "0", 1, 0);
    check_marks("{{ 1 if [1] + [text] }}", "x", "1", "0", 0, 0);
}

/* ---- bounds, refusals ---- */

/* The error of a template, whether it is damaged or fails. */
static char *error_of(const char *source)
{
    char *damage;
    struct jinja_template *t = jinja_parse(source, strlen(source), &damage);
    if (!t)
        return damage;
    struct jinja_run *run = jinja_run_new(t, &date);
    struct jinja_result r;
    const char *error;
    assert_false(jinja_render(run, &r, &error));
    char *copy = xstrdup(error);
    jinja_run_free(run);
    jinja_free(t);
    return copy;
}

static void refused(const char *source, const char *wanted)
{
    char *error = error_of(source);
    if (!strstr(error, wanted))
        fail_msg("%.80s: %s", source, error);
    free(error);
}

static void what_is_not_known_is_refused_by_name_and_line(void **state)
{
    (void)state;
    refused("\n{{ 'a'|wordcount }}", "line 2: the filter 'wordcount' is not known here");
    refused("\n\n{{ 1 is sameas 1 }}", "line 3: the test 'sameas' is not known here");
    refused("{{ 'a'.encode() }}", "line 1: the method 'encode' is not known here");
    refused("{{ lipsum() }}", "line 1: the function 'lipsum' is not known here");
    refused("a\n{% include 'x' %}", "line 2: the tag 'include' is not known here");
    refused("{% call m() %}{% endcall %}", "line 1: the tag 'call' is not known here");
    refused("{% for x in y recursive %}{% endfor %}", "recursive loops are not known here");
    refused("{{ f(*x) }}", "arguments with * or ** are not known here");
    refused("{{ '%s' % 1 }}", "'%' does not go with values of the types string and int here");
    refused("{{ 'a'|trim(chars='b', q=1) }}", "'trim' takes no argument 'q' here");
    refused("{{ 'a'|replace('b') }}", "'replace' wants the argument 'new'");
    refused("{{ '\\N{DASH}' }}", "the escape \\N is not known here");
    refused("{{ 0x10 }}", "numbers with 'x' are not known here");
    refused("{{ '\xC3\x9F'.upper() }}", "the upper and lower case of U+00DF are not known here");
    refused("a\xFF", "not UTF-8 at byte 1");
    refused("{{ 99999999999999999999 }}", "the number 99999999999999999999 is too large");
    refused("{{ 9223372036854775807 + 1 }}", "a number is too large");
    refused("{{ 2 ** 63 }}", "a number is too large");
}

static char *repeated(const char *before, const char *piece, size_t n, const char *after)
{
    struct buf b = {0};
    buf_addf(&b, "%s", before);
    for (size_t i = 0; i < n; i++)
        buf_addf(&b, "%s", piece);
    buf_addf(&b, "%s", after);
    return buf_str(&b);
}

static void refused_when_repeated(const char *before, const char *piece, const char *after,
                                  const char *wanted)
{
    char *source = repeated(before, piece, 100000, after);
    refused(source, wanted);
    free(source);
}

static void hostile_templates_end_in_an_error(void **state)
{
    (void)state;
    refused("{% set r = range(9999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
            "the template does not come to an end");
    refused("{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}"
            "{% endfor %}",
            "the template takes more than 64 MiB");
    refused("{{ 'a' * 999999999999 }}", "takes more than 64 MiB");
    refused("{{ [0] * 999999999999 }}", "takes more than 64 MiB");
    refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nests deeper than 1000");
    refused("{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}"
            "{% endfor %}{{ ns.l }}",
            "nests deeper than 1000");
    refused("{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns.x }}", "is not text");
    refused("{% set s = 'a' * 999999 %}{% for i in range(99999) %}{{ 1 if 'b' in s }}{% endfor %}",
            "does not come to an end");
    refused_when_repeated("{{ ", "(", "}}", "nests too deeply");
    refused_when_repeated("{{ ", "[", "}}", "nests too deeply");
    refused_when_repeated("{{ ", "- ", "1 }}", "nests too deeply");
    refused_when_repeated("{{ ", "not ", "1 }}", "nests too deeply");
    refused_when_repeated("{{ 1", " + 1", "}}", "nests deeper than 1000");
    refused_when_repeated("", "{% if 1 %}", "", "nests too deeply");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_render_as_transformers_renders_them),
        cmocka_unit_test(marks_stay_with_their_bytes),
        cmocka_unit_test(it_is_known_on_which_bytes_the_rest_hangs),
        cmocka_unit_test(what_is_not_known_is_refused_by_name_and_line),
        cmocka_unit_test(hostile_templates_end_in_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
