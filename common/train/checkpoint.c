#include "common/train/checkpoint.h"

#include "common/model/safetensors.h"
#include "common/util/diag.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

/* The version of the file's layout. */
static const char version[] = "2";

/* A parameter's piece of each array is a tensor of its own. */
static const char *const suffixes[STATE_ARRAYS] = {"", ".adamw_m", ".adamw_v"};

static char *digest_of(const struct training_state *s)
{
    XXH64_state_t *h = XXH64_createState();
    XXH64_reset(h, 0);
    XXH64_update(h, &s->step, sizeof s->step);
    XXH64_update(h, &s->pass, sizeof s->pass);
    for (size_t i = 0; i < s->count; i++)
        for (int k = 0; k < STATE_ARRAYS; k++)
            XXH64_update(h, s->arrays[k] + s->parameters[i].first,
                         s->parameters[i].n * sizeof(float));
    char *digest = xasprintf("%016llx", (unsigned long long)XXH64_digest(h));
    XXH64_freeState(h);
    return digest;
}

void checkpoint_write(const char *path, const struct training_state *s, const json_t *settings)
{
    size_t n = s->count * STATE_ARRAYS;
    struct tensor *tensors = xcalloc(n, sizeof *tensors);
    for (size_t i = 0; i < n; i++) {
        const struct parameter *p = &s->parameters[i / STATE_ARRAYS];
        size_t k = i % STATE_ARRAYS;
        tensors[i] = (struct tensor){.name = xasprintf("%s%s", p->name, suffixes[k]),
                                     .dtype = F32,
                                     .n_dims = 1,
                                     .shape = {(int64_t)p->n},
                                     .data = s->arrays[k] + p->first};
    }
    char *text = json_text(settings, JSON_COMPACT | JSON_SORT_KEYS);
    char *step = xasprintf("%lu", s->step), *pass = xasprintf("%lu", s->pass);
    char *digest = digest_of(s);
    json_t *metadata = json_pack("{s:s, s:s, s:s, s:s, s:s}", "duq_checkpoint", version, "settings",
                                 text, "step", step, "pass", pass, "xxh64", digest);
    safetensors_write(path, tensors, n, metadata);
    json_decref(metadata);
    free(text);
    free(step);
    free(pass);
    free(digest);
    for (size_t i = 0; i < n; i++)
        free((char *)tensors[i].name);
    free(tensors);
}

static void check_same_settings(const char *path, const json_t *then, const json_t *now)
{
    char *before, *after;
    const char *key = json_difference(then, now, &before, &after);
    if (key)
        die(EX_DATAERR,
            "%s: made with %s = %s, which is now %s: give the same input and options, or remove "
            "the file to start anew",
            path, key, before, after);
}

static _Noreturn void damaged(const char *path)
{
    die(EX_DATAERR, "%s: the checkpoint is damaged; remove it to start anew", path);
}

static const char *need_text(const json_t *metadata, const char *key, const char *path)
{
    const char *text = json_string_value(json_object_get(metadata, key));
    if (!text)
        die(EX_DATAERR, "%s: not a checkpoint of lora-train (no '%s' in its metadata)", path, key);
    return text;
}

bool checkpoint_read(const char *path, struct training_state *s, const json_t *settings)
{
    if (access(path, F_OK))
        return false;
    struct safetensors *file = safetensors_open_file(path);
    const json_t *metadata = safetensors_metadata(file);
    if (strcmp(need_text(metadata, "duq_checkpoint", path), version) != 0)
        die(EX_DATAERR,
            "%s: a checkpoint of another version of lora-train; remove it to start anew", path);
    json_t *then = json_loads(need_text(metadata, "settings", path), 0, NULL);
    if (!then)
        damaged(path);
    check_same_settings(path, then, settings);
    json_decref(then);
    s->step = strtoul(need_text(metadata, "step", path), NULL, 10);
    s->pass = strtoul(need_text(metadata, "pass", path), NULL, 10);
    for (size_t i = 0; i < s->count * STATE_ARRAYS; i++) {
        const struct parameter *p = &s->parameters[i / STATE_ARRAYS];
        char *name = xasprintf("%s%s", p->name, suffixes[i % STATE_ARRAYS]);
        const struct tensor *t = safetensors_find(file, name);
        if (!t || !t->readable || t->dtype != F32 || t->bytes != p->n * sizeof(float))
            damaged(path);
        memcpy(s->arrays[i % STATE_ARRAYS] + p->first, t->data, t->bytes);
        free(name);
    }
    char *digest = digest_of(s);
    if (strcmp(digest, need_text(metadata, "xxh64", path)) != 0)
        damaged(path);
    free(digest);
    safetensors_close(file);
    return true;
}
