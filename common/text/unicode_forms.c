#include "common/text/unicode_forms.h"

#include "common/text/unicode.h"
#include "common/text/unicode_recent.h"
#include "common/util/diag.h"

#include <stdlib.h>
#include <utf8proc.h>

bool unicode_is_in_form(enum unicode_form form, const char *s, size_t len)
{
    /* Below these nothing decomposes, has a combining class or composes with what is before it. */
    uint32_t limit = form == FORM_NFC ? 0x300 : form == FORM_NFD ? 0xC0 : 0xA0;
    for (size_t i = 0, n; i < len; i += n)
        if (utf8_get(s + i, &n) >= limit)
            return false;
    return true;
}

struct mark {
    utf8proc_int32_t code;
    int class;
    size_t order;
};

static int by_class(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;
    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int combining_class(utf8proc_int32_t code)
{
    return utf8proc_get_property(code)->combining_class;
}

/* Canonical ordering: each run of marks by combining class, equal ones as they came. */
static void order_marks(utf8proc_int32_t *codes, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t end = i;
        bool sorted = true;
        for (int class, before = 0; end < n && (class = combining_class(codes[end])) != 0; end++) {
            sorted = sorted && class >= before;
            before = class;
        }
        if (!sorted) {
            struct mark *marks = xreallocarray(NULL, end - i, sizeof *marks);
            for (size_t k = i; k < end; k++)
                marks[k - i] = (struct mark){codes[k], combining_class(codes[k]), k};
            qsort(marks, end - i, sizeof *marks, by_class);
            for (size_t k = i; k < end; k++)
                codes[k] = marks[k - i].code;
            free(marks);
        }
        i = end == i ? i + 1 : end;
    }
}

/* Decomposes, orders and composes a stretch of text. */
static void stretch_to_form(enum unicode_form form, const char *s, size_t len, struct buf *out)
{
    enum { LONGEST = 32 }; /* U+FDFA becomes 18 characters, the most there are */
    int options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE;
    if (form == FORM_NFKC || form == FORM_NFKD)
        options |= UTF8PROC_COMPAT;
    utf8proc_int32_t *codes = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0, bytes; i < len; i += bytes) {
        if (cap - n < LONGEST) {
            cap = cap ? cap * 2 : len + LONGEST;
            codes = xreallocarray(codes, cap, sizeof *codes);
        }
        utf8proc_int32_t code = (utf8proc_int32_t)utf8_get(s + i, &bytes);
        int boundary = 0;
        utf8proc_ssize_t added = utf8proc_decompose_char(code, codes + n, LONGEST,
                                                         (utf8proc_option_t)options, &boundary);
        if (added < 0 || added > LONGEST)
            die(EX_SOFTWARE, "U+%04X: %s", (unsigned)code, utf8proc_errmsg(added));
        n += (size_t)added;
    }
    order_marks(codes, n);
    if (form == FORM_NFC || form == FORM_NFKC)
        n = (size_t)utf8proc_normalize_utf32(codes, (utf8proc_ssize_t)n,
                                             UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (size_t i = 0; i < n; i++)
        utf8_add(out, (uint32_t)codes[i]);
    free(codes);
}

void unicode_to_form(enum unicode_form form, const char *s, size_t len, struct buf *out)
{
    size_t start = 0;
    for (size_t i = 0, n; i < len; i += n) {
        if (!unicode_is_inert(utf8_get(s + i, &n)))
            continue;
        stretch_to_form(form, s + start, i - start, out);
        buf_add(out, s + i, n);
        start = i + n;
    }
    stretch_to_form(form, s + start, len - start, out);
}

void unicode_add_lower(struct buf *out, uint32_t code)
{
    uint32_t recent = unicode_recent_lower(code);
    utf8_add(out, recent != code ? recent : (uint32_t)utf8proc_tolower((utf8proc_int32_t)code));
    if (code == 0x130) /* the one whose lower case is two characters (SpecialCasing.txt) */
        utf8_add(out, 0x307);
}
