/* SentencePiece's tokenizer.model: reading, normalizing, decoding; BPE models.
 * The format: sentencepiece_model.proto of github.com/google/sentencepiece. */
#include "common/text/charsmap.h"
#include "common/text/protobuf.h"
#include "common/text/scored_pieces.h"
#include "common/text/tokenizer_parts.h"
#include "common/text/unicode.h"
#include "common/util/diag.h"
#include "common/util/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sentencepiece {
    unsigned char *types; /* by id; enum piece_type */
    int32_t unknown, bos;
    char *unknown_surface; /* what an unknown token becomes in decoded text */
    bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
    struct charsmap *charsmap; /* NULL: characters stay as they are */
    struct added_tokens *user_defined;
};

/* What reading needs and encoding does not. */
struct reader {
    struct tokenizer *t;
    struct scored_piece *pieces;
    size_t n, cap;
    bool byte_fallback;
    const char *bos_piece;
    size_t bos_len;
};

static const char SPACE_MARK[] = "\xE2\x96\x81";
enum { SPACE_MARK_LEN = 3 };

/* ---- reading ---- */

static void need(const struct protobuf *p, const char *path)
{
    if (p->damaged)
        die(EX_DATAERR, "%s: damaged or cut off: not a whole SentencePiece model", path);
}

static bool is_byte_name(const struct scored_piece *p)
{
    unsigned byte;
    int end = 0;
    char name[8] = "";
    if (p->len == 6)
        memcpy(name, p->s, 6);
    return sscanf(name, "<0x%2x>%n", &byte, &end) == 1 && end == 6;
}

static void read_piece(struct reader *r, const struct protobuf_field *whole)
{
    struct protobuf p = {whole->bytes, whole->len, false};
    struct scored_piece piece = {"", 0, 0, PIECE_NORMAL};
    struct protobuf_field f;
    while (protobuf_next(&p, &f)) {
        if (f.number == 1 && f.type == WIRE_BYTES) {
            piece.s = f.bytes;
            piece.len = f.len;
        } else if (f.number == 2 && f.type == WIRE_32) {
            piece.score = protobuf_float(&f);
        } else if (f.number == 3 && f.type == WIRE_VARINT) {
            if (f.value < PIECE_NORMAL || f.value > PIECE_BYTE)
                die(EX_DATAERR, "%s: piece %zu has the type %llu, which is none", r->t->path, r->n,
                    (unsigned long long)f.value);
            piece.type = (enum piece_type)f.value;
        }
    }
    need(&p, r->t->path);
    if (piece.len == 0 || utf8_invalid_at(piece.s, piece.len) < piece.len || isnan(piece.score))
        die(EX_DATAERR, "%s: piece %zu is empty, not UTF-8 or without a score", r->t->path, r->n);
    if (piece.type == PIECE_BYTE && !is_byte_name(&piece))
        die(EX_DATAERR, "%s: piece %zu is of the type BYTE, but not spelt <0xNN>", r->t->path,
            r->n);
    if (piece.type == PIECE_UNUSED)
        die(EX_DATAERR, "%s: piece %zu is of the type UNUSED, which is not supported", r->t->path,
            r->n);
    if (r->n >= LARGEST_TOKEN_ID)
        die(EX_DATAERR, "%s: more than %d pieces", r->t->path, LARGEST_TOKEN_ID);
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 1024;
        r->pieces = xreallocarray(r->pieces, r->cap, sizeof *r->pieces);
    }
    r->pieces[r->n++] = piece;
}

static void set_string(char **to, const struct protobuf_field *f)
{
    free(*to);
    *to = xmalloc(f->len + 1);
    memcpy(*to, f->bytes, f->len);
    (*to)[f->len] = '\0';
}

static void read_trainer_spec(struct reader *r, const struct protobuf_field *whole)
{
    static const char *const models[] = {"", "UNIGRAM", "BPE", "WORD", "CHAR"};
    enum { BPE = 2, UNIGRAM = 1, N_MODELS = 5 };
    struct protobuf p = {whole->bytes, whole->len, false};
    struct protobuf_field f;
    uint64_t model = UNIGRAM; /* the format's own default */
    while (protobuf_next(&p, &f)) {
        if (f.number == 3 && f.type == WIRE_VARINT)
            model = f.value;
        else if (f.number == 24 && f.type == WIRE_VARINT && f.value)
            die(EX_DATAERR, "%s: treat_whitespace_as_suffix is not supported", r->t->path);
        else if (f.number == 35 && f.type == WIRE_VARINT)
            r->byte_fallback = f.value;
        else if (f.number == 44 && f.type == WIRE_BYTES)
            set_string(&r->t->sentencepiece->unknown_surface, &f);
        else if (f.number == 46 && f.type == WIRE_BYTES) {
            r->bos_piece = f.bytes;
            r->bos_len = f.len;
        }
    }
    need(&p, r->t->path);
    if (model != BPE)
        die(EX_DATAERR, "%s: a SentencePiece model of the type %s is not supported", r->t->path,
            model < N_MODELS ? models[model] : "?");
}

static void read_normalizer_spec(struct reader *r, const struct protobuf_field *whole)
{
    struct sentencepiece *s = r->t->sentencepiece;
    struct protobuf p = {whole->bytes, whole->len, false};
    struct protobuf_field f;
    while (protobuf_next(&p, &f)) {
        if (f.number == 2 && f.type == WIRE_BYTES && f.len) {
            charsmap_free(s->charsmap);
            s->charsmap = charsmap_read(f.bytes, f.len);
            if (!s->charsmap)
                die(EX_DATAERR, "%s: the precompiled_charsmap is damaged", r->t->path);
        } else if (f.type == WIRE_VARINT) {
            if (f.number == 3)
                s->add_dummy_prefix = f.value;
            else if (f.number == 4)
                s->remove_extra_whitespaces = f.value;
            else if (f.number == 5)
                s->escape_whitespaces = f.value;
        }
    }
    need(&p, r->t->path);
}

/* ---- building ---- */

static void add_pieces(struct reader *r)
{
    struct tokenizer *t = r->t;
    struct sentencepiece *s = t->sentencepiece;
    s->types = xmalloc(r->n);
    s->unknown = s->bos = NO_TOKEN;
    size_t bytes = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct scored_piece *p = &r->pieces[i];
        s->types[i] = (unsigned char)p->type;
        if (!bpe_add_token(t->bpe, p->s, p->len, (int32_t)i))
            die(EX_DATAERR, "%s: piece %zu ('%.*s') is there twice", t->path, i, (int)p->len, p->s);
        if (p->type == PIECE_UNKNOWN && s->unknown != NO_TOKEN)
            die(EX_DATAERR, "%s: pieces %d and %zu are both the unknown one", t->path, s->unknown,
                i);
        if (p->type == PIECE_UNKNOWN)
            s->unknown = (int32_t)i;
        bytes += p->type == PIECE_BYTE;
        if (p->type == PIECE_USER_DEFINED) {
            added_tokens_add(t->raw, p->s, p->len, (struct added_token){.id = (int32_t)i});
            added_tokens_add(s->user_defined, p->s, p->len, (struct added_token){.id = (int32_t)i});
        }
        if (p->type == PIECE_CONTROL && p->len == r->bos_len && !memcmp(p->s, r->bos_piece, p->len))
            s->bos = (int32_t)i;
    }
    if (s->unknown == NO_TOKEN)
        die(EX_DATAERR, "%s: no piece is the unknown one", t->path);
    if (r->byte_fallback && bytes != 256)
        die(EX_DATAERR, "%s: byte_fallback with %zu byte pieces, not 256", t->path, bytes);
}

void sentencepiece_read(struct tokenizer *t, const char *bytes, size_t len)
{
    struct sentencepiece *s = xcalloc(1, sizeof *s);
    t->sentencepiece = s;
    s->add_dummy_prefix = s->remove_extra_whitespaces = s->escape_whitespaces = true;
    s->unknown_surface = xstrdup(" \xE2\x81\x87 ");
    s->user_defined = added_tokens_new();
    struct reader r = {.t = t, .bos_piece = "<s>", .bos_len = 3};
    struct protobuf p = {bytes, len, false};
    struct protobuf_field f;
    bool trainer = false;
    while (protobuf_next(&p, &f)) {
        if (f.type != WIRE_BYTES)
            continue;
        if (f.number == 1) {
            read_piece(&r, &f);
        } else if (f.number == 2) {
            read_trainer_spec(&r, &f);
            trainer = true;
        } else if (f.number == 3) {
            read_normalizer_spec(&r, &f);
        }
    }
    need(&p, t->path);
    if (r.n == 0 || !trainer)
        die(EX_DATAERR, "%s: neither a tokenizer.json nor a SentencePiece model", t->path);
    t->bpe = bpe_new();
    add_pieces(&r);
    bpe_set_options(t->bpe, &(struct bpe_options){.unknown = s->unknown,
                                                  .fuse_unknown = true,
                                                  .byte_fallback = r.byte_fallback});
    scored_pieces_merge(t->bpe, r.pieces, r.n, t->path);
    bpe_ready(t->bpe);
    t->size = bpe_size(t->bpe);
    if (s->bos != NO_TOKEN && sentencepiece_wants_bos(t->path))
        ids_add(&t->before, s->bos);
    free(r.pieces);
}

bool sentencepiece_is_word(const struct sentencepiece *s, int32_t id)
{
    return s->types[id] == PIECE_NORMAL || s->types[id] == PIECE_BYTE;
}

void sentencepiece_free(struct sentencepiece *s)
{
    if (!s)
        return;
    charsmap_free(s->charsmap);
    added_tokens_free(s->user_defined);
    free(s->types);
    free(s->unknown_surface);
    free(s);
}

/* ---- normalizing ---- */

struct normalizing {
    const struct sentencepiece *s;
    struct buf out;
    bool after_space; /* spaces that come now are left out */
};

static void add_text(struct normalizing *n, const char *text, size_t len)
{
    while (n->after_space && len && *text == ' ') {
        text++;
        len--;
    }
    if (len == 0)
        return;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ' && n->s->escape_whitespaces)
            buf_add(&n->out, SPACE_MARK, SPACE_MARK_LEN);
        else
            buf_addc(&n->out, text[i]);
    }
    n->after_space = n->s->remove_extra_whitespaces && text[len - 1] == ' ';
}

static void add_mapped(struct normalizing *n, const char *text, size_t len)
{
    if (!n->s->charsmap && !n->s->remove_extra_whitespaces) {
        add_text(n, text, len);
        return;
    }
    for (size_t i = 0, step; i < len; i += step) {
        const char *mapped = text + i;
        size_t mapped_len = step = utf8_len((unsigned char)text[i]);
        if (n->s->charsmap)
            charsmap_find(n->s->charsmap, text + i, len - i, &step, &mapped, &mapped_len);
        add_text(n, mapped, mapped_len);
    }
}

static bool ends_with_space(const struct normalizing *n, size_t *len)
{
    *len = n->s->escape_whitespaces ? SPACE_MARK_LEN : 1;
    return n->out.len >= *len && !memcmp(n->out.data + n->out.len - *len,
                                         n->s->escape_whitespaces ? SPACE_MARK : " ", *len);
}

struct piece sentencepiece_normalize(const struct sentencepiece *s, struct arena *arena,
                                     const char *text, size_t len)
{
    struct normalizing n = {.s = s, .after_space = s->remove_extra_whitespaces};
    struct piece whole = {text, len, NO_TOKEN, true};
    struct pieces parts = {0};
    added_tokens_split(s->user_defined, &whole, &(struct literal_parts){0}, &parts);
    if (s->add_dummy_prefix)
        buf_add(&n.out, s->escape_whitespaces ? SPACE_MARK : " ",
                s->escape_whitespaces ? SPACE_MARK_LEN : 1);
    size_t space;
    for (size_t i = 0; i < parts.len; i++) {
        if (parts.data[i].token == NO_TOKEN)
            add_mapped(&n, parts.data[i].s, parts.data[i].len);
        else
            add_text(&n, parts.data[i].s, parts.data[i].len);
    }
    if (len == 0)
        n.out.len = 0;
    while (s->remove_extra_whitespaces && ends_with_space(&n, &space))
        n.out.len -= space;
    whole.s = arena_take(arena, n.out.len);
    whole.len = n.out.len;
    if (n.out.len)
        memcpy((char *)whole.s, n.out.data, n.out.len);
    buf_free(&n.out);
    pieces_free(&parts);
    return whole;
}

/* ---- decoding ---- */

/* Byte pieces in a row are UTF-8; each byte that is not becomes U+FFFD. */
static void add_bytes(struct buf *out, struct buf *bytes)
{
    size_t at = 0;
    while (at < bytes->len) {
        size_t good = utf8_invalid_at(bytes->data + at, bytes->len - at);
        buf_add(out, bytes->data + at, good);
        at += good;
        if (at < bytes->len) {
            buf_add(out, "\xEF\xBF\xBD", 3);
            at++;
        }
    }
    bytes->len = 0;
}

static void add_piece_text(struct buf *out, const char *piece, size_t len)
{
    const char *end = piece + len, *mark;
    while ((mark = memmem(piece, (size_t)(end - piece), SPACE_MARK, SPACE_MARK_LEN))) {
        buf_add(out, piece, (size_t)(mark - piece));
        buf_addc(out, ' ');
        piece = mark + SPACE_MARK_LEN;
    }
    buf_add(out, piece, (size_t)(end - piece));
}

void sentencepiece_decode(const struct tokenizer *t, const int32_t *ids, size_t n, struct buf *out)
{
    const struct sentencepiece *s = t->sentencepiece;
    struct buf bytes = {0};
    size_t start = out->len;
    /* The space before the text, which normalizing added, is dropped: one, or with
     * remove_extra_whitespaces all that come first. */
    bool dropped = false;
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *piece = bpe_token(t->bpe, ids[i], &len);
        if (!piece)
            continue;
        if (s->types[ids[i]] == PIECE_BYTE) {
            buf_addc(&bytes, (char)strtol(piece + 3, NULL, 16));
            continue;
        }
        add_bytes(out, &bytes);
        if (s->types[ids[i]] == PIECE_CONTROL)
            continue;
        if (s->types[ids[i]] == PIECE_UNKNOWN) {
            buf_add(out, s->unknown_surface, strlen(s->unknown_surface));
            continue;
        }
        bool first = out->len == start && !dropped;
        if (first && (s->add_dummy_prefix || s->remove_extra_whitespaces) &&
            len >= SPACE_MARK_LEN && !memcmp(piece, SPACE_MARK, SPACE_MARK_LEN)) {
            piece += SPACE_MARK_LEN;
            len -= SPACE_MARK_LEN;
            dropped = !s->remove_extra_whitespaces;
        }
        add_piece_text(out, piece, len);
    }
    add_bytes(out, &bytes);
    buf_free(&bytes);
}
