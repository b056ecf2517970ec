/* The tokens that the files beside a tokenizer.json add to it, as transformers 5.24 adds them
 * (tokenization_utils_base.py, _from_pretrained(); tokenization_utils_tokenizers.py, __init__()).
 */
#include "common/text/json_parts.h"
#include "common/text/tokenizer_folder.h"
#include "common/text/tokenizer_parts.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

enum { ANY_ID = -1 };

/* Added tokens as they come: an object of {content: token}, in their order. */
struct additions {
    const struct tokenizer_folder *folder;
    const json_t *vocabulary;
    json_t *tokens;
    json_int_t next;        /* the id of the next token that the vocabulary lacks */
    json_t *names, *extras; /* special tokens: {role: value}, [value] */
    const char *path;       /* tokenizer.json */
};

static void set_flag(json_t *token, const char *key, bool value)
{
    json_object_set_new(token, key, json_boolean(value));
}

/* A token as tokenizer.json writes it. from: an object with its content and perhaps its flags, or
 * its content alone, which makes it a special one. */
static json_t *make_token(const json_t *from, const char *path)
{
    static const char role[] = "added token";
    static const char *const flags[] = {"single_word", "lstrip", "rstrip"};
    bool bare = json_is_string(from);
    const json_t *content = bare ? from : json_object_get(from, "content");
    if (!json_is_string(content) ||
        strlen(json_string_value(content)) != json_string_length(content))
        die(EX_DATAERR, "%s: an added token's content is no string or holds a NUL", path);
    bool special = bare || json_part_flag(from, "special", false, role, path);
    json_t *token = json_object();
    json_object_set(token, "content", (json_t *)content);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        set_flag(token, flags[i], !bare && json_part_flag(from, flags[i], false, role, path));
    set_flag(token, "special", special);
    set_flag(token, "normalized",
             bare ? false : json_part_flag(from, "normalized", !special, role, path));
    return token;
}

static const char *content_of(const json_t *token)
{
    return json_string_value(json_object_get(token, "content"));
}

/* Adds a token or, where there is one of its content, gives that the new flags; steals it. wanted:
 * the id that a file names. */
static void add(struct additions *a, json_t *token, json_int_t wanted, const char *path)
{
    const char *content = content_of(token);
    const json_t *there = json_object_get(a->vocabulary, content);
    if (!there)
        there = json_object_get(json_object_get(a->tokens, content), "id");
    json_int_t id = there ? json_integer_value(there) : a->next;
    if (*content == '\0') {
        json_decref(token);
        return;
    }
    if (wanted != ANY_ID && wanted != id)
        die(EX_DATAERR,
            "%s: the token '%s' has the id %lld, but transformers gives it %lld: the files of this "
            "folder do not belong together",
            path, content, (long long)wanted, (long long)id);
    if (id >= a->next)
        a->next = id + 1;
    json_object_set_new(token, "id", json_integer(id));
    json_object_set_new(a->tokens, content, token);
}

/* ---- what the files say ---- */

static const json_t *beside(const struct tokenizer_folder *f, const char *key)
{
    return json_object_get(f->config, key);
}

static int by_index(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    json_int_t i = json_integer_value(json_object_get(x, "id"));
    json_int_t k = json_integer_value(json_object_get(y, "id"));
    return (i > k) - (i < k);
}

/* Adds tokens that have an "id", the smallest first. */
static void add_by_index(struct additions *a, json_t *list, const char *path)
{
    size_t n = json_array_size(list);
    json_t **order = xreallocarray(NULL, n + 1, sizeof(json_t *));
    for (size_t i = 0; i < n; i++)
        order[i] = json_array_get(list, i);
    qsort(order, n, sizeof *order, by_index);
    for (size_t i = 0; i < n; i++) {
        const char *content = content_of(order[i]);
        bool named = false;
        const char *role;
        const json_t *value;
        json_object_foreach(a->names, role, value) named |= !strcmp(content_of(value), content);
        json_int_t id = json_integer_value(json_object_get(order[i], "id"));
        json_object_del(order[i], "id");
        json_t *before = json_copy(json_object_get(a->tokens, content));
        json_object_del(before, "id");
        /* A token that is new, or new in its flags, is special where it has a role. */
        if (named && !(before && json_equal(before, order[i])))
            set_flag(order[i], "special", true);
        json_decref(before);
        add(a, json_incref(order[i]), id, path);
    }
    free(order);
}

static json_int_t index_of(const char *text, const char *path)
{
    char *end;
    long index = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || index > LARGEST_TOKEN_ID)
        die(EX_DATAERR, "%s: added_tokens_decoder: '%s' is no token's id from 0 to %d", path, text,
            LARGEST_TOKEN_ID);
    return index;
}

/* tokenizer_config.json's added_tokens_decoder: {"ID": token}. */
static json_t *decoder_tokens(const struct additions *a, const json_t *decoder)
{
    json_t *list = json_array();
    const char *key, *path = a->folder->config_path;
    const json_t *value;
    json_object_foreach((json_t *)decoder, key, value)
    {
        if (!json_is_object(value))
            die(EX_DATAERR, "%s: added_tokens_decoder: '%s' is no object", path, key);
        json_t *token = make_token(value, path);
        json_object_set_new(token, "id", json_integer(index_of(key, path)));
        json_array_append_new(list, token);
    }
    return list;
}

static bool is_special(const struct additions *a, const char *content)
{
    const char *role;
    const json_t *value;
    size_t i;
    json_object_foreach(a->names, role, value) if (!strcmp(content_of(value), content)) return true;
    json_array_foreach(a->extras, i, value) if (!strcmp(content_of(value), content)) return true;
    return false;
}

/* Older folders: added_tokens.json, {content: id}; tokenizer.json's own tokens go before those of
 * their ids. */
static json_t *legacy_tokens(const struct additions *a, const json_t *own)
{
    json_t *by_id = json_object(), *list = json_array();
    const char *content, *key;
    json_t *value;
    size_t i;
    char id[32];
    json_object_foreach(a->folder->added, content, value)
    {
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            die(EX_DATAERR, "%s: added_tokens.json beside it gives '%s' no id", a->path, content);
        json_t *token = json_pack("{ss}", "content", content);
        set_flag(token, "special", is_special(a, content));
        json_t *whole = make_token(token, a->path);
        json_object_set(whole, "id", value);
        snprintf(id, sizeof id, "%lld", (long long)json_integer_value(value));
        json_object_set_new(by_id, id, whole);
        json_decref(token);
    }
    json_array_foreach(own, i, value)
    {
        json_t *whole = make_token(value, a->path);
        json_object_set(whole, "id", json_object_get(value, "id"));
        snprintf(id, sizeof id, "%lld",
                 (long long)json_integer_value(json_object_get(value, "id")));
        json_object_set_new(by_id, id, whole);
    }
    json_object_foreach(by_id, key, value) json_array_append(list, value);
    json_decref(by_id);
    return list;
}

/* ---- special tokens by their roles ---- */

/* A special token as a configuration file writes it: its content, or an object that says its type.
 * NULL: none. */
static json_t *role_token(const json_t *value, const char *role, bool typed, const char *path)
{
    if (!value || json_is_null(value))
        return NULL;
    bool object = json_is_object(value) && (!typed || json_object_get(value, "__type"));
    if (!json_is_string(value) && !object)
        die(EX_DATAERR, "%s: '%s' is neither a token's content nor an AddedToken", path, role);
    json_t *token = make_token(value, path);
    if (object)
        set_flag(token, "special", true);
    return token;
}

static void set_role(struct additions *a, const char *role, const json_t *value, bool typed)
{
    json_t *token = role_token(value, role, typed, a->folder->config_path);
    if (token)
        json_object_set_new(a->names, role, token);
    else
        json_object_del(a->names, role);
}

static void add_extras(struct additions *a, const json_t *list, const char *key, bool typed)
{
    const json_t *item;
    const char *role;
    size_t i;
    if (list && !json_is_array(list) && !json_is_object(list) && !json_is_null(list))
        die(EX_DATAERR, "%s: '%s' is no list", a->folder->config_path, key);
    json_array_foreach(list, i, item)
    {
        json_t *token = role_token(item, key, typed, a->folder->config_path);
        if (token)
            json_array_append_new(a->extras, token);
    }
    json_object_foreach((json_t *)list, role, item) set_role(a, role, item, typed);
}

static bool ends_with_token(const char *key)
{
    size_t n = strlen(key);
    return n > 6 && !strcmp(key + n - 6, "_token");
}

/* The roles of a class's own, of tokenizer_config.json and, in older folders, of
 * special_tokens_map.json. */
static void read_roles(struct additions *a, bool legacy)
{
    static const char *const roles[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    static const char extra[] = "extra_special_tokens", more[] = "additional_special_tokens";
    const struct tokenizer_folder *f = a->folder;
    json_t *of_class = f->class ? json_loads(f->class->tokens, 0, NULL) : json_object();
    const json_t *map = legacy ? f->special : NULL, *value;
    const char *key;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        set_role(a, roles[i], json_object_get(of_class, roles[i]), true);
        if ((value = beside(f, roles[i])))
            set_role(a, roles[i], value, true);
        if ((value = json_object_get(map, roles[i])))
            set_role(a, roles[i], value, false);
    }
    json_object_foreach(f->config, key, value)
    {
        bool token = json_is_string(value) || json_object_get(value, "__type");
        if (ends_with_token(key) && token && !json_object_get(a->names, key))
            set_role(a, key, value, true);
    }
    /* The newer key silences the older one, but not where it gives roles. */
    value = beside(f, extra);
    bool silent = json_array_size(value) > 0;
    add_extras(a, value, extra, true);
    add_extras(a, silent ? NULL : beside(f, more), more, true);
    add_extras(a, json_object_get(map, extra), extra, false);
    add_extras(a, silent ? NULL : json_object_get(map, more), more, true);
    json_decref(of_class);
}

/* Those that no file has. Of several roles of one token the last has its flags. */
static void add_roles(struct additions *a)
{
    json_t *before = json_copy(a->tokens), *value;
    const char *role;
    size_t i;
    json_object_foreach(a->names, role, value)
    {
        if (!json_object_get(before, content_of(value)))
            add(a, json_copy(value), ANY_ID, a->path);
    }
    json_array_foreach(a->extras, i, value)
    {
        if (!json_object_get(before, content_of(value)))
            add(a, json_copy(value), ANY_ID, a->path);
    }
    json_decref(before);
}

/* Qwen2Tokenizer adds its special tokens once more, as plain ones. */
static void add_plain(struct additions *a)
{
    const char *role;
    json_t *value;
    size_t i;
    if (!a->folder->class || strcmp(a->folder->class->name, "Qwen2Tokenizer") != 0)
        return;
    json_object_foreach(a->names, role, value)
        add(a, make_token(json_object_get(value, "content"), a->path), ANY_ID, a->path);
    json_array_foreach(a->extras, i, value)
        add(a, make_token(json_object_get(value, "content"), a->path), ANY_ID, a->path);
}

void tokenizer_tokens_write_out(json_t *file, const char *path)
{
    const json_t *own = json_object_get(file, "added_tokens"), *token;
    json_t *list = json_array();
    size_t i;
    json_array_foreach(own, i, token)
    {
        json_t *whole = make_token(token, path), *id = json_object_get(token, "id");
        if (!json_is_integer(id))
            die(EX_DATAERR, "%s: the added token '%s' has no id", path, content_of(whole));
        json_object_set(whole, "id", id);
        json_array_append_new(list, whole);
    }
    json_object_set_new(file, "added_tokens", list);
}

/* tokenizer.json's own tokens, as its library adds them. */
static void add_own(struct additions *a, const json_t *own)
{
    json_t *token;
    size_t i;
    json_array_foreach(own, i, token)
        add(a, json_copy(token), json_integer_value(json_object_get(token, "id")), a->path);
}

static json_t *list_of(json_t *tokens)
{
    json_t *list = json_array(), *token;
    const char *content;
    json_object_foreach(tokens, content, token) json_array_append(list, token);
    return list;
}

void tokenizer_tokens_apply(const struct tokenizer_folder *f, json_t *file, const char *path)
{
    const json_t *own = json_object_get(file, "added_tokens");
    const json_t *decoder = beside(f, "added_tokens_decoder");
    struct additions a = {
        .folder = f,
        .vocabulary = json_object_get(json_object_get(file, "model"), "vocab"),
        .tokens = json_object(),
        .names = json_object(),
        .extras = json_array(),
        .path = path,
    };
    a.next = (json_int_t)json_object_size(a.vocabulary);
    read_roles(&a, !decoder);
    if (!f->class)
        add_own(&a, own);
    json_t *more = decoder ? decoder_tokens(&a, decoder) : legacy_tokens(&a, own);
    add_by_index(&a, more, decoder ? f->config_path : path);
    add_roles(&a);
    add_plain(&a);
    json_object_set_new(file, "added_tokens", list_of(a.tokens));
    json_decref(more);
    json_decref(a.tokens);
    json_decref(a.names);
    json_decref(a.extras);
}
