/* What filters and methods of strings share. */
#include "common/text/jinja_call.h"
#include "common/text/unicode.h"

#include <string.h>
#include <utf8proc.h>

/* ---- strip ---- */

/* Whether the character of n bytes is one that is stripped. */
static bool is_stripped(const char *c, size_t n, const struct jinja_string *strip)
{
    size_t len;
    if (!strip)
        return unicode_is_split_space(utf8_get(c, &len));
    return jinja_find_string(*strip, (struct jinja_string){c, NULL, n}, 0) <= strip->len;
}

static bool is_white(const struct jinja_string *strip)
{
    size_t n;
    for (size_t i = 0; strip && i < strip->len; i += n)
        if (!unicode_is_split_space(utf8_get(strip->s + i, &n)))
            return false;
    return true;
}

/* Notes the marks of the bytes that stripping went by: those taken, and the first one kept. */
static void note_stripped(struct jinja_run *run, struct jinja_string s, size_t start, size_t end,
                          bool white)
{
    unsigned char looked = run->looked;
    run->looked = 0;
    jinja_look(run, jinja_part(s, start, end), end - start);
    unsigned char marks = run->looked;
    run->looked = looked;
    if (white)
        run->trimmed |= marks;
    else
        run->looked |= marks;
}

struct jinja_string jinja_strip(struct jinja_run *run, struct jinja_string s, bool left, bool right,
                                const struct jinja_string *strip)
{
    size_t start = 0, end = s.len, n;
    bool white = is_white(strip);
    while (left && start < end) {
        n = utf8_len((unsigned char)s.s[start]);
        if (!is_stripped(s.s + start, n, strip))
            break;
        start += n;
    }
    while (right && end > start) {
        n = end - utf8_before(s.s, end);
        if (!is_stripped(s.s + end - n, n, strip))
            break;
        end -= n;
    }
    jinja_work(run, (s.len - (end - start)) * (strip ? strip->len + 1 : 1) / 16);
    if (left)
        note_stripped(run, s, 0, start < s.len ? start + 1 : s.len, white);
    if (right)
        note_stripped(run, s, end ? end - 1 : 0, s.len, white);
    return jinja_part(s, start, end);
}

/* ---- find, replace ---- */

size_t jinja_find_string(struct jinja_string s, struct jinja_string wanted, size_t from)
{
    if (!wanted.len)
        return from;
    const char *found =
        from < s.len ? memmem(s.s + from, s.len - from, wanted.s, wanted.len) : NULL;
    return found ? (size_t)(found - s.s) : s.len + 1;
}

struct jinja_string jinja_replace(struct jinja_run *run, struct jinja_string s,
                                  struct jinja_string old, struct jinja_string new, int64_t most)
{
    struct jinja_builder b = {.run = run};
    size_t at = 0;
    while (most && at <= s.len) {
        size_t found = jinja_find_string(s, old, at);
        if (found > s.len)
            break;
        jinja_work(run, 1);
        jinja_add(&b, jinja_part(s, at, found));
        jinja_add(&b, new);
        at = found + old.len;
        most -= most > 0;
        if (old.len)
            continue;
        /* Nothing is found before every character and at the end. */
        if (found == s.len)
            return jinja_built(&b);
        at = found + utf8_len((unsigned char)s.s[found]);
        jinja_add(&b, jinja_part(s, found, at));
    }
    if (at < s.len)
        jinja_add(&b, jinja_part(s, at, s.len));
    return jinja_built(&b);
}

/* ---- upper and lower case ---- */

/* Characters that Python maps to several, or by what stands beside them (Unicode's SpecialCasing,
 * with some beside them). */
static void refuse_special(struct jinja_run *run, utf8proc_int32_t c)
{
    static const utf8proc_int32_t ranges[][2] = {
        {0xDF, 0xDF},     {0x130, 0x130},   {0x149, 0x149},  {0x1F0, 0x1F0},
        {0x390, 0x390},   {0x3A3, 0x3A3},   {0x3B0, 0x3B0},  {0x587, 0x587},
        {0x1E96, 0x1E9E}, {0x1F50, 0x1FFF}, {0xFB00, 0xFB17}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1])
            jinja_fail(run, "the upper and lower case of U+%04X are not known here", (unsigned)c);
}

static bool is_cased(utf8proc_int32_t c)
{
    return utf8proc_toupper(c) != c || utf8proc_tolower(c) != c ||
           utf8proc_category(c) == UTF8PROC_CATEGORY_LL ||
           utf8proc_category(c) == UTF8PROC_CATEGORY_LU;
}

struct jinja_string jinja_in_case(struct jinja_run *run, struct jinja_string s, enum jinja_case to)
{
    struct jinja_builder b = {.run = run};
    bool in_word = false;
    for (size_t i = 0, n; i < s.len; i += n) {
        utf8proc_int32_t c = (utf8proc_int32_t)utf8_get(s.s + i, &n), mapped;
        refuse_special(run, c);
        if (to == JINJA_UPPER)
            mapped = utf8proc_toupper(c);
        else if (to == JINJA_LOWER || in_word)
            mapped = utf8proc_tolower(c);
        else
            mapped = utf8proc_totitle(c);
        in_word = to == JINJA_CAPITALIZED || is_cased(c);
        char text[4];
        utf8proc_ssize_t len = utf8proc_encode_char(mapped, (utf8proc_uint8_t *)text);
        jinja_add_bytes(&b, text, (size_t)len, s.marks ? s.marks[i] : 0);
        jinja_work(run, 1);
    }
    return jinja_built(&b);
}
