#include "common/text/normalize.h"

#include "common/text/json_parts.h"
#include "common/text/pattern.h"
#include "common/text/unicode.h"
#include "common/text/unicode_forms.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

enum kind { FORM, LOWERCASE, PREPEND, REPLACE, STRIP, SEQUENCE };

struct normalizer {
    enum kind kind;
    struct normalizer *next; /* within a sequence */
    enum unicode_form form;
    struct pattern *pattern; /* REPLACE */
    char *content;           /* PREPEND, REPLACE */
    size_t content_len;
    bool left, right;          /* STRIP */
    struct normalizer *inside; /* SEQUENCE */
};

static const struct {
    const char *name;
    enum kind kind;
    enum unicode_form form;
} types[] = {
    {"NFC", FORM, FORM_NFC},   {"NFD", FORM, FORM_NFD},     {"NFKC", FORM, FORM_NFKC},
    {"NFKD", FORM, FORM_NFKD}, {"Lowercase", LOWERCASE, 0}, {"Prepend", PREPEND, 0},
    {"Replace", REPLACE, 0},   {"Strip", STRIP, 0},         {"Sequence", SEQUENCE, 0},
};

static struct normalizer *new_normalizer(const char *type, const char *path)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, type))
            continue;
        struct normalizer *n = xcalloc(1, sizeof *n);
        n->kind = types[i].kind;
        n->form = types[i].form;
        return n;
    }
    json_part_refuse("normalizer", type, path);
}

struct normalizer *normalizer_from_json(const json_t *value, const char *path)
{
    if (!value || json_is_null(value))
        return NULL;
    const char *type = json_part_type(value, "normalizer", path);
    struct normalizer *n = new_normalizer(type, path);
    struct normalizer **tail = &n->inside;
    const json_t *parts;
    switch (n->kind) {
    case PREPEND:
        n->content = json_part_string(value, "prepend", type, path, &n->content_len);
        break;
    case REPLACE:
        n->pattern = json_part_pattern(value, type, path);
        n->content = json_part_string(value, "content", type, path, &n->content_len);
        break;
    case STRIP:
        n->left = json_part_flag(value, "strip_left", true, type, path);
        n->right = json_part_flag(value, "strip_right", true, type, path);
        break;
    case SEQUENCE:
        parts = json_part_array(value, "normalizers", type, path);
        for (size_t k = 0; k < json_array_size(parts); k++) {
            *tail = normalizer_from_json(json_array_get(parts, k), path);
            if (*tail)
                tail = &(*tail)->next;
        }
        break;
    default:
        break;
    }
    return n;
}

void normalizer_free(struct normalizer *n)
{
    while (n) {
        struct normalizer *next = n->next;
        normalizer_free(n->inside);
        pattern_free(n->pattern);
        free(n->content);
        free(n);
        n = next;
    }
}

static void keep(struct arena *arena, struct piece *piece, const struct buf *text)
{
    char *copy = arena_take(arena, text->len);
    if (text->len)
        memcpy(copy, text->data, text->len);
    piece->s = copy;
    piece->len = text->len;
}

static void to_form(enum unicode_form form, struct arena *arena, struct piece *piece)
{
    if (unicode_is_in_form(form, piece->s, piece->len))
        return;
    struct buf b = {0};
    unicode_to_form(form, piece->s, piece->len, &b);
    keep(arena, piece, &b);
    buf_free(&b);
}

static void to_lower(struct arena *arena, struct piece *piece)
{
    struct buf b = {0};
    for (size_t i = 0, n; i < piece->len; i += n)
        unicode_add_lower(&b, utf8_get(piece->s + i, &n));
    keep(arena, piece, &b);
    buf_free(&b);
}

static void prepend(const struct normalizer *n, struct arena *arena, struct piece *piece)
{
    if (piece->len == 0)
        return;
    char *copy = arena_take(arena, n->content_len + piece->len);
    memcpy(copy, n->content, n->content_len);
    memcpy(copy + n->content_len, piece->s, piece->len);
    piece->s = copy;
    piece->len += n->content_len;
}

static void replace(const struct normalizer *n, struct arena *arena, struct piece *piece)
{
    struct pattern_search search = pattern_start(n->pattern, piece->s, piece->len);
    struct buf b = {0};
    size_t done = 0, start, end;
    bool any = false;
    while (pattern_next(&search, &start, &end)) {
        any = true;
        buf_add(&b, piece->s + done, start - done);
        buf_add(&b, n->content, n->content_len);
        done = end;
    }
    if (any) {
        buf_add(&b, piece->s + done, piece->len - done);
        keep(arena, piece, &b);
    }
    buf_free(&b);
}

static void strip(const struct normalizer *n, struct piece *piece)
{
    size_t start = 0, end = piece->len, bytes;
    while (n->left && start < end && unicode_is_space(utf8_get(piece->s + start, &bytes)))
        start += bytes;
    while (n->right && end > start) {
        size_t last = utf8_before(piece->s, end);
        if (!unicode_is_space(utf8_get(piece->s + last, &bytes)))
            break;
        end = last;
    }
    piece->s += start;
    piece->len = end - start;
    piece->at_start = piece->at_start && start == 0;
}

void normalize(const struct normalizer *n, struct arena *arena, struct piece *piece)
{
    for (; n; n = n->next) {
        switch (n->kind) {
        case FORM:
            to_form(n->form, arena, piece);
            break;
        case LOWERCASE:
            to_lower(arena, piece);
            break;
        case PREPEND:
            prepend(n, arena, piece);
            break;
        case REPLACE:
            replace(n, arena, piece);
            break;
        case STRIP:
            strip(n, piece);
            break;
        case SEQUENCE:
            normalize(n->inside, arena, piece);
            break;
        }
    }
}
