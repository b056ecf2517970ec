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
enum { DIGITS = 16 }; /* of a digest */

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
    char *text = xmalloc(DIGITS * v->n_texts + 1);
    for (size_t n = 0; n < v->n_texts; n++)
        snprintf(text + DIGITS * n, DIGITS + 1, "%016" PRIx64, digests[n]);
    json_t *all = json_stringn(text, DIGITS * v->n_texts);
    free(digests);
    free(text);
    return all;
}

static bool take(const char *digits, uint64_t *value)
{
    char text[DIGITS + 1] = {0};
    memcpy(text, digits, DIGITS);
    *value = strtoull(text, NULL, 16);
    return strspn(text, "0123456789abcdef") == DIGITS;
}

struct fitted_on fitted_on_read(const json_t *header, const char *path)
{
    const json_t *said = json_object_get(json_object_get(header, "fit"), key);
    struct fitted_on f = {.n = json_string_length(said) / DIGITS};
    f.digests = xreallocarray(NULL, f.n + 1, sizeof *f.digests);
    bool good = !said || (json_is_string(said) && json_string_length(said) % DIGITS == 0);
    for (size_t i = 0; i < f.n && good; i++)
        good = take(json_string_value(said) + DIGITS * i, &f.digests[i]);
    if (!good)
        die(EX_DATAERR, "%s: the header's '%s' holds something that is no digest", path, key);
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
