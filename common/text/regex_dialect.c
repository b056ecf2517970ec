#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/text/regex_dialect.h"

#include <ctype.h>
#include <pcre2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* White_Space; PCRE2's own \s has U+180E as well. */
#define SPACES                                                                                     \
    "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"   \
    "\\x{3000}"
#define NOT_SPACES                                                                                 \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}!-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"      \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"                 \
    "\\x{3001}-\\x{d7ff}\\x{e000}-\\x{10ffff}"
/* Alphabetic, M, Nd, Pc, and outside brackets the numbers of Latin-1; PCRE2's own \w is L, N and
 * the underscore. */
#define WORD_WITHIN                                                                                \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"                    \
    "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define WORD WORD_WITHIN "\\xb2\\xb3\\xb9\\xbc-\\xbe"
#define BOUNDARY "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))"
#define NOT_BOUNDARY "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))"

#define NO_ATOM SIZE_MAX

static void put(struct buf *out, const char *s)
{
    buf_add(out, s, strlen(s));
}

static const char *cannot(const char *what, const char *at, int len)
{
    static char name[96];
    snprintf(name, sizeof name, "%s '%.*s'", what, len, at);
    return name;
}

/* PCRE2 10.40 and later read \p{Han} as script extensions; the script alone is \p{sc:Han}. */
static bool scripts_are_extended(void)
{
    char version[64] = "";
    if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) <= (int)sizeof version)
        pcre2_config(PCRE2_CONFIG_VERSION, version);
    char *dot;
    long major = strtol(version, &dot, 10);
    return major > 10 || (major == 10 && *dot == '.' && strtol(dot + 1, NULL, 10) >= 40);
}

/* \p{NAME}, \P{NAME}, \p{^NAME} at *at. */
static const char *property(const char **at, struct buf *out)
{
    const char *p = *at, *close = p[2] == '{' ? strchr(p, '}') : NULL;
    if (!close)
        return cannot("the escape", p, 2);
    bool negate = p[1] == 'P';
    const char *name = p + 3;
    if (*name == '^') {
        negate = !negate;
        name++;
    }
    int len = (int)(close - name);
    bool category = len == 1 || len == 2;
    buf_addf(out, "\\%c{%s%.*s}", negate ? 'P' : 'p',
             !category && scripts_are_extended() ? "sc:" : "", len, name);
    *at = close + 1;
    return NULL;
}

/* A character by its number: \uHHHH, \xHH, \x{H...} at *at. */
static const char *numbered(const char **at, struct buf *out)
{
    const char *p = *at;
    unsigned code;
    int n = 0;
    if (p[1] == 'u') {
        if (sscanf(p + 2, "%4x%n", &code, &n) != 1 || n != 4)
            return cannot("the escape", p, 2);
        *at = p + 6;
    } else if (p[2] == '{') {
        if (sscanf(p + 3, "%8x}%n", &code, &n) != 1 || n == 0)
            return cannot("the escape", p, 3);
        *at = p + 3 + n;
    } else {
        if (sscanf(p + 2, "%2x%n", &code, &n) != 1 || code >= 0x80)
            return cannot("the escape", p, 4);
        *at = p + 2 + n;
    }
    buf_addf(out, "\\x{%x}", code);
    return NULL;
}

/* Escapes that PCRE2 takes in another sense, or not, and what to say instead. */
static const struct {
    char letter;
    const char *outside, *inside; /* brackets; NULL: not to be said there */
} escapes[] = {
    {'s', "[" SPACES "]", SPACES},     {'S', "[^" SPACES "]", NOT_SPACES},
    {'w', "[" WORD "]", WORD_WITHIN},  {'W', "[^" WORD "]", NULL},
    {'h', "[0-9a-fA-F]", "0-9a-fA-F"}, {'H', "[^0-9a-fA-F]", NULL},
    {'b', BOUNDARY, "\\x08"},          {'B', NOT_BOUNDARY, NULL},
    {'v', "\\x0b", "\\x0b"},
};

/* The escape at *at; inside: within brackets. */
static const char *escape(const char **at, bool inside, struct buf *out)
{
    const char *p = *at;
    if (!p[1])
        return "a backslash at its end";
    if (p[1] == 'p' || p[1] == 'P')
        return property(at, out);
    if (p[1] == 'u' || p[1] == 'x')
        return numbered(at, out);
    *at = p + 2;
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (escapes[i].letter != p[1])
            continue;
        const char *pattern = inside ? escapes[i].inside : escapes[i].outside;
        if (!pattern) {
            static char name[] = "\\? within brackets";
            name[1] = p[1];
            return name;
        }
        put(out, pattern);
        return NULL;
    }
    /* PCRE2 means the same by these, and by what is no letter. */
    bool same = strchr(inside ? "dDtnrfae" : "dDtnrfaeAzZ", p[1]);
    if (!same && isalnum((unsigned char)p[1]))
        return cannot("the escape", p, 2);
    buf_add(out, p, 2);
    return NULL;
}

static const char *brackets(const char **at, struct buf *out)
{
    const char *p = *at + 1;
    buf_addc(out, '[');
    if (*p == '^')
        buf_addc(out, *p++);
    if (*p == ']') {
        put(out, "\\]");
        p++;
    }
    while (*p && *p != ']') {
        if (*p == '[')
            return cannot("nested brackets", p, 8);
        if (p[0] == '&' && p[1] == '&')
            return "an intersection (&&)";
        if (*p == '\\') {
            const char *problem = escape(&p, true, out);
            if (problem)
                return problem;
        } else {
            buf_addc(out, *p++);
        }
    }
    if (!*p)
        return "brackets that are not closed";
    buf_addc(out, ']');
    *at = p + 1;
    return NULL;
}

/* What Oniguruma matches otherwise where case does not count, at p; NULL: nothing. It has letters
 * for two, as U+00DF for ss, and takes classes of letters of one case for those of both. */
static const char *folded_otherwise(const char *p)
{
    static const char *const starts[] = {"ss",      "ff",      "fi",      "fl",  "st", "\\p{Ll}",
                                         "\\p{Lu}", "\\p{Lt}", "\\p{L&}", "\\u", "\\x"};
    if ((unsigned char)*p >= 0x80)
        return cannot("the caseless", p, (int)strcspn(p, ")|"));
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (!strncasecmp(p, starts[i], strlen(starts[i])))
            return cannot("the caseless", p, (int)strlen(starts[i]));
    return NULL;
}

/* Looks through the group, or pattern, whose flags end before p. */
static const char *without_case(const char *p, bool whole)
{
    const char *problem = NULL;
    int depth = 1;
    for (bool inside = false; !problem && *p && (whole || depth > 0); p++) {
        problem = folded_otherwise(p);
        if (*p == '\\' && p[1])
            p++;
        else if (*p == '[' || *p == ']')
            inside = *p == '[';
        else if (!inside)
            depth += (*p == '(') - (*p == ')');
    }
    return problem;
}

/* The opening of a group at *at. In Ruby's syntax m lets the dot match newlines, and flags without
 * a colon reach over the alternatives that follow: at the very beginning that is the same in both.
 */
static const char *group(const char **at, bool first, struct buf *out)
{
    static const char *const plain[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    const char *p = *at;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        size_t n = strlen(plain[i]);
        if (!strncmp(p, plain[i], n)) {
            buf_add(out, p, n);
            *at = p + n;
            return NULL;
        }
    }
    if (p[1] != '?') {
        if (p[1] == '*')
            return cannot("the group", p, 3);
        buf_addc(out, '(');
        *at = p + 1;
        return NULL;
    }
    size_t flags = strspn(p + 2, "im-");
    char end = p[2 + flags];
    if (flags == 0 || (end != ':' && !(end == ')' && first)))
        return cannot("the group", p, 4);
    const char *i_flag = memchr(p + 2, 'i', flags), *minus = memchr(p + 2, '-', flags);
    if (i_flag && (!minus || i_flag < minus)) {
        const char *problem = without_case(p + 2 + flags + 1, end == ')');
        if (problem)
            return problem;
    }
    put(out, "(?");
    for (size_t i = 0; i < flags; i++)
        buf_addc(out, p[2 + i] == 'm' ? 's' : p[2 + i]);
    buf_addc(out, end);
    *at = p + 2 + flags + 1;
    return NULL;
}

/* Puts a group's opening before what out holds from at on. */
static void enclose(struct buf *out, size_t at)
{
    static const char open[] = "(?:";
    put(out, open);
    memmove(out->data + at + strlen(open), out->data + at, out->len - at - strlen(open));
    memcpy(out->data + at, open, strlen(open));
}

/* An interval at *at, or a brace that stands for itself. A plus behind it is not possessive, as in
 * PCRE2, but repeats the whole. atom: where out has what is repeated; NO_ATOM: not known. */
static const char *interval(const char **at, size_t atom, struct buf *out)
{
    const char *p = *at + 1;
    size_t low = strspn(p, "0123456789");
    size_t comma = p[low] == ',';
    size_t high = comma ? strspn(p + low + 1, "0123456789") : 0;
    const char *close = p + low + comma + high;
    if (*close != '}' || low + high == 0) {
        put(out, "\\{");
        *at += 1;
        return NULL;
    }
    bool repeated = close[1] == '+';
    if ((repeated && atom == NO_ATOM) || (close[1] == '?' && !comma))
        return cannot("the interval", *at, (int)(close + 2 - *at));
    if (repeated)
        enclose(out, atom);
    buf_addf(out, "{%s%.*s%s", low ? "" : "0", (int)(close + 1 - p), p, repeated ? ")" : "");
    *at = close + 1;
    return NULL;
}

const char *regex_from_oniguruma(const char *pattern, struct buf *out)
{
    const char *p = pattern, *problem = NULL;
    size_t atom = NO_ATOM;
    while (!problem && *p) {
        size_t start = out->len;
        switch (*p) {
        case '\\':
            problem = escape(&p, false, out);
            atom = start;
            break;
        case '[':
            problem = brackets(&p, out);
            atom = start;
            break;
        case '(':
            problem = group(&p, p == pattern, out);
            atom = NO_ATOM;
            break;
        case '{':
            problem = interval(&p, atom, out);
            atom = NO_ATOM;
            break;
        default:
            atom = strchr("|)*+?^$", *p) || (unsigned char)*p >= 0x80 ? NO_ATOM : start;
            buf_addc(out, *p++);
        }
    }
    return problem;
}
