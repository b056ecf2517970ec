#include "common/util/terminal.h"

#include "common/util/printable.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#define ELLIPSIS "\xe2\x80\xa6"

size_t terminal_columns(void)
{
    enum { LEAST = 20, USUAL = 80, MOST = 1000 };
    struct winsize size;
    long columns = 0;
    if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
        columns = size.ws_col;
    const char *said = getenv("COLUMNS");
    if (columns == 0 && said)
        columns = strtol(said, NULL, 10);
    if (columns <= 0)
        return USUAL;
    return (size_t)(columns < LEAST ? LEAST : columns > MOST ? MOST : columns);
}

/* The character at the text's beginning, and in *n its bytes; -1 and 1 where there is none. */
static utf8proc_int32_t character_at(const char *bytes, size_t len, size_t *n)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t taken =
        utf8proc_iterate((const utf8proc_uint8_t *)bytes, (utf8proc_ssize_t)len, &c);
    *n = taken > 0 ? (size_t)taken : 1;
    return taken > 0 ? c : -1;
}

static size_t columns_of(utf8proc_int32_t c)
{
    return c < 0 ? 1 : (size_t)utf8proc_charwidth(c);
}

size_t text_columns(const char *bytes, size_t len)
{
    size_t columns = 0;
    for (size_t i = 0, n; i < len; i += n)
        columns += columns_of(character_at(bytes + i, len - i, &n));
    return columns;
}

void add_printable(struct buf *out, const char *bytes, size_t len)
{
    char shown[PRINTABLE_SIZE];
    for (size_t i = 0; i < len;) {
        i += printable(bytes + i, len - i, shown);
        buf_add(out, shown, strlen(shown));
    }
}

/* How many bytes of the text these columns hold, and in *used the columns that those take. */
static size_t fitting(const char *bytes, size_t len, size_t columns, size_t *used)
{
    size_t i = 0, n;
    *used = 0;
    for (; i < len; i += n) {
        size_t own = columns_of(character_at(bytes + i, len - i, &n));
        if (*used + own > columns)
            break;
        *used += own;
    }
    return i;
}

void add_cell(struct buf *out, const char *bytes, size_t len, size_t columns, bool right)
{
    size_t used, bytes_shown = fitting(bytes, len, columns, &used);
    bool cut = bytes_shown < len && columns > 0;
    if (cut)
        bytes_shown = fitting(bytes, len, columns - 1, &used);
    int blanks = (int)(columns - used - cut);
    buf_addf(out, "%*s", right ? blanks : 0, "");
    buf_add(out, bytes, bytes_shown);
    buf_addf(out, "%s%*s", cut ? ELLIPSIS : "", right ? 0 : blanks, "");
}
