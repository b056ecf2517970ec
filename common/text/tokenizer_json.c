/* Reading Hugging Face's tokenizer.json. Truncation and padding in it are settings of a call, which
 * the call's caller makes; they are not looked at. */
#include "common/text/json_parts.h"
#include "common/text/tokenizer_folder.h"
#include "common/text/tokenizer_parts.h"
#include "common/text/unicode.h"
#include "common/util/diag.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the model ---- */

static int32_t read_id(const json_t *value, const char *token, const char *path)
{
    json_int_t id = json_integer_value(value);
    if (!json_is_integer(value) || id < 0 || id > LARGEST_TOKEN_ID)
        die(EX_DATAERR, "%s: the token '%s' has no id from 0 to %d", path, token, LARGEST_TOKEN_ID);
    return (int32_t)id;
}

static void read_vocabulary(struct bpe *bpe, json_t *vocabulary, const char *path)
{
    const char *token;
    json_t *value;
    if (!json_is_object(vocabulary) || json_object_size(vocabulary) == 0)
        die(EX_DATAERR, "%s: the model has no vocabulary", path);
    json_object_foreach(vocabulary, token, value)
    {
        int32_t id = read_id(value, token, path);
        if (!bpe_add_token(bpe, token, strlen(token), id))
            die(EX_DATAERR, "%s: the token '%s' has the id %d of another one", path, token, id);
    }
}

struct half {
    const char *s;
    size_t len;
};

/* A merge is "LEFT RIGHT" or, since tokens may hold spaces, ["LEFT", "RIGHT"]. */
static bool split_merge(const json_t *merge, struct half half[2])
{
    if (json_is_string(merge)) {
        const char *s = json_string_value(merge), *space = strchr(s, ' ');
        if (!space || strchr(space + 1, ' '))
            return false;
        half[0] = (struct half){s, (size_t)(space - s)};
        half[1] = (struct half){space + 1, strlen(space + 1)};
        return true;
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *part = json_array_get(merge, i);
        half[i] = (struct half){json_string_value(part), json_string_length(part)};
        if (!half[i].s)
            return false;
    }
    return json_array_size(merge) == 2;
}

static void read_merges(struct bpe *bpe, const json_t *merges, size_t prefix_len, const char *path)
{
    const json_t *merge;
    size_t rank;
    struct buf joined = {0};
    if (!json_is_array(merges))
        die(EX_DATAERR, "%s: the model has no merges", path);
    json_array_foreach(merges, rank, merge)
    {
        struct half half[2];
        if (!split_merge(merge, half))
            die(EX_DATAERR, "%s: merge %zu is not a pair of tokens", path, rank);
        int32_t left = bpe_find(bpe, half[0].s, half[0].len);
        int32_t right = bpe_find(bpe, half[1].s, half[1].len);
        joined.len = 0;
        buf_add(&joined, half[0].s, half[0].len);
        if (half[1].len > prefix_len)
            buf_add(&joined, half[1].s + prefix_len, half[1].len - prefix_len);
        int32_t merged = joined.len ? bpe_find(bpe, joined.data, joined.len) : NO_TOKEN;
        if (left == NO_TOKEN || right == NO_TOKEN || merged == NO_TOKEN)
            die(EX_DATAERR,
                "%s: merge %zu ('%.*s' and '%.*s') has a side or a result that is no token", path,
                rank, (int)half[0].len, half[0].s, (int)half[1].len, half[1].s);
        bpe_add_merge(bpe, left, right, merged, (uint32_t)rank);
    }
    buf_free(&joined);
}

static const char *optional_string(const json_t *model, const char *key)
{
    return json_string_value(json_object_get(model, key));
}

static void read_model(struct tokenizer *t, const json_t *model)
{
    const char *type = optional_string(model, "type"), *path = t->path;
    /* Files from before "type" was written: merges are what only BPE has. */
    if (!type)
        type = json_object_get(model, "merges") ? "BPE" : "";
    if (strcmp(type, "BPE"))
        json_part_refuse("model", type, path);
    const json_t *dropout = json_object_get(model, "dropout");
    if (json_number_value(dropout) != 0)
        die(EX_DATAERR, "%s: the model's dropout is not supported", path);

    t->bpe = bpe_new();
    read_vocabulary(t->bpe, json_object_get(model, "vocab"), path);
    struct bpe_options options = {
        .unknown = NO_TOKEN,
        .fuse_unknown = json_part_flag(model, "fuse_unk", false, type, path),
        .byte_fallback = json_part_flag(model, "byte_fallback", false, type, path),
        .ignore_merges = json_part_flag(model, "ignore_merges", false, type, path),
        .byte_level = pretokenizer_is_byte_level(t->pretokenizer),
        .continuing_prefix = optional_string(model, "continuing_subword_prefix"),
        .suffix = optional_string(model, "end_of_word_suffix"),
    };
    const char *unknown = optional_string(model, "unk_token");
    if (unknown) {
        options.unknown = bpe_find(t->bpe, unknown, strlen(unknown));
        if (options.unknown == NO_TOKEN)
            die(EX_DATAERR, "%s: the unk_token '%s' is not in the vocabulary", path, unknown);
    }
    bpe_set_options(t->bpe, &options);
    size_t prefix_len = options.continuing_prefix ? strlen(options.continuing_prefix) : 0;
    read_merges(t->bpe, json_object_get(model, "merges"), prefix_len, path);
    bpe_ready(t->bpe);
}

/* ---- added tokens ---- */

/* normalized tokens are looked for in normalized text, so in their own normalized form. */
static void add_to_search(struct tokenizer *t, const char *content, size_t len, bool normalized,
                          struct added_token token)
{
    if (!normalized) {
        added_tokens_add(t->raw, content, len, token);
        return;
    }
    struct piece piece = {content, len, NO_TOKEN, true};
    normalize(t->normalizer, &t->arena, &piece);
    if (piece.len == 0)
        die(EX_DATAERR, "%s: of the added token '%s' the normalizer leaves nothing", t->path,
            content);
    added_tokens_add(t->normalized, piece.s, piece.len, token);
    arena_reset(&t->arena);
}

static void read_added_tokens(struct tokenizer *t, const json_t *list, int32_t words)
{
    static const char role[] = "added token";
    const char *path = t->path;
    const json_t *item;
    size_t i;
    int32_t next = words; /* the id that the library gives to one that the vocabulary lacks */
    json_array_foreach(list, i, item)
    {
        size_t len;
        char *content = json_part_string(item, "content", role, path, &len);
        int32_t id = read_id(json_object_get(item, "id"), content, path);
        int32_t known = bpe_find(t->bpe, content, len);
        const char *other = bpe_token(t->bpe, id, NULL);
        if ((known != NO_TOKEN && known != id) || (known == NO_TOKEN && other) ||
            !string_table_add(t->added, content, len, id))
            die(EX_DATAERR, "%s: the added token '%s' has the id %d, which is not its own", path,
                content, id);
        if (known == NO_TOKEN && id != next)
            die(EX_DATAERR,
                "%s: the added token '%s' has the id %d, but the library gives it %d: tokens are "
                "missing before it",
                path, content, id, next);
        next = id >= next ? id + 1 : next;
        struct added_token token = {
            .id = id,
            .single_word = json_part_flag(item, "single_word", false, role, path),
            .lstrip = json_part_flag(item, "lstrip", false, role, path),
            .rstrip = json_part_flag(item, "rstrip", false, role, path),
        };
        bool special = json_part_flag(item, "special", false, role, path);
        add_to_search(t, content, len, json_part_flag(item, "normalized", !special, role, path),
                      token);
        free(content);
    }
    int32_t added = string_table_size(t->added), model = bpe_size(t->bpe);
    t->size = added > model ? added : model;
    t->is_special = xcalloc((size_t)t->size, sizeof *t->is_special);
    json_array_foreach(list, i, item)
    {
        if (json_is_true(json_object_get(item, "special")))
            t->is_special[json_integer_value(json_object_get(item, "id"))] = true;
    }
}

/* ---- the post-processor ---- */

static void add_template_token(struct tokenizer *t, const json_t *template, const char *name,
                               struct ids *to)
{
    const json_t *specials = json_object_get(template, "special_tokens");
    const json_t *ids = json_object_get(json_object_get(specials, name), "ids"), *id;
    size_t i;
    if (json_array_size(ids) == 0)
        die(EX_DATAERR, "%s: TemplateProcessing: the special token '%s' has no ids", t->path, name);
    json_array_foreach(ids, i, id) ids_add(to, read_id(id, name, t->path));
}

static void read_template(struct tokenizer *t, const json_t *template)
{
    struct ids before = {0}, after = {0};
    const json_t *part;
    size_t i;
    bool seen = false;
    json_array_foreach(json_part_array(template, "single", "TemplateProcessing", t->path), i, part)
    {
        const json_t *special = json_object_get(part, "SpecialToken");
        const char *name = json_string_value(json_object_get(special, "id"));
        if (name) {
            add_template_token(t, template, name, seen ? &after : &before);
        } else if (json_object_get(part, "Sequence") && !seen) {
            seen = true;
        } else {
            die(EX_DATAERR, "%s: TemplateProcessing: 'single' is not tokens around one text",
                t->path);
        }
    }
    /* The library then goes by the second one's template for pairs. */
    if (after.len && t->after.len)
        json_part_refuse("post-processor",
                         "a second TemplateProcessing with tokens behind the text", t->path);
    /* Processors in a sequence wrap what those before them made. */
    ids_append(&before, t->before.data, t->before.len);
    ids_append(&t->after, after.data, after.len);
    ids_free(&t->before);
    ids_free(&after);
    t->before = before;
}

static void read_post_processor(struct tokenizer *t, const json_t *value)
{
    if (!value || json_is_null(value))
        return;
    const char *type = json_part_type(value, "post-processor", t->path);
    if (!strcmp(type, "TemplateProcessing")) {
        read_template(t, value);
    } else if (!strcmp(type, "Sequence")) {
        const json_t *part;
        size_t i;
        json_array_foreach(json_part_array(value, "processors", type, t->path), i, part)
            read_post_processor(t, part);
    } else if (strcmp(type, "ByteLevel")) { /* ByteLevel only trims offsets */
        json_part_refuse("post-processor", type, t->path);
    }
}

void tokenizer_json_read(struct tokenizer *t, const char *bytes, size_t len, const char *folder)
{
    json_error_t error;
    json_t *file = json_loadb(bytes, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!file)
        die(EX_DATAERR, "%s: line %d, column %d: %s", t->path, error.line, error.column,
            error.text);
    if (!json_object_get(file, "model"))
        die(EX_DATAERR, "%s: no model: not a tokenizer.json", t->path);
    uint64_t changes = folder ? tokenizer_folder_apply(folder, file, t->path) : 0;
    if (changes)
        snprintf(t->digest + strlen(t->digest), sizeof t->digest - strlen(t->digest),
                 "+%016" PRIx64, changes);
    t->normalizer = normalizer_from_json(json_object_get(file, "normalizer"), t->path);
    t->pretokenizer = pretokenizer_from_json(json_object_get(file, "pre_tokenizer"), t->path);
    t->decoder = decoder_from_json(json_object_get(file, "decoder"), t->path);
    read_model(t, json_object_get(file, "model"));
    json_t *vocabulary = json_object_get(json_object_get(file, "model"), "vocab");
    read_added_tokens(t, json_object_get(file, "added_tokens"),
                      (int32_t)json_object_size(vocabulary));
    read_post_processor(t, json_object_get(file, "post_processor"));
    json_decref(file);
}
