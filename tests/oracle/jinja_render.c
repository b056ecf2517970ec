/* Renders templates: a JSON object {"template", "context", "date"} a line on standard input, "text"
 * or "error" a line on standard output. Strings of the context that begin with U+E000 are marked,
 * without that character; "literal" has the byte offsets of marked parts of the text, "looked" and
 * "trimmed" what the template did with them. */
#include "common/text/jinja.h"
#include "common/util/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char marked[] = "\xEE\x80\x80";

/* As jinja_from_json(), with marks. */
static struct jinja_value value_of(struct jinja_run *run, const json_t *json)
{
    const char *key, *s = json_string_value(json);
    const json_t *item;
    size_t i;
    struct jinja_value v;
    if (s && !strncmp(s, marked, 3)) {
        struct jinja_builder b = {.run = run};
        jinja_add_bytes(&b, s + 3, json_string_length(json) - 3, 1);
        return jinja_str(jinja_built(&b));
    }
    if (json_is_array(json)) {
        v = jinja_list_new(run, JINJA_LIST);
        json_array_foreach(json, i, item) jinja_list_add(run, v.list, value_of(run, item));
        return v;
    }
    if (!json_is_object(json))
        return jinja_from_json(run, json);
    v = jinja_dict_new(run);
    json_object_foreach((json_t *)json, key, item)
    {
        jinja_dict_set(run, v.dict, jinja_str(jinja_text(key)), value_of(run, item));
    }
    return v;
}

static json_t *result_json(const struct jinja_result *r)
{
    json_t *literal = json_array();
    for (size_t i = 0; r->text.marks && i <= r->text.len; i++) {
        bool before = i && r->text.marks[i - 1], after = i < r->text.len && r->text.marks[i];
        if (before != after)
            json_array_append_new(literal, json_integer((json_int_t)i));
    }
    return json_pack("{s:s#, s:o, s:b, s:b}", "text", r->text.s, (int)r->text.len, "literal",
                     literal, "looked", r->looked, "trimmed", r->trimmed);
}

static json_t *render(const json_t *one)
{
    const json_t *source = json_object_get(one, "template"), *value;
    const char *date = json_string_value(json_object_get(one, "date")), *key;
    struct tm day = {0};
    if (!strptime(date ? date : "2024-07-26", "%Y-%m-%d", &day))
        die(EX_DATAERR, "a date that is none");
    char *damage;
    struct jinja_template *t =
        jinja_parse(json_string_value(source), json_string_length(source), &damage);
    if (!t) {
        json_t *answer = json_pack("{s:s}", "error", damage);
        free(damage);
        return answer;
    }
    struct jinja_run *run = jinja_run_new(t, &day);
    json_object_foreach(json_object_get(one, "context"), key, value)
    {
        jinja_set(run, key, value_of(run, value));
    }
    struct jinja_result result;
    const char *error;
    json_t *answer = jinja_render(run, &result, &error) ? result_json(&result)
                                                        : json_pack("{s:s}", "error", error);
    jinja_run_free(run);
    jinja_free(t);
    return answer;
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    program_name = "jinja_render";
    while (getline(&line, &capacity, stdin) > 0) {
        json_error_t error;
        json_t *one = json_loads(line, 0, &error);
        if (!one)
            die(EX_DATAERR, "%s", error.text);
        json_t *answer = render(one);
        char *text = json_dumps(answer, JSON_COMPACT);
        puts(text ? text : "{\"error\": \"the text is not UTF-8\"}");
        fflush(stdout);
        free(text);
        json_decref(answer);
        json_decref(one);
    }
    free(line);
    return EX_OK;
}
