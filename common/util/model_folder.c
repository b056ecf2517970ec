#include "common/util/model_folder.h"

#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* ---- where it is ---- */

/* ORGANISATION/NAME, as huggingface.co names models. */
static bool is_hub_name(const char *path)
{
    const char *slash = strchr(path, '/');
    if (!slash || slash == path || !slash[1] || strchr(slash + 1, '/') || *path == '.' ||
        *path == '~')
        return false;
    for (; *path; path++)
        if (!isalnum((unsigned char)*path) && !strchr("-_./", *path))
            return false;
    return true;
}

/* The revision that refs/main names, or NULL. */
static char *main_revision(const char *folder)
{
    char *path = xasprintf("%s/refs/main", folder), name[128] = "";
    if (!file_exists(path)) {
        free(path);
        return NULL;
    }
    FILE *f = file_open(path);
    bool read = fgets(name, sizeof name, f);
    file_close(f, path);
    free(path);
    name[strcspn(name, "\r\n")] = '\0';
    return read && *name && !strchr(name, '/') ? xstrdup(name) : NULL;
}

/* The only folder in snapshots/, or NULL; *n receives how many there are. */
static char *only_snapshot(const char *snapshots, size_t *n)
{
    char *name = NULL;
    const char *found;
    DIR *d = folder_open(snapshots);
    *n = 0;
    while ((found = folder_next(d, snapshots))) {
        if (*found == '.')
            continue;
        ++*n;
        free(name);
        name = xstrdup(found);
    }
    folder_close(d);
    if (*n == 1)
        return name;
    free(name);
    return NULL;
}

static char *snapshot_in(const char *folder, const char *snapshots)
{
    size_t n;
    char *revision = main_revision(folder);
    if (revision && !file_exists_in(snapshots, revision)) {
        free(revision);
        revision = NULL;
    }
    if (!revision)
        revision = only_snapshot(snapshots, &n);
    if (!revision)
        die(EX_NOINPUT,
            "%s: a cache folder with %zu snapshots and none that is the main one: name "
            "one of the folders in %s",
            folder, n, snapshots);
    char *path = xasprintf("%s/%s", snapshots, revision);
    inform("%s: a cache folder; its snapshot %s is read", folder, revision);
    free(revision);
    return path;
}

char *model_folder_find(const char *path)
{
    if (access(path, F_OK) && errno == ENOENT && is_hub_name(path))
        die(EX_NOINPUT,
            "%s: no such folder here. If it is a model of huggingface.co, download it and name its "
            "folder: hf download %s --local-dir %s",
            path, path, strchr(path, '/') + 1);
    char *snapshots = xasprintf("%s/snapshots", path);
    char *found = is_folder(snapshots) && !file_exists_in(path, "config.json")
                      ? snapshot_in(path, snapshots)
                      : xstrdup(path);
    free(snapshots);
    return found;
}

/* ---- what it holds instead ---- */

struct sign {
    const char *pattern; /* of a name in the folder */
    const char *message; /* "%s": the folder */
};

#define SAVE                                                                                       \
    "python3 -c \"from transformers import AutoModelForCausalLM as M; "                            \
    "M.from_pretrained('%s').save_pretrained('NEW-FOLDER')\""
#define SAVE_TOKENIZER                                                                             \
    "python3 -c \"from transformers import AutoTokenizer as T; "                                   \
    "T.from_pretrained('%s').save_pretrained('NEW-FOLDER')\""
#define MISTRAL_FORMAT                                                                             \
    "%s: a model in Mistral's own format (params.json, consolidated.safetensors), which is not "   \
    "read. Wanted are config.json, model*.safetensors and tokenizer.json, which its repository "   \
    "has as well: hf download REPOSITORY --exclude 'consolidated*' --local-dir FOLDER"
#define PICKLES                                                                                    \
    "%s: its weights are PyTorch pickles, which can run code when read; convert them: " SAVE
#define ONNX                                                                                       \
    "%s: an ONNX export, which is not read: the model's own folder is, with config.json and "      \
    "model*.safetensors"
#define OTHER_FRAMEWORK "%s: its weights are another framework's; only model*.safetensors are read"

#define GGUF                                                                                       \
    "%s: holds config.json, but no model*.safetensors: to take a GGUF file in it, name that file"

static const struct sign without_config[] = {{"params.json", MISTRAL_FORMAT},
                                             {"consolidated*", MISTRAL_FORMAT},
                                             {"*.onnx", ONNX},
                                             {"onnx", ONNX},
                                             {"pytorch_model*.bin", PICKLES},
                                             {NULL, NULL}};

static const struct sign without_weights[] = {{"consolidated*.safetensors", MISTRAL_FORMAT},
                                              {"pytorch_model*.bin*", PICKLES},
                                              {"*.pth", PICKLES},
                                              {"*.onnx", ONNX},
                                              {"onnx", ONNX},
                                              {"tf_model.h5", OTHER_FRAMEWORK},
                                              {"flax_model.msgpack", OTHER_FRAMEWORK},
                                              {"*.gguf", GGUF},
                                              {NULL, NULL}};

static const struct sign without_tokenizer[] = {
    {"tekken.json", "%s: its tokenizer is Mistral's tekken.json, which is not read; with "
                    "mistral-common installed this converts it: " SAVE_TOKENIZER},
    {"*tiktoken*",
     "%s: its tokenizer is a tiktoken file, which is not read; wanted is a "
     "tokenizer.json, which transformers writes where it knows the model: " SAVE_TOKENIZER},
    {"vocab.json", "%s: its tokenizer is in vocab.json and merges.txt, which are not read; convert "
                   "it: " SAVE_TOKENIZER},
    {"params.json", MISTRAL_FORMAT},
    {"adapter_config.json", "%s: holds no tokenizer.json and no tokenizer.model: an adapter's "
                            "tokenizer is its base model's; give that model's folder"},
    {NULL, NULL}};

/* The first sign that stands in the folder, or NULL. */
static const struct sign *find_sign(const char *folder, const struct sign *signs)
{
    for (; signs->pattern; signs++) {
        const char *name;
        bool found = false;
        DIR *d = folder_open(folder);
        while (!found && (name = folder_next(d, folder)))
            found = !fnmatch(signs->pattern, name, 0);
        folder_close(d);
        if (found)
            return signs;
    }
    return NULL;
}

static void refuse(const char *folder, const struct sign *signs)
{
    const struct sign *sign = find_sign(folder, signs);
    if (!sign)
        return;
    struct buf text = {0};
    const char *at = sign->message, *place;
    while ((place = strstr(at, "%s"))) {
        buf_add(&text, at, (size_t)(place - at));
        buf_addf(&text, "%s", folder);
        at = place + 2;
    }
    buf_addf(&text, "%s", at);
    die(EX_DATAERR, "%s", buf_str(&text));
}

/* A PEFT adapter, which says what it was made of. */
static void refuse_adapter(const char *folder)
{
    if (!file_exists_in(folder, "adapter_config.json"))
        return;
    char *path = xasprintf("%s/adapter_config.json", folder);
    json_t *config = json_read_file(path);
    const char *base = json_string_value(json_object_get(config, "base_model_name_or_path"));
    die(EX_DATAERR,
        "%s: a PEFT adapter, not a model: give its base model%s%s as --model, and this folder as "
        "--adapter",
        folder, base ? ", " : "", base ? base : "");
}

void model_folder_without_config(const char *folder)
{
    struct stat st;
    if (!stat(folder, &st) && S_ISREG(st.st_mode))
        die(EX_DATAERR,
            "%s: a file; --model wants the folder that holds config.json and model*.safetensors",
            folder);
    refuse_adapter(folder);
    refuse(folder, without_config);
}

void model_folder_without_weights(const char *folder)
{
    refuse(folder, without_weights);
}

void model_folder_without_tokenizer(const char *folder)
{
    refuse(folder, without_tokenizer);
}
