#include "common/text/charsmap.h"

#include "common/util/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The trie is a Darts-clone double array (github.com/s-yata/darts-clone): a unit holds its label
 * (bits 0-7), whether a rule ends here (bit 8), where its children are (bits 10-30, times 256 with
 * bit 9); a unit with bit 31 is a rule's value. */
struct charsmap {
    uint32_t *units;
    size_t n_units;
    char *texts;
    size_t texts_len;
};

static uint32_t little_endian(const char *s)
{
    const unsigned char *u = (const unsigned char *)s;
    return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

struct charsmap *charsmap_read(const char *bytes, size_t len)
{
    uint32_t trie = len < 4 ? 0 : little_endian(bytes);
    if (trie == 0 || trie % 4 || trie >= len - 4 || bytes[len - 1] != '\0')
        return NULL;
    struct charsmap *c = xcalloc(1, sizeof *c);
    c->n_units = trie / 4;
    c->units = xreallocarray(NULL, c->n_units, sizeof *c->units);
    for (size_t i = 0; i < c->n_units; i++)
        c->units[i] = little_endian(bytes + 4 + 4 * i);
    c->texts_len = len - 4 - trie;
    c->texts = xmalloc(c->texts_len);
    memcpy(c->texts, bytes + 4 + trie, c->texts_len);
    return c;
}

void charsmap_free(struct charsmap *c)
{
    if (!c)
        return;
    free(c->units);
    free(c->texts);
    free(c);
}

static size_t children(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

bool charsmap_find(const struct charsmap *c, const char *text, size_t len, size_t *taken,
                   const char **replacement, size_t *replacement_len)
{
    bool found = false;
    size_t at = children(c->units[0]);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (at >= c->n_units || (c->units[at] & (1u << 31 | 0xFF)) != byte)
            break;
        uint32_t unit = c->units[at];
        at ^= children(unit);
        if (!(unit >> 8 & 1))
            continue;
        uint32_t value = at < c->n_units ? c->units[at] & ~(1u << 31) : UINT32_MAX;
        if (value >= c->texts_len)
            break;
        found = true;
        *taken = i + 1;
        *replacement = c->texts + value;
        *replacement_len = strlen(*replacement);
    }
    return found;
}
