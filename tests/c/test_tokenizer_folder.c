/* Tokenizers of whole folders: each id as transformers' AutoTokenizer has it, recorded by
 * tests/oracle/tok_folders.py. */
#include "common/text/tokenizer.h"
#include "common/util/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA "tests/data/tok/"

struct made_folder {
    char path[64];
    char *files[8];
    size_t n;
};

static void add_file(struct made_folder *f, const char *name)
{
    f->files[f->n++] = xasprintf("%s/%s", f->path, name);
}

static struct made_folder make_folder(const json_t *one)
{
    struct made_folder f = {.path = "/tmp/duq-tokenizer-XXXXXX"};
    const char *name;
    json_t *content;
    assert_non_null(mkdtemp(f.path));
    char *here = getcwd(NULL, 0);
    char *base = xasprintf("%s/" DATA "%s", here, json_string_value(json_object_get(one, "base")));
    add_file(&f, "tokenizer.json");
    assert_int_equal(symlink(base, f.files[0]), 0);
    json_object_foreach(json_object_get(one, "files"), name, content)
    {
        add_file(&f, name);
        assert_int_equal(json_dump_file(content, f.files[f.n - 1], 0), 0);
    }
    free(here);
    free(base);
    return f;
}

static void remove_folder(struct made_folder *f)
{
    for (size_t i = 0; i < f->n; i++) {
        unlink(f->files[i]);
        free(f->files[i]);
    }
    rmdir(f->path);
}

static void check_ids(struct tokenizer *t, const json_t *one, const json_t *lines)
{
    const char *name = json_string_value(json_object_get(one, "name"));
    const json_t *line, *all = json_object_get(one, "ids");
    struct ids ids = {0};
    size_t i;
    assert_int_equal(json_array_size(all), json_array_size(lines));
    json_array_foreach(lines, i, line)
    {
        const json_t *wanted = json_array_get(all, i);
        ids.len = 0;
        tokenizer_encode(t, json_string_value(line), json_string_length(line), true, &ids);
        bool same = ids.len == json_array_size(wanted);
        for (size_t k = 0; same && k < ids.len; k++)
            same = ids.data[k] == json_integer_value(json_array_get(wanted, k));
        if (!same)
            fail_msg("folder '%s', line %zu: other ids than recorded", name, i);
    }
    ids_free(&ids);
}

static void folders_have_the_ids_that_autotokenizer_gives(void **state)
{
    (void)state;
    json_t *recorded = json_read_file(DATA "folders/ids.json"), *one;
    const json_t *lines = json_object_get(recorded, "lines");
    size_t i;
    assert_true(json_array_size(json_object_get(recorded, "folders")) >= 25);
    json_array_foreach(json_object_get(recorded, "folders"), i, one)
    {
        struct made_folder f = make_folder(one);
        struct tokenizer *t = tokenizer_open(f.path);
        check_ids(t, one, lines);
        tokenizer_free(t);
        remove_folder(&f);
    }
    json_decref(recorded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_have_the_ids_that_autotokenizer_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
