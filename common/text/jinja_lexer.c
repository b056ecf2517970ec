#include "common/text/jinja_lexer.h"

#include "common/text/unicode.h"
#include "common/util/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lexer {
    const char *s;
    size_t len, at;
    int line;
    struct arena *arena;
    struct jinja_tokens tokens;
};

static void refuse(struct lexer *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void refuse(struct lexer *l, const char *format, ...)
{
    if (l->tokens.error)
        return;
    va_list args;
    char text[256];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    l->tokens.error = xasprintf("line %d: %s", l->line, text);
}

static void add(struct lexer *l, struct jinja_token token)
{
    struct jinja_tokens *t = &l->tokens;
    token.line = l->line;
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 256;
        t->data = xreallocarray(t->data, t->capacity, sizeof *t->data);
    }
    t->data[t->count++] = token;
}

static void advance(struct lexer *l, size_t to)
{
    for (; l->at < to; l->at++)
        l->line += l->s[l->at] == '\n';
}

static bool starts(const struct lexer *l, size_t at, const char *with)
{
    size_t n = strlen(with);
    return n <= l->len - at && !memcmp(l->s + at, with, n);
}

/* Where white space that begins here ends. */
static size_t past_space(const struct lexer *l, size_t at)
{
    size_t n;
    while (at < l->len && unicode_is_split_space(utf8_get(l->s + at, &n)))
        at += n;
    return at;
}

/* ---- text between tags ---- */

/* Text from the lexer's place to `end`, less the white space that the tag behind it takes: all of
 * it before "-"; before blocks and comments, unless there is a "+", what stands alone before the
 * tag in its line. */
static void add_data(struct lexer *l, size_t end, char sign, bool variable)
{
    size_t start = l->at, kept = end, n;
    if (sign == '-') {
        while (kept > start) {
            size_t before = utf8_before(l->s, kept);
            if (!unicode_is_split_space(utf8_get(l->s + before, &n)))
                break;
            kept = before;
        }
    } else if (sign != '+' && !variable) {
        size_t line = end;
        while (line > start && l->s[line - 1] != '\n')
            line--;
        bool line_starts = line > start || line == 0 || l->s[line - 1] == '\n';
        if (line_starts && past_space(l, line) >= end)
            kept = line;
    }
    if (kept > start)
        add(l,
            (struct jinja_token){.kind = JINJA_DATA, .text = {l->s + start, NULL, kept - start}});
    advance(l, end);
}

/* The end of a block's or comment's closing mark at `at` ("%}" or "#}"), with the white space that
 * it takes: all after "-", one newline if there is no "+"; 0 where there is no such mark. */
static size_t closing(const struct lexer *l, size_t at, const char *mark)
{
    if (at < l->len && l->s[at] == '-' && starts(l, at + 1, mark))
        return past_space(l, at + 3);
    if (at < l->len && l->s[at] == '+' && starts(l, at + 1, mark))
        return at + 3;
    if (!starts(l, at, mark))
        return 0;
    return at + 2 + (at + 2 < l->len && l->s[at + 2] == '\n');
}

static void skip_comment(struct lexer *l)
{
    for (size_t at = l->at; at < l->len; at++) {
        size_t end = closing(l, at, "#}");
        if (end) {
            advance(l, end);
            return;
        }
    }
    refuse(l, "a comment has no end");
    l->at = l->len;
}

/* Whether "{%" at `at` is followed by a word alone; *inside: what stands behind the word. */
static bool is_tag(const struct lexer *l, size_t at, const char *word, char *sign, size_t *inside)
{
    if (!starts(l, at, "{%"))
        return false;
    at += 2;
    *sign = at < l->len && (l->s[at] == '-' || l->s[at] == '+') ? l->s[at++] : '\0';
    at = past_space(l, at);
    if (!starts(l, at, word))
        return false;
    *inside = past_space(l, at + strlen(word));
    return true;
}

/* Behind "{% raw %}": all is text up to "{% endraw %}". */
static void add_raw(struct lexer *l)
{
    char sign;
    size_t inside;
    for (size_t at = l->at; at < l->len; at++) {
        if (!is_tag(l, at, "endraw", &sign, &inside))
            continue;
        size_t end = closing(l, inside, "%}");
        if (!end)
            continue;
        add_data(l, at, sign, false);
        advance(l, end);
        return;
    }
    refuse(l, "'raw' has no 'endraw'");
    l->at = l->len;
}

/* ---- in tags ---- */

static size_t digits(const struct lexer *l, size_t at)
{
    while (at < l->len && l->s[at] >= '0' && l->s[at] <= '9')
        at++;
    return at;
}

static void add_number(struct lexer *l)
{
    size_t end = digits(l, l->at);
    bool real = false;
    if (!(l->at && l->s[l->at - 1] == '.')) { /* a.0.1 */
        size_t fraction = end < l->len && l->s[end] == '.' ? digits(l, end + 1) : 0;
        if (fraction > end + 1) {
            end = fraction;
            real = true;
        }
        if (end < l->len && (l->s[end] == 'e' || l->s[end] == 'E')) {
            size_t from =
                end + 1 + (end + 1 < l->len && strchr("+-", l->s[end + 1]) && l->s[end + 1]);
            size_t exponent = digits(l, from);
            if (exponent > from) {
                end = exponent;
                real = true;
            }
        }
    }
    char *text = xasprintf("%.*s", (int)(end - l->at), l->s + l->at);
    errno = 0;
    struct jinja_value value =
        real ? jinja_float(strtod(text, NULL)) : jinja_int((int64_t)strtoll(text, NULL, 10));
    if (!real && errno)
        refuse(l, "the number %.40s is too large", text);
    if (end < l->len && (l->s[end] == '_' || ((unsigned char)l->s[end] | 0x20) == 'x'))
        refuse(l, "numbers with '%c' are not known here", l->s[end]);
    if (!real && end - l->at > 1 && text[0] == '0' && strspn(text, "0") != end - l->at)
        refuse(l, "the number %.40s begins with 0", text);
    free(text);
    add(l, (struct jinja_token){.kind = JINJA_LITERAL, .value = value});
    advance(l, end);
}

/* The character that a backslash and what follows it means, appended; the place behind. */
static size_t add_escape(struct lexer *l, struct buf *out, size_t at)
{
    static const char plain[] = "\\\\''\"\"n\nr\rt\ta\ab\bf\fv\v";
    char c = l->s[at + 1];
    size_t wanted = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0, at_digit = at + 2;
    if (c == '\n')
        return at + 2;
    if (wanted) {
        uint64_t code = 0;
        for (size_t i = 0; i < wanted; i++, at_digit++) {
            const char *hex = "0123456789abcdef";
            const char *digit =
                at_digit < l->len && l->s[at_digit] ? strchr(hex, l->s[at_digit] | 0x20) : NULL;
            if (!digit || (l->s[at_digit] & 0x60) == 0) {
                refuse(l, "\\%c wants %zu hexadecimal digits", c, wanted);
                return l->len;
            }
            code = code * 16 + (uint64_t)(digit - hex);
        }
        if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
            refuse(l, "\\%c means no character", c);
        else
            utf8_add(out, (uint32_t)code);
        return at_digit;
    }
    if (c == 'N' || (c >= '0' && c <= '7')) {
        refuse(l, "the escape \\%c is not known here", c);
        return l->len;
    }
    for (size_t i = 0; i + 1 < sizeof plain; i += 2) {
        if (plain[i] == c) {
            buf_addc(out, plain[i + 1]);
            return at + 2;
        }
    }
    buf_addc(out, '\\'); /* as Python: a backslash means itself before other characters */
    return at + 1;
}

static void add_string(struct lexer *l)
{
    char quote = l->s[l->at];
    size_t at = l->at + 1;
    struct buf text = {0};
    while (at < l->len && l->s[at] != quote && !l->tokens.error) {
        if (l->s[at] == '\\' && at + 1 < l->len)
            at = add_escape(l, &text, at);
        else
            buf_addc(&text, l->s[at++]);
    }
    if (at >= l->len)
        refuse(l, "a string has no end");
    char *copy = arena_take(l->arena, text.len + 1);
    if (text.len)
        memcpy(copy, text.data, text.len);
    add(l, (struct jinja_token){.kind = JINJA_LITERAL,
                                .value = jinja_str((struct jinja_string){copy, NULL, text.len})});
    buf_free(&text);
    advance(l, at < l->len ? at + 1 : l->len);
}

static bool is_name(unsigned char c, bool first)
{
    return c == '_' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (!first && c >= '0' && c <= '9');
}

static void add_name(struct lexer *l)
{
    size_t end = l->at;
    while (end < l->len && is_name((unsigned char)l->s[end], false))
        end++;
    add(l, (struct jinja_token){.kind = JINJA_NAME, .text = {l->s + l->at, NULL, end - l->at}});
    advance(l, end);
}

/* *depth: open brackets. */
static void add_operator(struct lexer *l, size_t *depth)
{
    static const struct {
        const char text[3];
        int op;
    } two[] = {{"**", JINJA_POWER}, {"//", JINJA_FLOORDIV}, {"==", JINJA_EQ},
               {"!=", JINJA_NE},    {"<=", JINJA_LE},       {">=", JINJA_GE}};
    for (size_t i = 0; i < sizeof two / sizeof *two; i++) {
        if (starts(l, l->at, two[i].text)) {
            add(l, (struct jinja_token){.kind = JINJA_OPERATOR, .op = two[i].op});
            advance(l, l->at + 2);
            return;
        }
    }
    char c = l->s[l->at];
    if (!c || !strchr("+-/*%~[](){}><=.:|,;", c)) {
        size_t n = utf8_len((unsigned char)c);
        refuse(l, "unexpected character '%.*s'", (int)n, l->s + l->at);
        advance(l, l->len);
        return;
    }
    if (strchr("([{", c))
        ++*depth;
    else if (strchr(")]}", c) && *depth)
        --*depth;
    add(l, (struct jinja_token){.kind = JINJA_OPERATOR, .op = c});
    advance(l, l->at + 1);
}

/* The end of "}}", with white space behind "-". */
static size_t variable_closing(const struct lexer *l)
{
    if (starts(l, l->at, "-}}"))
        return past_space(l, l->at + 3);
    return starts(l, l->at, "}}") ? l->at + 2 : 0;
}

/* What stands in a tag, and its end. Its end is not looked for in brackets: {{ {'a': {}} }}. */
static void add_tag(struct lexer *l, bool variable)
{
    size_t depth = 0;
    while (l->at < l->len && !l->tokens.error) {
        size_t space = past_space(l, l->at);
        if (space > l->at) {
            advance(l, space);
            continue;
        }
        size_t end = depth ? 0 : variable ? variable_closing(l) : closing(l, l->at, "%}");
        unsigned char c = (unsigned char)l->s[l->at];
        if (end) {
            add(l, (struct jinja_token){.kind = variable ? JINJA_VARIABLE_END : JINJA_BLOCK_END});
            advance(l, end);
            return;
        }
        if (c >= '0' && c <= '9')
            add_number(l);
        else if (is_name(c, true))
            add_name(l);
        else if (c == '\'' || c == '"')
            add_string(l);
        else
            add_operator(l, &depth);
    }
}

/* Where the next tag begins; the source's end when there is none. */
static size_t next_tag(const struct lexer *l)
{
    size_t at = l->at;
    while (at < l->len &&
           !(l->s[at] == '{' && at + 1 < l->len && strchr("{%#", l->s[at + 1]) && l->s[at + 1]))
        at++;
    return at;
}

struct jinja_tokens jinja_tokens(const char *source, size_t len, struct arena *arena)
{
    struct lexer l = {.s = source, .len = len, .line = 1, .arena = arena};
    while (l.at < len && !l.tokens.error) {
        size_t at = next_tag(&l), inside;
        if (at == len) {
            add_data(&l, len, '+', true);
            break;
        }
        char kind = source[at + 1], sign = at + 2 < len ? source[at + 2] : '\0', raw_sign;
        bool signed_tag = sign == '-' || sign == '+';
        add_data(&l, at, signed_tag ? sign : '\0', kind == '{');
        if (is_tag(&l, at, "raw", &raw_sign, &inside) &&
            (starts(&l, inside, "-%}") || starts(&l, inside, "%}"))) {
            advance(&l, source[inside] == '-' ? past_space(&l, inside + 3) : inside + 2);
            add_raw(&l);
            continue;
        }
        advance(&l, at + 2 + signed_tag);
        if (kind == '#') {
            skip_comment(&l);
            continue;
        }
        add(&l,
            (struct jinja_token){.kind = kind == '{' ? JINJA_VARIABLE_BEGIN : JINJA_BLOCK_BEGIN});
        add_tag(&l, kind == '{');
    }
    add(&l, (struct jinja_token){.kind = JINJA_END});
    return l.tokens;
}
