#include "common/math/philox.h"
#include "common/model/adapter_parts.h"
#include "common/model/target_pattern.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is wrong with a pattern, or NULL. */
static char *check_pattern(const char *pattern)
{
    char *wrong = NULL;
    target_pattern_free(target_pattern_open(pattern, &wrong));
    return wrong;
}

char *adapter_targets(const char *list, struct adapter_settings *s)
{
    static const char pattern[] = "pattern:";
    bool *targets = s->targets;
    memset(targets, 0, sizeof s->targets);
    s->pattern = NULL;
    if (!strncmp(list, pattern, strlen(pattern))) {
        s->pattern = list + strlen(pattern);
        return check_pattern(s->pattern);
    }
    if (!strcmp(list, "all-linear")) {
        for (int p = 0; p < LAYER_PROJECTIONS; p++)
            targets[p] = true;
        return NULL;
    }
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        int found = -1;
        for (int p = 0; p < PROJECTIONS; p++) {
            const char *name = projection_name(p);
            size_t whole = strlen(name), brief = p == LM_HEAD ? whole : whole - strlen("_proj");
            if ((n == whole || n == brief) && !strncmp(at, name, n))
                found = p;
        }
        if (found < 0)
            return xasprintf(
                "'%.*s' is none of q, k, v, o, gate, up, down, lm_head, nor all-linear "
                "or pattern:REGEX",
                (int)n, at);
        targets[found] = true;
        at += n;
        at += *at == ',';
    }
    for (int p = 0; p < PROJECTIONS; p++)
        if (targets[p])
            return NULL;
    return xstrdup("names no target");
}

struct lora *adapter_part(const struct adapter *a, int layer, enum projection p)
{
    return &a->parts[(p == LM_HEAD ? a->layers : layer) * LAYER_PROJECTIONS +
                     (p == LM_HEAD ? 0 : (int)p)];
}

size_t adapter_parts(const struct adapter *a)
{
    return (size_t)a->layers * LAYER_PROJECTIONS + 1;
}

void lora_merge_row(const struct lora *l, int row, enum dtype type, const void *w, void *to)
{
    size_t in = (size_t)l->in, first = (size_t)row * in;
    const float *b = l->b + (size_t)row * (size_t)l->rank;
    for (size_t i = 0; i < in; i++) {
        double sum = 0;
        for (size_t r = 0; r < (size_t)l->rank; r++)
            sum += (double)b[r] * (double)l->a[r * in + i];
        double value = (double)dtype_load(type, w, first + i) + (double)l->scale * sum;
        dtype_store(type, to, i, (float)value);
    }
}

enum projection part_projection(const struct adapter *a, size_t part)
{
    if (part + 1 == adapter_parts(a))
        return LM_HEAD;
    return (enum projection)(part % LAYER_PROJECTIONS);
}

double adapter_scale(const struct adapter_settings *s, double alpha, int rank)
{
    return alpha / (s->rslora ? sqrt(rank) : rank);
}

struct adapter *empty_adapter(const struct config *c, const struct adapter_settings *s)
{
    struct adapter *a = xcalloc(1, sizeof *a);
    a->settings = *s;
    a->layers = c->layers;
    a->parts = xcalloc(adapter_parts(a), sizeof *a->parts);
    double scale = adapter_scale(s, s->alpha, s->rank);
    for (size_t i = 0; i < adapter_parts(a); i++) {
        struct lora *l = &a->parts[i];
        enum projection p = part_projection(a, i);
        struct projection_shape shape = projection_shape(c, p);
        int layer = (int)(i / LAYER_PROJECTIONS);
        l->module = c->fused ? fused_module(p, layer) : projection_module(p, layer);
        l->fused = fused_projection(c, p);
        l->out = shape.out;
        l->in = shape.in;
        l->rank = s->rank;
        l->scale = (float)scale;
    }
    return a;
}

static void allocate_part(struct lora *l)
{
    l->a = xcalloc((size_t)l->rank * (size_t)l->in, sizeof *l->a);
    l->b = xcalloc((size_t)l->out * (size_t)l->rank, sizeof *l->b);
}

struct adapter *adapter_create(const struct config *c, const struct adapter_settings *s,
                               uint64_t seed)
{
    struct adapter *a = empty_adapter(c, s);
    char *wrong = NULL;
    struct target_pattern *pattern = s->pattern ? target_pattern_open(s->pattern, &wrong) : NULL;
    size_t matches = 0;
    for (size_t i = 0; i < adapter_parts(a); i++) {
        struct lora *l = &a->parts[i];
        if (!(pattern ? target_pattern_matches(pattern, l->module)
                      : s->targets[part_projection(a, i)]))
            continue;
        matches++;
        allocate_part(l);
        double bound = 1 / sqrt(l->in);
        for (size_t k = 0; k < (size_t)l->rank * (size_t)l->in; k++) {
            /* Steps of dropout count from 0: the highest number is free for this. */
            struct philox counter = {
                {(uint32_t)(k / 4), (uint32_t)(k / 4 >> 32), (uint32_t)i, UINT32_MAX}};
            counter = philox4x32(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
            l->a[k] = (float)(bound * (2 * ((counter.v[k % 4] >> 8) + 0.5) * 0x1p-24 - 1));
        }
    }
    if (pattern && !matches)
        die(EX_DATAERR,
            "--targets pattern:%s matches the whole name of no module of this model, such as %s",
            s->pattern, a->parts[0].module);
    target_pattern_free(pattern);
    return a;
}

void adapter_free(struct adapter *a)
{
    for (size_t i = 0; i < adapter_parts(a); i++) {
        free(a->parts[i].module);
        free(a->parts[i].a);
        free(a->parts[i].b);
    }
    free(a->parts);
    json_decref(a->facts);
    free(a);
}
