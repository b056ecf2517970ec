#include "common/stream/store.h"

#include "common/math/philox.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

static struct stored keep(const char *bytes, size_t len, uint64_t number)
{
    struct stored s = {number, len, xmalloc(len)};
    memcpy(s.bytes, bytes, len);
    return s;
}

static void add(struct store *s, struct stored record)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 1024;
        s->records = xreallocarray(s->records, s->capacity, sizeof *s->records);
    }
    s->records[s->count++] = record;
}

void store_all(struct store *s, struct stream_reader *r)
{
    const char *bytes;
    size_t len;
    while (stream_next_bytes(r, &bytes, &len))
        add(s, keep(bytes, len, s->count));
}

/* The uses of random numbers, so that they do not depend on each other. */
enum purpose { SAMPLE, SHUFFLE };

/* A number below bound, each as likely: draws outside the largest multiple of bound are drawn
 * again. */
static uint64_t below(uint64_t bound, uint64_t seed, enum purpose purpose, uint64_t index)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    for (uint32_t attempt = 0;; attempt++) {
        struct philox counter = {
            {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)purpose, attempt}};
        struct philox x = philox4x32(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
        uint64_t v = (uint64_t)x.v[1] << 32 | x.v[0];
        if (v < limit)
            return v % bound;
    }
}

static int by_number(const void *a, const void *b)
{
    const struct stored *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

uint64_t store_sample(struct store *s, struct stream_reader *r, size_t n, uint64_t seed)
{
    const char *bytes;
    size_t len;
    uint64_t number = 0;
    for (; stream_next_bytes(r, &bytes, &len); number++) {
        if (s->count < n) {
            add(s, keep(bytes, len, number));
            continue;
        }
        uint64_t place = below(number + 1, seed, SAMPLE, number);
        if (place >= n)
            continue;
        free(s->records[place].bytes);
        s->records[place] = keep(bytes, len, number);
    }
    if (s->count)
        qsort(s->records, s->count, sizeof *s->records, by_number);
    return number;
}

void store_shuffle(struct store *s, uint64_t seed)
{
    for (size_t i = s->count; i-- > 1;) {
        uint64_t other = below(i + 1, seed, SHUFFLE, i);
        struct stored swap = s->records[i];
        s->records[i] = s->records[other];
        s->records[other] = swap;
    }
}

void store_free(struct store *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->records[i].bytes);
    free(s->records);
    *s = (struct store){0};
}
