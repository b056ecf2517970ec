#include "common/train/checkpoint.h"

#include "common/model/safetensors.h"
#include "common/util/diag.h"
#include "common/util/digest.h"
#include "common/util/file.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

/* The version of the file's layout. */
static const char version[] = "3";

/* A parameter's piece of each array is a tensor of its own. */
static const char *const suffixes[STATE_ARRAYS + 1] = {"", ".adamw_m", ".adamw_v", ".best"};

/* How many arrays there are, and the arrays. */
static size_t arrays_of(const struct training_state *s, float **arrays)
{
    memcpy(arrays, s->arrays, sizeof s->arrays);
    arrays[STATE_ARRAYS] = s->best_values;
    return STATE_ARRAYS + (s->best.step > 0 && s->best_values);
}

/* best: what the file says of it. */
static char *digest_of(const struct training_state *s, const char *best)
{
    float *arrays[STATE_ARRAYS + 1];
    size_t n = arrays_of(s, arrays);
    XXH64_state_t *h = digest_new();
    XXH64_update(h, &s->step, sizeof s->step);
    XXH64_update(h, &s->pass, sizeof s->pass);
    XXH64_update(h, &s->since_best, sizeof s->since_best);
    XXH64_update(h, best, strlen(best));
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < n; k++)
            XXH64_update(h, arrays[k] + s->parameters[i].first, s->parameters[i].n * sizeof(float));
    char *digest = xasprintf("%016llx", (unsigned long long)XXH64_digest(h));
    XXH64_freeState(h);
    return digest;
}

void checkpoint_write(const char *path, const struct training_state *s, const json_t *settings)
{
    float *arrays[STATE_ARRAYS + 1];
    size_t n_arrays = arrays_of(s, arrays), n = s->count * n_arrays;
    struct tensor *tensors = xcalloc(n, sizeof *tensors);
    for (size_t i = 0; i < n; i++) {
        const struct parameter *p = &s->parameters[i / n_arrays];
        size_t k = i % n_arrays;
        tensors[i] = (struct tensor){.name = xasprintf("%s%s", p->name, suffixes[k]),
                                     .dtype = F32,
                                     .n_dims = 1,
                                     .shape = {(int64_t)p->n},
                                     .data = arrays[k] + p->first};
    }
    char *text = json_text(settings, JSON_COMPACT | JSON_SORT_KEYS);
    char *step = xasprintf("%lu", s->step), *pass = xasprintf("%lu", s->pass);
    json_t *validation = validation_json(&s->best);
    char *best = json_text(validation, JSON_COMPACT | JSON_SORT_KEYS);
    char *since = xasprintf("%lu", s->since_best), *digest = digest_of(s, best);
    json_t *metadata = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "duq_checkpoint", version,
                                 "settings", text, "step", step, "pass", pass, "best", best,
                                 "since_best", since, "xxh64", digest);
    safetensors_write(path, tensors, n, metadata);
    json_decref(metadata);
    json_decref(validation);
    free(best);
    free(since);
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
    if (!file_exists(path))
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
    s->since_best = strtoul(need_text(metadata, "since_best", path), NULL, 10);
    const char *best = need_text(metadata, "best", path);
    json_t *validation = json_loads(best, 0, NULL);
    if (!validation_from_json(validation, &s->best))
        damaged(path);
    json_decref(validation);
    float *arrays[STATE_ARRAYS + 1];
    size_t n_arrays = arrays_of(s, arrays);
    for (size_t i = 0; i < s->count * n_arrays; i++) {
        const struct parameter *p = &s->parameters[i / n_arrays];
        char *name = xasprintf("%s%s", p->name, suffixes[i % n_arrays]);
        const struct tensor *t = safetensors_find(file, name);
        if (!t || !t->readable || t->dtype != F32 || t->bytes != p->n * sizeof(float))
            damaged(path);
        memcpy(arrays[i % n_arrays] + p->first, t->data, t->bytes);
        free(name);
    }
    char *digest = digest_of(s, best);
    if (strcmp(digest, need_text(metadata, "xxh64", path)) != 0)
        damaged(path);
    free(digest);
    safetensors_close(file);
    return true;
}
