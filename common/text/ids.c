#include "common/text/ids.h"

#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

void ids_reserve(struct ids *list, size_t extra)
{
    if (extra <= list->cap - list->len)
        return;
    size_t cap = list->cap * 2 > list->len + extra ? list->cap * 2 : list->len + extra + 64;
    list->data = xreallocarray(list->data, cap, sizeof *list->data);
    list->cap = cap;
}

void ids_add(struct ids *list, int32_t id)
{
    if (list->len == list->cap)
        ids_reserve(list, 1);
    list->data[list->len++] = id;
}

void ids_append(struct ids *list, const int32_t *ids, size_t n)
{
    if (n == 0)
        return;
    ids_reserve(list, n);
    memcpy(list->data + list->len, ids, n * sizeof *ids);
    list->len += n;
}

const int32_t *ids_from(const struct ids *list, size_t first)
{
    return list->data ? list->data + first : NULL;
}

void ids_free(struct ids *list)
{
    free(list->data);
    *list = (struct ids){0};
}
