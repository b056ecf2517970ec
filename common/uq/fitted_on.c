#include "common/uq/fitted_on.h"

#include "common/util/diag.h"
#include "common/util/digest.h"
#include "common/util/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const char key[] = "fitted_on";

static uint64_t digest(const char *id, const float *logits, size_t n_classes)
{
    XXH64_state_t *h = digest_new();
    XXH64_update(h, id, strlen(id) + 1);
    XXH64_update(h, logits, n_classes * sizeof *logits);
    uint64_t value = XXH64_digest(h);
    XXH64_freeState(h);
    return value;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

json_t *fitted_on_json(const struct validation *v, size_t prompt)
{
    uint64_t *digests = xreallocarray(NULL, v->n_texts + 1, sizeof *digests);
    for (size_t n = 0; n < v->n_texts; n++)
        digests[n] = digest(v->ids[n], validation_logits(v, n, prompt), v->n_classes);
    qsort(digests, v->n_texts, sizeof *digests, ascending);
    json_t *list = json_array();
    for (size_t n = 0; n < v->n_texts; n++) {
        char text[17];
        snprintf(text, sizeof text, "%016" PRIx64, digests[n]);
        json_array_append_new(list, json_string(text));
    }
    free(digests);
    return list;
}

struct fitted_on fitted_on_read(const json_t *header, const char *path)
{
    const json_t *list = json_object_get(json_object_get(header, "fit"), key), *item;
    struct fitted_on f = {.n = json_array_size(list)};
    f.digests = xreallocarray(NULL, f.n + 1, sizeof *f.digests);
    size_t i;
    json_array_foreach(list, i, item)
    {
        const char *text = json_string_value(item);
        int end = 0;
        if (!text || sscanf(text, "%16" SCNx64 "%n", &f.digests[i], &end) != 1 || text[end])
            die(EX_DATAERR, "%s: the header's '%s' holds something that is no digest", path, key);
    }
    qsort(f.digests, f.n, sizeof *f.digests, ascending);
    return f;
}

bool fitted_on_holds(const struct fitted_on *f, const char *id, const float *logits,
                     size_t n_classes)
{
    if (f->n == 0)
        return false;
    uint64_t wanted = digest(id, logits, n_classes);
    return bsearch(&wanted, f->digests, f->n, sizeof wanted, ascending) != NULL;
}

void fitted_on_free(struct fitted_on *f)
{
    free(f->digests);
}
