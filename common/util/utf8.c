#include "common/util/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool follows(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* Length of the well-formed sequence at p, 0 when there is none. */
static size_t sequence(const unsigned char *p, size_t left)
{
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        return left >= 2 && follows(p[1]) ? 2 : 0;
    if ((p[0] & 0xf0) == 0xe0) {
        if (left < 3 || !follows(p[1]) || !follows(p[2]))
            return 0;
        bool overlong = p[0] == 0xe0 && p[1] < 0xa0, surrogate = p[0] == 0xed && p[1] > 0x9f;
        return overlong || surrogate ? 0 : 3;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        if (left < 4 || !follows(p[1]) || !follows(p[2]) || !follows(p[3]))
            return 0;
        bool overlong = p[0] == 0xf0 && p[1] < 0x90, beyond = p[0] == 0xf4 && p[1] > 0x8f;
        return overlong || beyond ? 0 : 4;
    }
    return 0;
}

size_t utf8_invalid_at(const char *bytes, size_t len)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t i = 0;
    while (i < len) {
        uint64_t eight;
        if (p[i] < 0x80) {
            if (len - i >= sizeof eight) {
                memcpy(&eight, p + i, sizeof eight);
                if (!(eight & UINT64_C(0x8080808080808080))) {
                    i += sizeof eight;
                    continue;
                }
            }
            i++;
            continue;
        }
        size_t n = sequence(p + i, len - i);
        if (!n)
            return i;
        i += n;
    }
    return len;
}

bool text_is_blank(const char *bytes, size_t len)
{
    size_t i = 0;
    while (i < len && (bytes[i] == ' ' || (bytes[i] >= '\t' && bytes[i] <= '\r')))
        i++;
    return i == len;
}
