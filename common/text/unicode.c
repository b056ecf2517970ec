#include "common/text/unicode.h"

#include "common/text/unicode_recent.h"
#include "common/util/utf8.h"

#include <utf8proc.h>

void utf8_add(struct buf *b, uint32_t code)
{
    char c[4];
    size_t n;
    if (code < 0x80) {
        c[0] = (char)code;
        n = 1;
    } else if (code < 0x800) {
        c[0] = (char)(0xC0 | code >> 6);
        c[1] = (char)(0x80 | (code & 0x3F));
        n = 2;
    } else if (code < 0x10000) {
        c[0] = (char)(0xE0 | code >> 12);
        c[1] = (char)(0x80 | (code >> 6 & 0x3F));
        c[2] = (char)(0x80 | (code & 0x3F));
        n = 3;
    } else {
        c[0] = (char)(0xF0 | code >> 18);
        c[1] = (char)(0x80 | (code >> 12 & 0x3F));
        c[2] = (char)(0x80 | (code >> 6 & 0x3F));
        c[3] = (char)(0x80 | (code & 0x3F));
        n = 4;
    }
    buf_add(b, c, n);
}

/* Bytes of the broken character at s that form the beginning of a right one; at least one. */
static size_t broken_len(const char *s, size_t len)
{
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] < 0xC2 || u[0] > 0xF4 || len < 2)
        return 1;
    unsigned char low = u[0] == 0xE0 ? 0xA0 : u[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = u[0] == 0xED ? 0x9F : u[0] == 0xF4 ? 0x8F : 0xBF;
    if (u[1] < low || u[1] > high)
        return 1;
    size_t n = utf8_len(u[0]), k = 2;
    while (k < n && k < len && (u[k] & 0xC0) == 0x80)
        k++;
    return k;
}

void utf8_add_lossy(struct buf *b, const char *s, size_t len)
{
    for (;;) {
        size_t good = utf8_invalid_at(s, len);
        buf_add(b, s, good);
        if (good == len)
            return;
        s += good;
        len -= good;
        buf_add(b, "\xEF\xBF\xBD", 3);
        size_t skip = broken_len(s, len);
        s += skip;
        len -= skip;
    }
}

bool unicode_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

bool unicode_is_split_space(uint32_t c)
{
    return unicode_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)unicode_stand_in(c));
}

bool unicode_is_number(uint32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9';
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO ||
           unicode_is_recent_number(c);
}

bool unicode_is_word(uint32_t c)
{
    switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: /* Other_Alphabetic among symbols (circled, squared letters); Join_Control */
        return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
               (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189) || c == 0x200C ||
               c == 0x200D;
    }
}

/* Printable Latin-1 bytes stand for themselves, the 68 others for U+0100 and up, in byte order. */
static bool stands_for_itself(unsigned byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

uint32_t byte_to_char(unsigned char byte)
{
    if (stands_for_itself(byte))
        return byte;
    if (byte <= ' ')
        return 0x100u + byte;
    return byte == 0xAD ? 0x143u : 0x121u + (byte - 0x7Fu);
}

int char_to_byte(uint32_t code)
{
    if (code < 0x100)
        return stands_for_itself(code) ? (int)code : -1;
    if (code <= 0x120)
        return (int)(code - 0x100);
    if (code < 0x143)
        return (int)(code - 0x121 + 0x7F);
    return code == 0x143 ? 0xAD : -1;
}
