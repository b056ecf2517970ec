#include "common/text/pretokenize.h"

#include "common/text/bpe.h"
#include "common/text/json_parts.h"
#include "common/text/pattern.h"
#include "common/text/unicode.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

enum kind { BYTE_LEVEL, CHAR_CLASS, METASPACE, SPLIT, WHITESPACE, SEQUENCE };

/* What becomes of a match and of the text between matches. */
enum behavior { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };

enum prepend { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };

struct pretokenizer {
    enum kind kind;
    struct pretokenizer *next; /* within a sequence */
    enum behavior behavior;
    struct pattern *pattern;         /* SPLIT, METASPACE, BYTE_LEVEL; NULL: the text is not cut */
    bool invert;                     /* SPLIT: the matches are the text between */
    bool (*is_match)(uint32_t code); /* CHAR_CLASS */
    enum prepend prepend;            /* METASPACE; BYTE_LEVEL: a space */
    char *replacement;               /* METASPACE: for a space */
    size_t replacement_len;
    struct pretokenizer *inside; /* SEQUENCE */
};

/* GPT-2's, https://github.com/openai/gpt-2/blob/master/src/encoder.py */
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* ---- reading ---- */

static enum behavior read_behavior(const json_t *value, const char *type, const char *path)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *name = json_string_value(json_object_get(value, "behavior"));
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name))
            return (enum behavior)i;
    die(EX_DATAERR, "%s: %s: the behavior '%s' is not supported", path, type, name ? name : "");
}

static void read_byte_level(struct pretokenizer *p, const json_t *value, const char *type,
                            const char *path)
{
    p->kind = BYTE_LEVEL;
    p->behavior = ISOLATED;
    if (json_part_flag(value, "add_prefix_space", true, type, path))
        p->prepend = PREPEND_ALWAYS;
    if (json_part_flag(value, "use_regex", true, type, path))
        p->pattern = pattern_regex(gpt2_pattern, path);
}

static void read_metaspace(struct pretokenizer *p, const json_t *value, const char *type,
                           const char *path)
{
    p->kind = METASPACE;
    p->behavior = MERGED_WITH_NEXT;
    p->replacement = json_part_string(value, "replacement", type, path, &p->replacement_len);
    if (p->replacement_len == 0)
        die(EX_DATAERR, "%s: %s: 'replacement' is empty", path, type);
    if (json_part_flag(value, "split", true, type, path))
        p->pattern = pattern_literal(p->replacement, p->replacement_len);
    const char *scheme = json_string_value(json_object_get(value, "prepend_scheme"));
    if (!scheme) /* files older than prepend_scheme */
        scheme = json_part_flag(value, "add_prefix_space", true, type, path) ? "always" : "never";
    if (!strcmp(scheme, "always"))
        p->prepend = PREPEND_ALWAYS;
    else if (!strcmp(scheme, "first"))
        p->prepend = PREPEND_FIRST;
    else if (strcmp(scheme, "never"))
        die(EX_DATAERR, "%s: %s: the prepend_scheme '%s' is not supported", path, type, scheme);
}

static void read_delimiter(struct pretokenizer *p, const json_t *value, const char *type,
                           const char *path)
{
    p->kind = SPLIT;
    p->behavior = REMOVED;
    size_t len;
    char *delimiter = json_part_string(value, "delimiter", type, path, &len);
    if (len == 0)
        die(EX_DATAERR, "%s: %s: 'delimiter' is empty", path, type);
    p->pattern = pattern_literal(delimiter, len);
    free(delimiter);
}

static void read_sequence(struct pretokenizer *p, const json_t *value, const char *type,
                          const char *path)
{
    p->kind = SEQUENCE;
    struct pretokenizer **tail = &p->inside, *last = NULL;
    const json_t *parts = json_part_array(value, "pretokenizers", type, path);
    for (size_t i = 0; i < json_array_size(parts); i++) {
        if (pretokenizer_is_byte_level(last))
            die(EX_DATAERR, "%s: a pre-tokenizer after ByteLevel is not supported", path);
        *tail = last = pretokenizer_from_json(json_array_get(parts, i), path);
        if (last)
            tail = &last->next;
    }
}

struct pretokenizer *pretokenizer_from_json(const json_t *value, const char *path)
{
    if (!value || json_is_null(value))
        return NULL;
    const char *type = json_part_type(value, "pre-tokenizer", path);
    struct pretokenizer *p = xcalloc(1, sizeof *p);
    if (!strcmp(type, "ByteLevel")) {
        read_byte_level(p, value, type, path);
    } else if (!strcmp(type, "Metaspace")) {
        read_metaspace(p, value, type, path);
    } else if (!strcmp(type, "CharDelimiterSplit")) {
        read_delimiter(p, value, type, path);
    } else if (!strcmp(type, "Sequence")) {
        read_sequence(p, value, type, path);
    } else if (!strcmp(type, "Split")) {
        p->kind = SPLIT;
        p->pattern = json_part_pattern(value, type, path);
        p->behavior = read_behavior(value, type, path);
        p->invert = json_part_flag(value, "invert", false, type, path);
    } else if (!strcmp(type, "Digits")) {
        p->kind = CHAR_CLASS;
        p->is_match = unicode_is_number;
        p->behavior =
            json_part_flag(value, "individual_digits", false, type, path) ? ISOLATED : CONTIGUOUS;
    } else if (!strcmp(type, "WhitespaceSplit")) {
        p->kind = CHAR_CLASS;
        p->is_match = unicode_is_space;
        p->behavior = REMOVED;
    } else if (!strcmp(type, "Whitespace")) {
        p->kind = WHITESPACE;
    } else {
        json_part_refuse("pre-tokenizer", type, path);
    }
    return p;
}

void pretokenizer_free(struct pretokenizer *p)
{
    while (p) {
        struct pretokenizer *next = p->next;
        pretokenizer_free(p->inside);
        pattern_free(p->pattern);
        free(p->replacement);
        free(p);
        p = next;
    }
}

bool pretokenizer_is_byte_level(const struct pretokenizer *p)
{
    if (!p || p->kind != SEQUENCE)
        return p && p->kind == BYTE_LEVEL;
    const struct pretokenizer *last = p->inside;
    while (last && last->next)
        last = last->next;
    return pretokenizer_is_byte_level(last);
}

/* ---- cutting ---- */

/* Takes the parts of one piece in order, matches and what is between them, and adds to out what the
 * behavior makes of them. */
struct cutter {
    const struct piece *piece;
    struct pieces *out;
    enum behavior behavior;
    bool invert;
    size_t start, end; /* of the piece being put together */
    bool open;         /* there is one */
    bool last_match;   /* was the last part a match? (false before the first) */
};

static void cut(struct cutter *c, size_t start, size_t end, bool is_match)
{
    bool join = false;
    is_match ^= c->invert;
    switch (c->behavior) {
    case REMOVED:
        if (is_match)
            return;
        break;
    case ISOLATED:
        break;
    case MERGED_WITH_PREVIOUS:
        join = is_match && !c->last_match;
        break;
    case MERGED_WITH_NEXT:
        /* Of several matches in a row only the last joins what follows. */
        join = c->last_match && !is_match;
        break;
    case CONTIGUOUS:
        join = is_match == c->last_match;
        break;
    }
    if (join && c->open) {
        c->end = end;
    } else {
        if (c->open)
            pieces_add_part(c->out, c->piece, c->start, c->end);
        c->start = start;
        c->end = end;
        c->open = true;
    }
    c->last_match = is_match;
}

static void cut_end(struct cutter *c)
{
    if (c->open)
        pieces_add_part(c->out, c->piece, c->start, c->end);
}

static void cut_by_pattern(const struct pretokenizer *p, const struct piece *piece,
                           struct pieces *out)
{
    struct cutter c = {.piece = piece, .out = out, .behavior = p->behavior, .invert = p->invert};
    struct pattern_search search = pattern_start(p->pattern, piece->s, piece->len);
    size_t done = 0, start, end;
    while (pattern_next(&search, &start, &end)) {
        if (done != start)
            cut(&c, done, start, false);
        cut(&c, start, end, true);
        done = end;
    }
    if (done != piece->len)
        cut(&c, done, piece->len, false);
    cut_end(&c);
}

static void cut_by_class(const struct pretokenizer *p, const struct piece *piece,
                         struct pieces *out)
{
    struct cutter c = {.piece = piece, .out = out, .behavior = p->behavior};
    size_t done = 0;
    for (size_t i = 0, n; i < piece->len; i += n) {
        if (!p->is_match(utf8_get(piece->s + i, &n)))
            continue;
        if (done != i)
            cut(&c, done, i, false);
        cut(&c, i, i + n, true);
        done = i + n;
    }
    if (done != piece->len)
        cut(&c, done, piece->len, false);
    cut_end(&c);
}

/* Runs of word characters and runs of what is neither word nor white space. */
static void cut_words(const struct piece *piece, struct pieces *out)
{
    enum { SPACE, WORD, OTHER } now, before = SPACE;
    size_t start = 0;
    for (size_t i = 0, n; i < piece->len; i += n) {
        uint32_t code = utf8_get(piece->s + i, &n);
        now = unicode_is_word(code) ? WORD : unicode_is_space(code) ? SPACE : OTHER;
        if (now == before)
            continue;
        if (before != SPACE)
            pieces_add_part(out, piece, start, i);
        before = now;
        start = i;
    }
    if (before != SPACE)
        pieces_add_part(out, piece, start, piece->len);
}

static void prepend(struct arena *arena, struct piece *piece, const char *s, size_t len)
{
    char *copy = arena_take(arena, len + piece->len);
    memcpy(copy, s, len);
    memcpy(copy + len, piece->s, piece->len);
    piece->s = copy;
    piece->len += len;
}

/* Spaces become the replacement, and one goes before the text where the scheme wants it. */
static void replace_spaces(const struct pretokenizer *p, struct arena *arena, struct piece *piece)
{
    size_t spaces = 0, r = p->replacement_len;
    for (size_t i = 0; i < piece->len; i++)
        spaces += piece->s[i] == ' ';
    bool there = piece->s[0] == ' ' || (piece->len >= r && !memcmp(piece->s, p->replacement, r));
    bool add = !there &&
               (p->prepend == PREPEND_ALWAYS || (p->prepend == PREPEND_FIRST && piece->at_start));
    if (!add && !spaces)
        return;
    char *copy = arena_take(arena, piece->len + (spaces + 1) * r), *to = copy;
    if (add) {
        memcpy(to, p->replacement, r);
        to += r;
    }
    for (size_t i = 0; i < piece->len; i++) {
        if (piece->s[i] == ' ') {
            memcpy(to, p->replacement, r);
            to += r;
        } else {
            *to++ = piece->s[i];
        }
    }
    piece->s = copy;
    piece->len = (size_t)(to - copy);
}

static void cut_piece(const struct pretokenizer *p, struct arena *arena, struct piece piece,
                      struct pieces *out)
{
    switch (p->kind) {
    case BYTE_LEVEL:
        if (p->prepend == PREPEND_ALWAYS && piece.s[0] != ' ')
            prepend(arena, &piece, " ", 1);
        break;
    case METASPACE:
        replace_spaces(p, arena, &piece);
        break;
    case CHAR_CLASS:
        cut_by_class(p, &piece, out);
        return;
    case WHITESPACE:
        cut_words(&piece, out);
        return;
    default:
        break;
    }
    if (p->pattern)
        cut_by_pattern(p, &piece, out);
    else
        pieces_add(out, piece);
}

void pretokenize(const struct pretokenizer *p, struct arena *arena, struct pieces *in,
                 struct pieces *out)
{
    for (; p; p = p->next) {
        if (p->kind == SEQUENCE) {
            pretokenize(p->inside, arena, in, out);
            continue;
        }
        out->len = 0;
        for (size_t i = 0; i < in->len; i++) {
            if (in->data[i].token == NO_TOKEN)
                cut_piece(p, arena, in->data[i], out);
            else
                pieces_add(out, in->data[i]);
        }
        struct pieces swap = *in;
        *in = *out;
        *out = swap;
    }
}
