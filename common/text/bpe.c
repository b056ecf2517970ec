#include "common/text/bpe.h"

#include "common/text/string_table.h"
#include "common/text/unicode.h"
#include "common/text/word_cache.h"
#include "common/util/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Words up to so many symbols are merged by looking through all neighbours each time, which beats
 * the heap's bookkeeping; longer ones by the heap. */
enum { SHORT_WORD = 32 };
/* Longer words are not worth a place in the cache. */
enum { CACHED_LEN = 64 };

#define NO_RANK UINT32_MAX

struct merge {
    uint64_t pair; /* left << 32 | right; NO_PAIR: free */
    uint32_t rank;
    int32_t merged;
};
#define NO_PAIR UINT64_MAX

struct symbol {
    int32_t id;
    uint32_t prev, next; /* positions; END at the ends */
    uint32_t rank;       /* of the merge with the next symbol; NO_RANK: none, or gone */
    int32_t merged;
};
#define END UINT32_MAX

struct bpe {
    struct string_table *tokens;
    struct bpe_options options;
    char *continuing_prefix, *suffix;

    struct merge *merges; /* open addressing, a power of two */
    size_t merge_count, merge_slots;

    int32_t byte_token[256]; /* <0xNN>; used only when all of a character's are there */
    int32_t *char_token;     /* [0x10000], of the Basic Multilingual Plane's characters */
    bool split_at_spaces;    /* no merge crosses from another character to U+2581: see bpe_ready */

    struct word_cache *cache;
    struct symbol *symbols;
    uint64_t *heap;
    size_t n_symbols, symbol_cap, heap_len, heap_cap;
    struct buf spelled, character;
};

static const char SPACE_MARK[] = "\xE2\x96\x81"; /* U+2581, SentencePiece's space */
enum { SPACE_MARK_LEN = 3 };

/* ---- building ---- */

struct bpe *bpe_new(void)
{
    struct bpe *m = xcalloc(1, sizeof *m);
    m->tokens = string_table_new();
    m->options.unknown = NO_TOKEN;
    return m;
}

void bpe_free(struct bpe *m)
{
    if (!m)
        return;
    string_table_free(m->tokens);
    word_cache_free(m->cache);
    free(m->continuing_prefix);
    free(m->suffix);
    free(m->merges);
    free(m->char_token);
    free(m->symbols);
    free(m->heap);
    buf_free(&m->spelled);
    buf_free(&m->character);
    free(m);
}

bool bpe_add_token(struct bpe *m, const char *token, size_t len, int32_t id)
{
    return string_table_add(m->tokens, token, len, id);
}

void bpe_set_options(struct bpe *m, const struct bpe_options *options)
{
    m->options = *options;
    const char *prefix = options->continuing_prefix, *suffix = options->suffix;
    m->continuing_prefix = prefix && *prefix ? xstrdup(prefix) : NULL;
    m->suffix = suffix && *suffix ? xstrdup(suffix) : NULL;
    m->options.continuing_prefix = m->continuing_prefix;
    m->options.suffix = m->suffix;
}

static size_t pair_slot(uint64_t pair, size_t slots)
{
    uint64_t h = pair * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(h ^ h >> 32) & (slots - 1);
}

static struct merge *merge_place(struct merge *merges, size_t slots, uint64_t pair)
{
    size_t i = pair_slot(pair, slots);
    while (merges[i].pair != pair && merges[i].pair != NO_PAIR)
        i = (i + 1) & (slots - 1);
    return &merges[i];
}

static void grow_merges(struct bpe *m)
{
    size_t slots = m->merge_slots ? m->merge_slots * 2 : 1024;
    struct merge *merges = xreallocarray(NULL, slots, sizeof *merges);
    for (size_t i = 0; i < slots; i++)
        merges[i].pair = NO_PAIR;
    for (size_t i = 0; i < m->merge_slots; i++)
        if (m->merges[i].pair != NO_PAIR)
            *merge_place(merges, slots, m->merges[i].pair) = m->merges[i];
    free(m->merges);
    m->merges = merges;
    m->merge_slots = slots;
}

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

void bpe_add_merge(struct bpe *m, int32_t left, int32_t right, int32_t merged, uint32_t rank)
{
    if (m->merge_count * 5 >= m->merge_slots * 3)
        grow_merges(m);
    struct merge *place = merge_place(m->merges, m->merge_slots, pair_of(left, right));
    if (place->pair == NO_PAIR)
        m->merge_count++;
    *place = (struct merge){pair_of(left, right), rank, merged};
}

/* Does the token hold U+2581 after another character? */
static bool crosses_into_space(const char *token, size_t len)
{
    bool other = false;
    for (size_t i = 0; i < len; i += utf8_len((unsigned char)token[i])) {
        bool space = len - i >= SPACE_MARK_LEN && !memcmp(token + i, SPACE_MARK, SPACE_MARK_LEN);
        if (space && other)
            return true;
        other = !space;
    }
    return false;
}

/* When no merge makes such a token, what stands before and after a boundary into U+2581 never
 * meets: a text may be cut there into words, which the cache knows, with the same result. Where
 * whole words are looked up, a part is none. */
static bool may_split_at_spaces(const struct bpe *m)
{
    if (m->options.byte_level || m->options.ignore_merges || m->continuing_prefix || m->suffix ||
        bpe_find(m, SPACE_MARK, SPACE_MARK_LEN) == NO_TOKEN)
        return false;
    for (size_t i = 0; i < m->merge_slots; i++) {
        size_t len;
        const char *token = NULL;
        if (m->merges[i].pair != NO_PAIR)
            token = bpe_token(m, m->merges[i].merged, &len);
        if (token && crosses_into_space(token, len))
            return false;
    }
    return true;
}

void bpe_ready(struct bpe *m)
{
    if (m->merge_slots == 0)
        grow_merges(m);
    for (int b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
        m->byte_token[b] = bpe_find(m, name, strlen(name));
    }
    m->char_token = xreallocarray(NULL, 0x10000, sizeof *m->char_token);
    for (uint32_t c = 0; c < 0x10000; c++)
        m->char_token[c] = NO_TOKEN;
    for (int32_t id = 0; id < bpe_size(m); id++) {
        size_t len, n;
        const char *token = bpe_token(m, id, &len);
        if (!token || len == 0 || len != utf8_len((unsigned char)*token))
            continue;
        uint32_t c = utf8_get(token, &n);
        if (c < 0x10000)
            m->char_token[c] = id;
    }
    m->split_at_spaces = may_split_at_spaces(m);
    m->cache = word_cache_new();
}

int32_t bpe_size(const struct bpe *m)
{
    return string_table_size(m->tokens);
}

int32_t bpe_find(const struct bpe *m, const char *token, size_t len)
{
    return string_table_find(m->tokens, token, len);
}

const char *bpe_token(const struct bpe *m, int32_t id, size_t *len)
{
    return string_table_get(m->tokens, id, len);
}

/* ---- a word's symbols ---- */

static void add_symbol(struct bpe *m, int32_t id)
{
    if (m->n_symbols == m->symbol_cap) {
        m->symbol_cap = m->symbol_cap ? m->symbol_cap * 2 : 256;
        m->symbols = xreallocarray(m->symbols, m->symbol_cap, sizeof *m->symbols);
    }
    m->symbols[m->n_symbols++].id = id;
}

static bool add_byte_tokens(struct bpe *m, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (m->byte_token[(unsigned char)s[i]] == NO_TOKEN)
            return false;
    for (size_t i = 0; i < len; i++)
        add_symbol(m, m->byte_token[(unsigned char)s[i]]);
    return true;
}

/* The token of one character, spelt as the vocabulary spells it at this place of a word. spelling
 * and its length: what byte fallback falls back on. */
static int32_t find_character(struct bpe *m, const char *s, size_t len, bool first, bool last,
                              const char **spelling, size_t *spelling_len)
{
    *spelling = s;
    *spelling_len = len;
    if ((first || !m->continuing_prefix) && (!last || !m->suffix)) {
        size_t n;
        uint32_t c = utf8_get(s, &n);
        return c < 0x10000 ? m->char_token[c] : bpe_find(m, s, len);
    }
    struct buf *b = &m->character;
    b->len = 0;
    if (!first && m->continuing_prefix)
        buf_add(b, m->continuing_prefix, strlen(m->continuing_prefix));
    buf_add(b, s, len);
    if (last && m->suffix)
        buf_add(b, m->suffix, strlen(m->suffix));
    *spelling = b->data;
    *spelling_len = b->len;
    return bpe_find(m, b->data, b->len);
}

/* As `tokenizers` does it, down to this: an unknown token waits until a known one comes, and bytes
 * fallen back on go before it. */
static void split_characters(struct bpe *m, const char *s, size_t len)
{
    bool waiting = false;
    m->n_symbols = 0;
    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_len((unsigned char)s[i]);
        const char *spelling;
        size_t spelling_len;
        int32_t id = find_character(m, s + i, n, i == 0, i + n == len, &spelling, &spelling_len);
        if (id != NO_TOKEN) {
            if (waiting)
                add_symbol(m, m->options.unknown);
            waiting = false;
            add_symbol(m, id);
        } else if (m->options.byte_fallback && add_byte_tokens(m, spelling, spelling_len)) {
            continue;
        } else if (m->options.unknown != NO_TOKEN) {
            if (waiting && !m->options.fuse_unknown)
                add_symbol(m, m->options.unknown);
            waiting = true;
        }
    }
    if (waiting)
        add_symbol(m, m->options.unknown);
}

/* ---- merging ---- */

static void look_up(const struct bpe *m, struct symbol *left, const struct symbol *right)
{
    const struct merge *found =
        merge_place(m->merges, m->merge_slots, pair_of(left->id, right->id));
    left->rank = found->pair == NO_PAIR ? NO_RANK : found->rank;
    left->merged = found->merged;
}

/* A few symbols, kept in one row. */
static void merge_short(struct bpe *m, struct ids *out)
{
    struct symbol *s = m->symbols;
    size_t n = m->n_symbols;
    for (size_t i = 0; i + 1 < n; i++)
        look_up(m, &s[i], &s[i + 1]);
    if (n)
        s[n - 1].rank = NO_RANK;
    for (;;) {
        size_t best = 0;
        uint32_t rank = NO_RANK;
        for (size_t i = 0; i + 1 < n; i++)
            if (s[i].rank < rank) {
                rank = s[i].rank;
                best = i;
            }
        if (rank == NO_RANK)
            break;
        s[best].id = s[best].merged;
        memmove(&s[best + 1], &s[best + 2], (n - best - 2) * sizeof *s);
        n--;
        if (best + 1 < n)
            look_up(m, &s[best], &s[best + 1]);
        else
            s[best].rank = NO_RANK;
        if (best > 0)
            look_up(m, &s[best - 1], &s[best]);
    }
    ids_reserve(out, n);
    for (size_t i = 0; i < n; i++)
        out->data[out->len++] = s[i].id;
}

static void heap_push(struct bpe *m, uint64_t entry)
{
    if (m->heap_len == m->heap_cap) {
        m->heap_cap = m->heap_cap ? m->heap_cap * 2 : 256;
        m->heap = xreallocarray(m->heap, m->heap_cap, sizeof *m->heap);
    }
    size_t i = m->heap_len++;
    while (i > 0 && m->heap[(i - 1) / 2] > entry) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = entry;
}

static uint64_t heap_pop(struct bpe *m)
{
    uint64_t *h = m->heap, top = h[0], last = h[--m->heap_len];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < m->heap_len; i = child) {
        if (child + 1 < m->heap_len && h[child + 1] < h[child])
            child++;
        if (h[child] >= last)
            break;
        h[i] = h[child];
    }
    h[i] = last;
    return top;
}

/* Looks up the symbol's merge with its next one; a heap entry is rank << 32 | position, so that the
 * smallest is the lowest rank and of those the leftmost. */
static void offer(struct bpe *m, uint32_t at)
{
    struct symbol *s = m->symbols;
    s[at].rank = NO_RANK;
    if (s[at].next != END)
        look_up(m, &s[at], &s[s[at].next]);
    if (s[at].rank != NO_RANK)
        heap_push(m, (uint64_t)s[at].rank << 32 | at);
}

static void merge_long(struct bpe *m, struct ids *out)
{
    struct symbol *s = m->symbols;
    uint32_t n = (uint32_t)m->n_symbols;
    m->heap_len = 0;
    for (uint32_t i = 0; i < n; i++) {
        s[i].prev = i ? i - 1 : END;
        s[i].next = i + 1 < n ? i + 1 : END;
    }
    for (uint32_t i = 0; i < n; i++)
        offer(m, i);
    while (m->heap_len) {
        uint64_t top = heap_pop(m);
        uint32_t at = (uint32_t)top;
        if (s[at].rank != top >> 32) /* out of date: merged or changed since */
            continue;
        uint32_t gone = s[at].next;
        s[at].id = s[at].merged;
        s[at].next = s[gone].next;
        s[gone].rank = NO_RANK;
        if (s[at].next != END)
            s[s[at].next].prev = at;
        if (s[at].prev != END)
            offer(m, s[at].prev);
        offer(m, at);
    }
    ids_reserve(out, n);
    for (uint32_t i = 0; i != END && n; i = s[i].next)
        out->data[out->len++] = s[i].id;
}

/* ---- encoding ---- */

/* A byte-level model's word, as its tokens spell it. */
static void spell(struct buf *b, const char *word, size_t len)
{
    b->len = 0;
    buf_reserve(b, 2 * len);
    for (size_t i = 0; i < len; i++)
        utf8_add(b, byte_to_char((unsigned char)word[i]));
}

static void encode_new(struct bpe *m, const char *word, size_t len, struct ids *out)
{
    if (m->options.byte_level) {
        spell(&m->spelled, word, len);
        word = m->spelled.data;
        len = m->spelled.len;
    }
    int32_t whole = m->options.ignore_merges ? bpe_find(m, word, len) : NO_TOKEN;
    if (whole != NO_TOKEN) {
        ids_add(out, whole);
        return;
    }
    split_characters(m, word, len);
    if (m->n_symbols <= SHORT_WORD)
        merge_short(m, out);
    else
        merge_long(m, out);
}

static void encode_cached(struct bpe *m, const char *word, size_t len, struct ids *out)
{
    if (len > CACHED_LEN) {
        encode_new(m, word, len, out);
        return;
    }
    uint64_t hash = word_cache_hash(word, len);
    if (word_cache_find(m->cache, hash, word, len, out))
        return;
    size_t before = out->len;
    encode_new(m, word, len, out);
    word_cache_add(m->cache, hash, word, len, ids_from(out, before), out->len - before);
}

/* Where the next word starts: at the next U+2581 that follows another character. */
static size_t word_end(const char *s, size_t len)
{
    size_t i = 0;
    while (len - i >= SPACE_MARK_LEN && !memcmp(s + i, SPACE_MARK, SPACE_MARK_LEN))
        i += SPACE_MARK_LEN;
    const char *mark = memmem(s + i, len - i, SPACE_MARK, SPACE_MARK_LEN);
    return mark ? (size_t)(mark - s) : len;
}

void bpe_encode(struct bpe *m, const char *word, size_t len, struct ids *out)
{
    if (len == 0)
        return;
    if (!m->split_at_spaces) {
        encode_cached(m, word, len, out);
        return;
    }
    for (size_t at = 0, n; at < len; at += n) {
        n = word_end(word + at, len - at);
        encode_cached(m, word + at, n, out);
    }
}
