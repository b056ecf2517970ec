/* Which class of transformers reads a folder, and what it makes of tokenizer.json:
 * transformers 5.24, models/auto/tokenization_auto.py and models/NAME/tokenization_NAME.py. */
#include "common/text/json_parts.h"
#include "common/text/tokenizer_folder.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

static const struct tokenizer_class classes[] = {
    {"LlamaTokenizer",
     "{\"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, "
     "\"end_of_word_suffix\": null, \"fuse_unk\": true, \"byte_fallback\": true, "
     "\"ignore_merges\": false}",
     "{\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": "
     "\"\\u2581\", \"prepend_scheme\": \"first\", \"split\": false}, \"decoder\": {\"type\": "
     "\"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"\\u2581\"}, "
     "\"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": "
     "\"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}}",
     "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"unk_token\": \"<unk>\"}"},
    {"GPT2Tokenizer",
     "{\"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": \"\", "
     "\"end_of_word_suffix\": \"\", \"fuse_unk\": false, \"byte_fallback\": false, "
     "\"ignore_merges\": false}",
     "{\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": "
     "false, \"trim_offsets\": true, \"use_regex\": true}, \"decoder\": {\"type\": \"ByteLevel\", "
     "\"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true}}",
     "{\"bos_token\": \"<|endoftext|>\", \"eos_token\": \"<|endoftext|>\", \"unk_token\": "
     "\"<|endoftext|>\"}"},
    {"Qwen2Tokenizer",
     "{\"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": \"\", "
     "\"end_of_word_suffix\": \"\", \"fuse_unk\": false, \"byte_fallback\": false, "
     "\"ignore_merges\": false}",
     "{\"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"Sequence\", "
     "\"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": "
     "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "
     "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, "
     "\"behavior\": \"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\", "
     "\"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": false}]}, \"decoder\": "
     "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": "
     "true}}",
     "{\"eos_token\": \"<|endoftext|>\", \"unk_token\": \"<|endoftext|>\", \"pad_token\": "
     "\"<|endoftext|>\"}"},
    {"GemmaTokenizer",
     "{\"dropout\": null, \"unk_token\": \"<unk>\", \"continuing_subword_prefix\": null, "
     "\"end_of_word_suffix\": null, \"fuse_unk\": true, \"byte_fallback\": true, "
     "\"ignore_merges\": false}",
     "{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": "
     "\"\\u2581\"}, \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \" \"}, "
     "\"behavior\": \"MergedWithPrevious\", \"invert\": false}, \"decoder\": {\"type\": "
     "\"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"\\u2581\"}, "
     "\"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}]}}",
     "{\"bos_token\": \"<bos>\", \"eos_token\": \"<eos>\", \"unk_token\": \"<unk>\", "
     "\"pad_token\": \"<pad>\", \"mask_token\": \"<mask>\"}"},
};

/* Classes that take tokenizer.json as it stands; transformers has other names for some of them. */
static const char *const plain[] = {"TokenizersBackend", "PreTrainedTokenizerFast",
                                    "PreTrainedTokenizer", "BloomTokenizer"};

/* The class that transformers has for a model_type; none for those that are not here. trusted: the
 * type's own class goes before the one that tokenizer_config.json names. */
static const struct model_class {
    const char *model_type, *class;
    bool trusted;
} model_classes[] = {
    {"mistral", "TokenizersBackend", false},    {"ministral", "TokenizersBackend", false},
    {"ministral3", "TokenizersBackend", false}, {"mistral3", "TokenizersBackend", false},
    {"mixtral", "TokenizersBackend", false},    {"phi3", "TokenizersBackend", true},
    {"granite", "TokenizersBackend", false},    {"olmo2", "TokenizersBackend", false},
    {"olmo3", "TokenizersBackend", false},      {"qwen2", "Qwen2Tokenizer", true},
    {"qwen3", "Qwen2Tokenizer", false},         {"gemma", "GemmaTokenizer", false},
    {"gemma2", "GemmaTokenizer", false},        {"gemma3", "GemmaTokenizer", false},
    {"gemma3_text", "GemmaTokenizer", false},
};

static bool is_mistral(const struct model_class *m)
{
    return m && strstr(m->model_type, "istral");
}

static const struct tokenizer_class *find_class(const char *name, const char *path)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (!strcmp(classes[i].name, name))
            return &classes[i];
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (!strcmp(plain[i], name))
            return NULL;
    die(EX_DATAERR,
        "%s: the tokenizer_class '%s' is not supported: it may read tokenizer.json otherwise than "
        "it stands. --tokenizer with tokenizer.json itself reads the file alone",
        path, name);
}

static bool holds_byte_level(const json_t *value)
{
    const char *key;
    json_t *part;
    size_t i;
    json_object_foreach((json_t *)value, key, part) if (holds_byte_level(part)) return true;
    json_array_foreach(value, i, part) if (holds_byte_level(part)) return true;
    return json_is_string(value) && !strcmp(json_string_value(value), "ByteLevel");
}

static bool is_byte_level(const json_t *file)
{
    return holds_byte_level(json_object_get(file, "pre_tokenizer")) ||
           holds_byte_level(json_object_get(file, "post_processor")) ||
           holds_byte_level(json_object_get(file, "decoder"));
}

/* The class as AutoTokenizer.from_pretrained() chooses it. named: the class that the folder names,
 * without "Fast", or NULL. */
static const struct tokenizer_class *choose(const char *model_type, const char *named,
                                            const json_t *file, const char *path)
{
    const struct model_class *m = NULL;
    for (size_t i = 0; model_type && i < sizeof model_classes / sizeof *model_classes; i++)
        if (!strcmp(model_classes[i].model_type, model_type))
            m = &model_classes[i];
    if (named && !strcmp(named, "LlamaTokenizer") && !is_mistral(m) && !(m && m->trusted) &&
        is_byte_level(file))
        return NULL;
    if (!m)
        return named ? find_class(named, path) : NULL;
    if (!named || m->trusted || !strcmp(m->class, "TokenizersBackend"))
        return find_class(m->class, path);
    return find_class(named, path);
}

const struct tokenizer_class *tokenizer_class_of(const json_t *config, const json_t *model,
                                                 const json_t *file, const char *path)
{
    const json_t *name = json_object_get(config, "tokenizer_class");
    if (!name || json_is_null(name))
        name = json_object_get(model, "tokenizer_class");
    char *named = json_is_string(name) ? xstrdup(json_string_value(name)) : NULL;
    size_t len = named ? strlen(named) : 0;
    if (len > 4 && !strcmp(named + len - 4, "Fast") &&
        strcmp(named, "PreTrainedTokenizerFast") != 0)
        named[len - 4] = '\0';
    const struct tokenizer_class *class =
        choose(json_string_value(json_object_get(model, "model_type")), named, file, path);
    free(named);
    return class;
}

/* ---- a class's parts ---- */

static json_t *own(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);
    if (!value)
        die(EX_OSERR, "out of memory");
    return value;
}

/* LlamaTokenizer: legacy and add_prefix_space say where a space is put before a text. */
static void set_metaspace(const struct tokenizer_folder *f, json_t *parts)
{
    static const char config[] = "tokenizer_config.json";
    json_t *metaspace = json_object_get(parts, "pre_tokenizer");
    if (!json_part_flag(f->config, "add_prefix_space", true, config, f->config_path)) {
        json_object_set_new(metaspace, "prepend_scheme", json_string("never"));
        json_t *steps = json_object_get(json_object_get(parts, "decoder"), "decoders");
        json_array_remove(steps, json_array_size(steps) - 1);
    } else if (json_part_flag(f->config, "legacy", false, config, f->config_path)) {
        json_object_set_new(metaspace, "prepend_scheme", json_string("always"));
    }
}

static void set_prefix_space(const struct tokenizer_folder *f, json_t *byte_level)
{
    bool prefix = json_part_flag(f->config, "add_prefix_space", false, "tokenizer_config.json",
                                 f->config_path);
    json_object_set_new(byte_level, "add_prefix_space", json_boolean(prefix));
}

void tokenizer_class_apply(const struct tokenizer_folder *f, json_t *file)
{
    if (!f->class)
        return;
    json_t *parts = own(f->class->parts), *model = own(f->class->model);
    json_t *pre = json_object_get(parts, "pre_tokenizer");
    const char *type = json_string_value(json_object_get(pre, "type"));
    const json_t *unknown = json_object_get(f->config, "unk_token");
    if (!strcmp(type, "Metaspace"))
        set_metaspace(f, parts);
    else if (!strcmp(type, "ByteLevel"))
        set_prefix_space(f, pre);
    else if (!strcmp(type, "Sequence"))
        set_prefix_space(f, json_array_get(json_object_get(pre, "pretokenizers"), 1));
    if (json_is_string(json_object_get(model, "unk_token")) && json_is_string(unknown))
        json_object_set(model, "unk_token", (json_t *)unknown);
    json_object_update(file, parts);
    json_object_update(json_object_get(file, "model"), model);
    json_decref(parts);
    json_decref(model);
}
