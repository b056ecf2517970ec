#include "common/text/decode.h"

#include "common/text/json_parts.h"
#include "common/text/pattern.h"
#include "common/text/unicode.h"
#include "common/util/diag.h"
#include "common/util/utf8.h"

#include <stdlib.h>
#include <string.h>

enum kind { BPE_SUFFIX, BYTE_FALLBACK, BYTE_LEVEL, FUSE, METASPACE, REPLACE, STRIP, SEQUENCE };

struct decoder {
    enum kind kind;
    struct decoder *next;    /* within a sequence */
    struct pattern *pattern; /* REPLACE, METASPACE, BPE_SUFFIX: what is replaced */
    char *content;           /* REPLACE: by what; STRIP: the character */
    size_t content_len;
    bool drop_first;        /* METASPACE: the first token's spaces are none of the text's */
    size_t start, stop;     /* STRIP: how many at most */
    struct decoder *inside; /* SEQUENCE */
};

/* ---- reading ---- */

static size_t read_count(const json_t *value, const char *key, const char *type, const char *path)
{
    int64_t n = json_part_integer(value, key, type, path);
    if (n < 0)
        die(EX_DATAERR, "%s: %s: '%s' is negative", path, type, key);
    return (size_t)n;
}

static void read_literal(struct decoder *d, const json_t *value, const char *key, const char *type,
                         const char *path)
{
    size_t len;
    char *s = json_part_string(value, key, type, path, &len);
    if (len == 0)
        die(EX_DATAERR, "%s: %s: '%s' is empty", path, type, key);
    d->pattern = pattern_literal(s, len);
    free(s);
}

static void read_metaspace(struct decoder *d, const json_t *value, const char *type,
                           const char *path)
{
    read_literal(d, value, "replacement", type, path);
    const char *scheme = json_string_value(json_object_get(value, "prepend_scheme"));
    d->drop_first = scheme ? strcmp(scheme, "never") != 0
                           : json_part_flag(value, "add_prefix_space", true, type, path);
}

static void read_sequence(struct decoder *d, const json_t *value, const char *type,
                          const char *path)
{
    struct decoder **tail = &d->inside;
    const json_t *parts = json_part_array(value, "decoders", type, path);
    for (size_t i = 0; i < json_array_size(parts); i++) {
        *tail = decoder_from_json(json_array_get(parts, i), path);
        if (*tail)
            tail = &(*tail)->next;
    }
}

static struct decoder *new_decoder(const char *type, const char *path)
{
    static const char *const names[] = {"BPEDecoder", "ByteFallback", "ByteLevel", "Fuse",
                                        "Metaspace",  "Replace",      "Strip",     "Sequence"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], type))
            continue;
        struct decoder *d = xcalloc(1, sizeof *d);
        d->kind = (enum kind)i;
        return d;
    }
    json_part_refuse("decoder", type, path);
}

struct decoder *decoder_from_json(const json_t *value, const char *path)
{
    if (!value || json_is_null(value))
        return NULL;
    const char *type = json_part_type(value, "decoder", path);
    struct decoder *d = new_decoder(type, path);
    switch (d->kind) {
    case BPE_SUFFIX:
        read_literal(d, value, "suffix", type, path);
        break;
    case METASPACE:
        read_metaspace(d, value, type, path);
        break;
    case REPLACE:
        d->pattern = json_part_pattern(value, type, path);
        d->content = json_part_string(value, "content", type, path, &d->content_len);
        break;
    case STRIP:
        d->content = json_part_string(value, "content", type, path, &d->content_len);
        if (d->content_len == 0)
            die(EX_DATAERR, "%s: %s: 'content' is empty", path, type);
        d->start = read_count(value, "start", type, path);
        d->stop = read_count(value, "stop", type, path);
        break;
    case SEQUENCE:
        read_sequence(d, value, type, path);
        break;
    default:
        break;
    }
    return d;
}

void decoder_free(struct decoder *d)
{
    while (d) {
        struct decoder *next = d->next;
        decoder_free(d->inside);
        pattern_free(d->pattern);
        free(d->content);
        free(d);
        d = next;
    }
}

/* ---- decoding ---- */

static void set_text(struct arena *arena, struct piece *p, const struct buf *b)
{
    char *copy = arena_take(arena, b->len);
    if (b->len)
        memcpy(copy, b->data, b->len);
    p->s = copy;
    p->len = b->len;
}

/* All tokens become one. */
static void fuse(struct arena *arena, struct pieces *tokens)
{
    struct buf b = {0};
    for (size_t i = 0; i < tokens->len; i++)
        buf_add(&b, tokens->data[i].s, tokens->data[i].len);
    tokens->len = 0;
    struct piece all = {0};
    set_text(arena, &all, &b);
    pieces_add(tokens, all);
    buf_free(&b);
}

/* Does the token spell bytes only? Then appends them. */
static bool add_bytes(struct buf *b, const struct piece *p)
{
    size_t before = b->len;
    for (size_t i = 0, n; i < p->len; i += n) {
        int byte = char_to_byte(utf8_get(p->s + i, &n));
        if (byte < 0) {
            b->len = before;
            return false;
        }
        buf_addc(b, (char)byte);
    }
    return true;
}

static void byte_level(struct arena *arena, struct pieces *tokens)
{
    struct buf bytes = {0}, text = {0};
    for (size_t i = 0; i < tokens->len; i++)
        if (!add_bytes(&bytes, &tokens->data[i]))
            buf_add(&bytes, tokens->data[i].s, tokens->data[i].len);
    utf8_add_lossy(&text, bytes.data, bytes.len);
    tokens->len = 0;
    struct piece all = {0};
    set_text(arena, &all, &text);
    pieces_add(tokens, all);
    buf_free(&bytes);
    buf_free(&text);
}

/* The byte that a token <0xNN> stands for; -1 for any other token. */
static int fallback_byte(const struct piece *p)
{
    if (p->len != 6 || memcmp(p->s, "<0x", 3) || p->s[5] != '>')
        return -1;
    const char hex[] = {p->s[3], p->s[4], '\0'};
    return strspn(hex, "0123456789abcdefABCDEF") == 2 ? (int)strtol(hex, NULL, 16) : -1;
}

/* Runs of byte tokens become text; a run that is not UTF-8 one U+FFFD for each of its bytes. */
static void byte_fallback(struct arena *arena, struct pieces *tokens)
{
    size_t kept = 0;
    struct buf run = {0};
    for (size_t i = 0; i <= tokens->len; i++) {
        int byte = i < tokens->len ? fallback_byte(&tokens->data[i]) : -1;
        if (byte >= 0) {
            buf_addc(&run, (char)byte);
            continue;
        }
        if (run.len) {
            size_t n = run.len;
            if (utf8_invalid_at(run.data, run.len) < run.len)
                for (run.len = 0; n; n--)
                    buf_add(&run, "\xEF\xBF\xBD", 3);
            set_text(arena, &tokens->data[kept++], &run);
            run.len = 0;
        }
        if (i < tokens->len)
            tokens->data[kept++] = tokens->data[i];
    }
    tokens->len = kept;
    buf_free(&run);
}

static void replace(struct pattern *pattern, const char *content, size_t len, struct arena *arena,
                    struct piece *token)
{
    struct buf b = {0};
    struct pattern_search search = pattern_start(pattern, token->s, token->len);
    size_t done = 0, start, end;
    while (pattern_next(&search, &start, &end)) {
        buf_add(&b, token->s + done, start - done);
        buf_add(&b, content, len);
        done = end;
    }
    if (done || b.len) {
        buf_add(&b, token->s + done, token->len - done);
        set_text(arena, token, &b);
    }
    buf_free(&b);
}

static void strip(const struct decoder *d, struct piece *token)
{
    size_t n = d->content_len;
    for (size_t i = 0; i < d->start && token->len >= n && !memcmp(token->s, d->content, n); i++) {
        token->s += n;
        token->len -= n;
    }
    for (size_t i = 0;
         i < d->stop && token->len >= n && !memcmp(token->s + token->len - n, d->content, n); i++)
        token->len -= n;
}

void decode(const struct decoder *d, struct arena *arena, struct pieces *tokens)
{
    for (; d; d = d->next) {
        switch (d->kind) {
        case BPE_SUFFIX:
            for (size_t i = 0; i < tokens->len; i++)
                replace(d->pattern, " ", i + 1 < tokens->len, arena, &tokens->data[i]);
            break;
        case BYTE_FALLBACK:
            byte_fallback(arena, tokens);
            break;
        case BYTE_LEVEL:
            byte_level(arena, tokens);
            break;
        case FUSE:
            fuse(arena, tokens);
            break;
        case METASPACE:
            for (size_t i = 0; i < tokens->len; i++)
                replace(d->pattern, " ", i > 0 || !d->drop_first, arena, &tokens->data[i]);
            break;
        case REPLACE:
            for (size_t i = 0; i < tokens->len; i++)
                replace(d->pattern, d->content, d->content_len, arena, &tokens->data[i]);
            break;
        case STRIP:
            for (size_t i = 0; i < tokens->len; i++)
                strip(d, &tokens->data[i]);
            break;
        case SEQUENCE:
            decode(d->inside, arena, tokens);
            break;
        }
    }
}
