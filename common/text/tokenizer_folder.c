#include "common/text/tokenizer_folder.h"

#include "common/text/json_parts.h"
#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static json_t *read_object(const char *folder, const char *name)
{
    char *path = xasprintf("%s/%s", folder, name);
    json_t *value = file_exists(path) ? json_read_file(path) : json_object();
    if (!json_is_object(value))
        die(EX_DATAERR, "%s: not a JSON object", path);
    free(path);
    return value;
}

static void refuse_keys(const json_t *config, const char *path)
{
    static const char *const flags[] = {"split_special_tokens", "fix_mistral_regex"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (json_part_flag(config, flags[i], false, "tokenizer_config.json", path))
            die(EX_DATAERR, "%s: '%s' is not supported", path, flags[i]);
    const json_t *name, *map = json_object_get(config, "auto_map");
    if (json_is_array(map) || json_object_get(map, "AutoTokenizer"))
        die(EX_DATAERR,
            "%s: 'auto_map' asks for a tokenizer of the folder's own code, which is not run. "
            "--tokenizer with tokenizer.json itself reads the file alone",
            path);
    size_t i;
    json_array_foreach(json_object_get(config, "fast_tokenizer_files"), i, name)
    {
        if (!json_is_string(name) || strcmp(json_string_value(name), "tokenizer.json") != 0)
            die(EX_DATAERR, "%s: 'fast_tokenizer_files' names other files than tokenizer.json",
                path);
    }
}

static struct tokenizer_folder folder_read(const char *folder, const json_t *file)
{
    json_t *model = read_object(folder, "config.json");
    struct tokenizer_folder f = {
        .config_path = xasprintf("%s/tokenizer_config.json", folder),
        .config = read_object(folder, "tokenizer_config.json"),
        .added = read_object(folder, "added_tokens.json"),
        .special = read_object(folder, "special_tokens_map.json"),
    };
    refuse_keys(f.config, f.config_path);
    f.class = tokenizer_class_of(f.config, model, file, f.config_path);
    json_decref(model);
    return f;
}

static void folder_free(struct tokenizer_folder *f)
{
    free(f->config_path);
    json_decref(f->config);
    json_decref(f->added);
    json_decref(f->special);
}

/* ---- what becomes of tokenizer.json ---- */

static bool is_empty(const json_t *value)
{
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

/* Collects the keys whose values are others than they were. */
static void note_changes(const json_t *before, const json_t *now, const char *const *keys, size_t n,
                         json_t *changes)
{
    for (size_t i = 0; i < n; i++) {
        json_t *old = json_object_get(before, keys[i]), *new = json_object_get(now, keys[i]);
        if (!(is_empty(old) && is_empty(new)) && !json_equal(old, new))
            json_object_set(changes, keys[i], new);
    }
}

/* Both without what the vocabulary and merges take, which stay. */
static json_t *changes_since(const json_t *before, const json_t *model, const json_t *file)
{
    static const char *const parts[] = {"added_tokens", "normalizer", "pre_tokenizer"};
    static const char *const options[] = {"unk_token",
                                          "fuse_unk",
                                          "byte_fallback",
                                          "ignore_merges",
                                          "continuing_subword_prefix",
                                          "end_of_word_suffix",
                                          "dropout"};
    json_t *changes = json_object();
    note_changes(before, file, parts, sizeof parts / sizeof *parts, changes);
    note_changes(model, json_object_get(file, "model"), options, sizeof options / sizeof *options,
                 changes);
    return changes;
}

static uint64_t digest_of(const json_t *changes)
{
    char *text = json_text(changes, JSON_COMPACT | JSON_SORT_KEYS);
    uint64_t digest = XXH64(text, strlen(text), 0);
    free(text);
    return digest;
}

uint64_t tokenizer_folder_apply(const char *folder, json_t *file, const char *path)
{
    struct tokenizer_folder f = folder_read(folder, file);
    tokenizer_tokens_write_out(file, path);
    json_t *before = json_copy(file), *model = json_copy(json_object_get(file, "model"));
    uint64_t digest = 0;
    tokenizer_class_apply(&f, file);
    tokenizer_tokens_apply(&f, file, path);
    json_t *changes = changes_since(before, model, file), *value;
    const char *key;
    if (json_object_size(changes))
        digest = digest_of(changes);
    json_object_foreach(changes, key, value)
        inform("%s: '%s' is not the file's own, but %s", path, key,
               f.class && strcmp(key, "added_tokens") != 0 ? f.class->name
                                                           : "has what stands beside the file");
    json_decref(before);
    json_decref(model);
    json_decref(changes);
    folder_free(&f);
    return digest;
}

void tokenizer_folder_add_tokens(const char *folder, json_t *file, const char *path)
{
    struct tokenizer_folder f = folder_read(folder, file);
    tokenizer_tokens_apply(&f, file, path);
    folder_free(&f);
}
