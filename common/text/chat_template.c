#include "common/text/chat_template.h"

#include "common/text/chat_template_parts.h"
#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/gguf.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char config_name[] = "tokenizer_config.json";

/* folder/name where that exists, else NULL. The caller frees it. */
static char *existing(const char *folder, const char *name)
{
    char *path = xasprintf("%s/%s", folder, name);
    if (file_exists(path))
        return path;
    free(path);
    return NULL;
}

/* A file's JSON; NULL where there is no such file. */
static json_t *json_of(const char *folder, const char *name)
{
    char *path = existing(folder, name);
    if (!path)
        return NULL;
    json_t *json = json_read_file(path);
    if (!json_is_object(json))
        die(EX_DATAERR, "%s: a JSON object is wanted", path);
    free(path);
    return json;
}

/* ---- the template ---- */

void chat_template_parse(struct chat_template *c, const char *source, size_t len)
{
    char *error;
    c->template = jinja_parse(source, len, &error);
    if (!c->template)
        die(EX_DATAERR, "%s: %s", c->file, error);
}

static bool read_file(struct chat_template *c, const char *folder, const char *name)
{
    c->file = existing(folder, name);
    if (!c->file)
        return false;
    struct buf source = {0};
    file_read(c->file, &source);
    chat_template_parse(c, source.data, source.len);
    buf_free(&source);
    return true;
}

static void refuse_others(const char *folder)
{
    char *pattern = xasprintf("%s/additional_chat_templates/*.jinja", folder);
    glob_t found;
    if (!glob(pattern, 0, NULL, &found))
        die(EX_DATAERR,
            "%s: a chat template for a purpose; the one for all is wanted, as chat_template.jinja "
            "in %s",
            found.gl_pathv[0], folder);
    free(pattern);
}

/* A chat_template's text: a string, or that of the name "default". */
static const json_t *default_template(const json_t *value)
{
    const json_t *one;
    size_t i;
    json_array_foreach(value, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name && !strcmp(name, "default"))
            return json_object_get(one, "template");
    }
    return json_is_object(value) ? json_object_get(value, "default") : value;
}

static bool read_key(struct chat_template *c, const char *folder, const char *name)
{
    json_t *file = json_of(folder, name);
    const json_t *value = json_object_get(file, "chat_template");
    bool there = value && !json_is_null(value);
    if (there) {
        const json_t *source = default_template(value);
        c->file = xasprintf("%s/%s: chat_template", folder, name);
        if (!json_is_string(source))
            die(EX_DATAERR, "%s: neither a string nor a list that holds one by the name 'default'",
                c->file);
        chat_template_parse(c, json_string_value(source), json_string_length(source));
    }
    json_decref(file);
    return there;
}

static void read_template(struct chat_template *c, const char *folder)
{
    if (read_file(c, folder, "additional_chat_templates/default.jinja") ||
        read_file(c, folder, "chat_template.jinja"))
        return;
    refuse_others(folder);
    if (read_key(c, folder, config_name) || read_key(c, folder, "chat_template.json"))
        return;
    die(EX_NOINPUT,
        "%s: holds no chat template (chat_template.jinja, or a key of %s): it is not a model for "
        "chats; use one that is, or the task's layout \"plain\"",
        folder, config_name);
}

/* ---- special tokens ---- */

static void set_token(struct chat_template *c, const char *folder, const char *file,
                      const char *name, const json_t *value)
{
    const json_t *content = json_is_object(value) ? json_object_get(value, "content") : value;
    if (!json_is_string(content) && !json_is_null(content))
        die(EX_DATAERR, "%s/%s: key '%s' is no token", folder, file, name);
    json_object_set(c->tokens, name, (json_t *)content);
}

static void read_tokens(struct chat_template *c, const char *folder)
{
    static const char map_name[] = "special_tokens_map.json";
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    json_t *config = json_of(folder, config_name), *map = NULL;
    if (!json_object_get(config, "added_tokens_decoder")) /* as older folders have it */
        map = json_of(folder, map_name);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *in_map = json_object_get(map, names[i]);
        const json_t *in_config = json_object_get(config, names[i]);
        if (in_map)
            set_token(c, folder, map_name, names[i], in_map);
        else if (in_config)
            set_token(c, folder, config_name, names[i], in_config);
        else if (jinja_names(c->template, names[i]))
            die(EX_DATAERR,
                "%s/%s: does not say '%s', for which the chat template asks; add it (null: there "
                "is none)",
                folder, config_name, names[i]);
    }
    json_decref(config);
    json_decref(map);
}

/* Whether the folder says by itself what a GGUF file in it may say as well. */
static bool has_own(const char *folder)
{
    char *template = existing(folder, "chat_template.jinja");
    char *config = existing(folder, config_name);
    bool own = template || config;
    free(template);
    free(config);
    return own;
}

struct chat_template *chat_template_read(const char *folder)
{
    struct stat st;
    struct chat_template *c = xcalloc(1, sizeof *c);
    if (stat(folder, &st))
        die_errno("%s", folder);
    char *gguf = has_own(folder) ? NULL : gguf_of_model(folder);
    if (gguf) {
        chat_template_gguf_read(c, gguf);
        free(gguf);
        return c;
    }
    if (!S_ISDIR(st.st_mode))
        die(EX_NOINPUT, "%s: not a folder; chat templates are read from a model's folder", folder);
    read_template(c, folder);
    c->tokens = json_object();
    read_tokens(c, folder);
    return c;
}

void chat_template_free(struct chat_template *c)
{
    if (!c)
        return;
    jinja_free(c->template);
    json_decref(c->tokens);
    free(c->file);
    free(c);
}
