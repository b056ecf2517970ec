#include "common/util/printable.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

static bool is_obeyed(utf8proc_int32_t c)
{
    enum { NON_JOINER = 0x200c, JOINER = 0x200d };
    if (c == NON_JOINER || c == JOINER)
        return false;
    utf8proc_category_t kind = utf8proc_category(c);
    return kind == UTF8PROC_CATEGORY_CC || kind == UTF8PROC_CATEGORY_CF ||
           kind == UTF8PROC_CATEGORY_ZL || kind == UTF8PROC_CATEGORY_ZP;
}

static void spell_out(utf8proc_int32_t c, char shown[PRINTABLE_SIZE])
{
    if (c == '\n' || c == '\t' || c == '\r')
        snprintf(shown, PRINTABLE_SIZE, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
    else
        snprintf(shown, PRINTABLE_SIZE,
                 c < 0x100     ? "\\x%02x"
                 : c < 0x10000 ? "\\u%04x"
                               : "\\U%08x",
                 (unsigned)c);
}

size_t printable(const char *text, size_t len, char shown[PRINTABLE_SIZE])
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, &c);
    if (n <= 0) {
        spell_out((unsigned char)*text, shown);
        return 1;
    }
    if (is_obeyed(c)) {
        spell_out(c, shown);
    } else {
        memcpy(shown, text, (size_t)n);
        shown[n] = '\0';
    }
    return (size_t)n;
}
