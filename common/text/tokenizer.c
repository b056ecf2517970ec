#include "common/text/tokenizer.h"

#include "common/text/tokenizer_parts.h"
#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/foreign_file.h"
#include "common/util/gguf.h"
#include "common/util/model_folder.h"
#include "common/util/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

/* ---- opening ---- */

static bool is_folder(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        die_errno("%s", path);
    return S_ISDIR(st.st_mode);
}

char *tokenizer_find(const char *path)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "tokenizer.model.v3"};
    if (!is_folder(path))
        return xstrdup(path);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *file = xasprintf("%s/%s", path, names[i]);
        if (file_exists(file))
            return file;
        free(file);
    }
    return gguf_of_model(path);
}

/* The same, of which there must be one. */
static char *find_file(const char *path)
{
    char *file = tokenizer_find(path);
    if (!file) {
        model_folder_without_tokenizer(path);
        die(EX_NOINPUT, "%s: holds no tokenizer.json and no tokenizer.model", path);
    }
    return file;
}

/* JSON begins with a brace; a SentencePiece model with its first field's key. */
static bool looks_like_json(const struct buf *b)
{
    size_t i = 0;
    while (i < b->len && strchr(" \t\r\n", b->data[i]) && b->data[i])
        i++;
    return i < b->len && b->data[i] == '{';
}

struct tokenizer *tokenizer_open(const char *path_or_folder)
{
    struct tokenizer *t = xcalloc(1, sizeof *t);
    t->path = find_file(path_or_folder);
    t->added = string_table_new();
    t->raw = added_tokens_new();
    t->normalized = added_tokens_new();
    char *gguf = gguf_of_model(t->path);
    if (gguf) {
        tokenizer_gguf_read(t);
        free(gguf);
        return t;
    }
    struct buf bytes = {0};
    file_read(t->path, &bytes);
    foreign_file_refuse(t->path, bytes.data, bytes.len);
    digest_text(XXH64(bytes.data, bytes.len, 0), t->digest);
    const char *folder = is_folder(path_or_folder) ? path_or_folder : NULL;
    if (looks_like_json(&bytes)) {
        tokenizer_json_read(t, bytes.data, bytes.len, folder);
    } else {
        sentencepiece_read(t, bytes.data, bytes.len);
        if (folder)
            sentencepiece_check_folder(t, folder);
    }
    buf_free(&bytes);
    return t;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    bpe_free(t->bpe);
    string_table_free(t->added);
    added_tokens_free(t->raw);
    added_tokens_free(t->normalized);
    normalizer_free(t->normalizer);
    pretokenizer_free(t->pretokenizer);
    decoder_free(t->decoder);
    sentencepiece_free(t->sentencepiece);
    ids_free(&t->before);
    ids_free(&t->after);
    arena_free(&t->arena);
    pieces_free(&t->pieces);
    pieces_free(&t->spare);
    free(t->is_special);
    free(t->path);
    free(t);
}

const char *tokenizer_digest(const struct tokenizer *t)
{
    return t->digest;
}

const char *tokenizer_path(const struct tokenizer *t)
{
    return t->path;
}

int32_t tokenizer_size(const struct tokenizer *t)
{
    return t->size;
}

static const char *spelling(const struct tokenizer *t, int32_t id, size_t *len)
{
    const char *s = string_table_get(t->added, id, len);
    return s ? s : bpe_token(t->bpe, id, len);
}

const char *tokenizer_token(const struct tokenizer *t, int32_t id)
{
    return spelling(t, id, NULL);
}

/* ---- encoding ---- */

/* Where a byte of a text stands once the text is normalized. */
static size_t normalized_offset(struct tokenizer *t, const struct piece *p, size_t at)
{
    struct piece before = {p->s, at, NO_TOKEN, p->at_start};
    normalize(t->normalizer, &t->arena, &before);
    return before.len;
}

/* The literal parts of a piece of the text, as they stand in the piece once it is normalized. */
static struct ids normalized_parts(struct tokenizer *t, const struct piece *p, size_t start,
                                   const struct literal_parts *literal)
{
    struct ids parts = {0};
    for (size_t i = 0; i + 1 < literal->n; i += 2) {
        size_t begin = (size_t)literal->offsets[i], end = (size_t)literal->offsets[i + 1];
        if (end <= start || begin >= start + p->len)
            continue;
        begin = begin < start ? 0 : begin - start;
        end = end - start < p->len ? end - start : p->len;
        ids_add(&parts, (int32_t)normalized_offset(t, p, begin));
        ids_add(&parts, (int32_t)normalized_offset(t, p, end));
    }
    return parts;
}

/* Normalizes a piece, which begins at `start` in the text, and cuts it at added tokens. */
static void cut_normalized(struct tokenizer *t, struct piece *p, size_t start,
                           const struct literal_parts *literal)
{
    struct ids parts = {0};
    if (literal->n && !added_tokens_empty(t->normalized))
        parts = normalized_parts(t, p, start, literal);
    normalize(t->normalizer, &t->arena, p);
    added_tokens_split(t->normalized, p, &(struct literal_parts){parts.data, parts.len},
                       &t->pieces);
    ids_free(&parts);
}

/* The text's pieces, in t->pieces: added tokens and words. */
static void cut_text(struct tokenizer *t, const char *text, size_t len,
                     const struct literal_parts *literal)
{
    struct piece whole = {text, len, NO_TOKEN, true};
    if (t->sentencepiece)
        whole = sentencepiece_normalize(t->sentencepiece, &t->arena, text, len);
    t->spare.len = t->pieces.len = 0;
    added_tokens_split(t->raw, &whole, literal, &t->spare);
    for (size_t i = 0; i < t->spare.len; i++) {
        struct piece *p = &t->spare.data[i];
        if (p->token != NO_TOKEN)
            pieces_add(&t->pieces, *p);
        else
            cut_normalized(t, p, (size_t)(p->s - whole.s), literal);
    }
    pretokenize(t->pretokenizer, &t->arena, &t->pieces, &t->spare);
}

void tokenizer_encode_parts(struct tokenizer *t, const char *text, size_t len,
                            const struct literal_parts *literal, bool add_special, struct ids *out)
{
    size_t bad = utf8_invalid_at(text, len);
    if (bad < len)
        die(EX_DATAERR, "the text is not UTF-8 at byte %zu", bad);
    if (t->sentencepiece && literal->n)
        die(EX_DATAERR, "%s: texts with literal parts want a tokenizer.json", t->path);
    arena_reset(&t->arena);
    if (add_special)
        ids_append(out, t->before.data, t->before.len);
    cut_text(t, text, len, literal);
    for (size_t i = 0; i < t->pieces.len; i++) {
        const struct piece *p = &t->pieces.data[i];
        if (p->token == NO_TOKEN)
            bpe_encode(t->bpe, p->s, p->len, out);
        else
            ids_add(out, p->token);
    }
    if (add_special)
        ids_append(out, t->after.data, t->after.len);
}

void tokenizer_encode(struct tokenizer *t, const char *text, size_t len, bool add_special,
                      struct ids *out)
{
    tokenizer_encode_parts(t, text, len, &(struct literal_parts){0}, add_special, out);
}

bool tokenizer_finds_control_tokens(const struct tokenizer *t)
{
    return !t->sentencepiece;
}

int32_t tokenizer_first_token(struct tokenizer *t, const char *word)
{
    struct ids ids = {0};
    tokenizer_encode(t, word, strlen(word), false, &ids);
    if (ids.len == 0)
        die(EX_DATAERR, "%s: the class '%s' has no token", t->path, word);
    int32_t first = ids.data[0];
    ids_free(&ids);
    return first;
}

/* ---- decoding ---- */

void tokenizer_trim(const struct tokenizer *t, const int32_t **ids, size_t *n)
{
    const struct ids *b = &t->before, *a = &t->after;
    if (b->len && *n >= b->len && !memcmp(*ids, b->data, b->len * sizeof *b->data)) {
        *ids += b->len;
        *n -= b->len;
    }
    if (a->len && *n >= a->len && !memcmp(*ids + *n - a->len, a->data, a->len * sizeof *a->data))
        *n -= a->len;
}

void tokenizer_decode(struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                      struct buf *out)
{
    if (t->sentencepiece) {
        sentencepiece_decode(t, ids, n, out);
        return;
    }
    arena_reset(&t->arena);
    t->pieces.len = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *s = spelling(t, ids[i], &len);
        if (s && !(skip_special && t->is_special[ids[i]]))
            pieces_add(&t->pieces, (struct piece){s, len, NO_TOKEN, false});
    }
    decode(t->decoder, &t->arena, &t->pieces);
    for (size_t i = 0; i < t->pieces.len; i++) {
        if (i && !t->decoder) /* `tokenizers` joins by spaces what no decoder joins */
            buf_addc(out, ' ');
        buf_add(out, t->pieces.data[i].s, t->pieces.data[i].len);
    }
}
