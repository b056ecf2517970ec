#include "common/text/added_tokens.h"

#include "common/text/unicode.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

/* A trie over bytes; node 0 is the root. A node's children are a chain of siblings. */
struct node {
    uint32_t child, sibling; /* 0: none */
    int32_t token;           /* index into tokens, or -1 */
    unsigned char byte;
};

struct added_tokens {
    struct node *nodes;
    size_t n_nodes, node_cap;
    struct added_token *tokens;
    size_t n_tokens, token_cap;
    uint32_t first[256]; /* the root's children by byte */
};

static uint32_t add_node(struct added_tokens *a, unsigned char byte)
{
    if (a->n_nodes == a->node_cap) {
        a->node_cap = a->node_cap ? a->node_cap * 2 : 64;
        a->nodes = xreallocarray(a->nodes, a->node_cap, sizeof *a->nodes);
    }
    a->nodes[a->n_nodes] = (struct node){0, 0, -1, byte};
    return (uint32_t)a->n_nodes++;
}

struct added_tokens *added_tokens_new(void)
{
    struct added_tokens *a = xcalloc(1, sizeof *a);
    add_node(a, 0);
    return a;
}

void added_tokens_free(struct added_tokens *a)
{
    if (!a)
        return;
    free(a->nodes);
    free(a->tokens);
    free(a);
}

static uint32_t find_child(const struct added_tokens *a, uint32_t node, unsigned char byte)
{
    if (node == 0)
        return a->first[byte];
    uint32_t c = a->nodes[node].child;
    while (c && a->nodes[c].byte != byte)
        c = a->nodes[c].sibling;
    return c;
}

static uint32_t make_child(struct added_tokens *a, uint32_t node, unsigned char byte)
{
    uint32_t c = find_child(a, node, byte);
    if (c)
        return c;
    c = add_node(a, byte);
    if (node == 0) {
        a->first[byte] = c;
    } else {
        a->nodes[c].sibling = a->nodes[node].child;
        a->nodes[node].child = c;
    }
    return c;
}

void added_tokens_add(struct added_tokens *a, const char *s, size_t len, struct added_token token)
{
    if (len == 0)
        return;
    uint32_t node = 0;
    for (size_t i = 0; i < len; i++)
        node = make_child(a, node, (unsigned char)s[i]);
    if (a->n_tokens == a->token_cap) {
        a->token_cap = a->token_cap ? a->token_cap * 2 : 64;
        a->tokens = xreallocarray(a->tokens, a->token_cap, sizeof *a->tokens);
    }
    a->nodes[node].token = (int32_t)a->n_tokens;
    a->tokens[a->n_tokens++] = token;
}

bool added_tokens_empty(const struct added_tokens *a)
{
    return a->n_tokens == 0;
}

/* The longest token that starts here; NULL when none does. */
static const struct added_token *match(const struct added_tokens *a, const char *s, size_t len,
                                       size_t *matched)
{
    const struct added_token *best = NULL;
    uint32_t node = 0;
    for (size_t i = 0; i < len; i++) {
        node = find_child(a, node, (unsigned char)s[i]);
        if (!node)
            break;
        if (a->nodes[node].token >= 0) {
            best = &a->tokens[a->nodes[node].token];
            *matched = i + 1;
        }
    }
    return best;
}

static bool stands_alone(const struct piece *p, size_t start, size_t end)
{
    size_t n;
    return (start == 0 || !unicode_is_word(utf8_get(p->s + utf8_before(p->s, start), &n))) &&
           (end == p->len || !unicode_is_word(utf8_get(p->s + end, &n)));
}

static size_t strip_left(const struct piece *p, size_t start, size_t from)
{
    size_t n;
    if (start < from) /* blanks that it begins with were the last one's */
        return from;
    while (start > from && unicode_is_space(utf8_get(p->s + utf8_before(p->s, start), &n)))
        start = utf8_before(p->s, start);
    return start;
}

static size_t strip_right(const struct piece *p, size_t end)
{
    size_t n;
    while (end < p->len && unicode_is_space(utf8_get(p->s + end, &n)))
        end += n;
    return end;
}

/* How far a token that starts at `at` may reach; `at` itself in a literal part, of which *end is
 * then the end. *next: the first part that ends behind `at`; it goes on from call to call. */
static size_t reach(const struct literal_parts *l, size_t at, size_t len, size_t *next, size_t *end)
{
    while (*next + 1 < l->n && (size_t)l->offsets[*next + 1] <= at)
        *next += 2;
    if (*next + 1 >= l->n)
        return len;
    size_t start = (size_t)l->offsets[*next];
    *end = (size_t)l->offsets[*next + 1];
    return start <= at ? at : start < len ? start : len;
}

void added_tokens_split(const struct added_tokens *a, const struct piece *piece,
                        const struct literal_parts *literal, struct pieces *out)
{
    size_t done = 0, at = 0, part = 0, part_end = 0;
    while (at < piece->len) {
        if (!a->first[(unsigned char)piece->s[at]]) {
            at++;
            continue;
        }
        size_t len, most = reach(literal, at, piece->len, &part, &part_end);
        if (most == at) {
            at = part_end;
            continue;
        }
        const struct added_token *token = match(a, piece->s + at, most - at, &len);
        if (!token) {
            at++;
            continue;
        }
        size_t start = at, end = at + len;
        at = end; /* the next search starts behind the bare match */
        if (token->single_word && !stands_alone(piece, start, end))
            continue;
        if (token->lstrip)
            start = strip_left(piece, start, done);
        if (token->rstrip)
            end = strip_right(piece, end);
        if (start >= end)
            continue;
        if (done < start)
            pieces_add_part(out, piece, done, start);
        pieces_add(out, (struct piece){piece->s + start, end - start, token->id, false});
        done = end;
    }
    if (done < piece->len)
        pieces_add_part(out, piece, done, piece->len);
}
