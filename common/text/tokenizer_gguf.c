/* Reading the tokenizer of a GGUF file: byte-level BPE ("gpt2") and SentencePiece BPE ("llama"), as
 * llama.cpp reads them, which defines the settings. */
#include "common/text/gguf_pretokenizer.h"
#include "common/text/scored_pieces.h"
#include "common/text/tokenizer_parts.h"
#include "common/util/diag.h"
#include "common/util/digest.h"
#include "common/util/gguf.h"
#include "common/util/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct vocabulary {
    struct tokenizer *t;
    const struct gguf *file;
    struct scored_piece *pieces;
    size_t n;
};

#define KEY(name) "tokenizer.ggml." name

/* ---- which settings there are ---- */

/* Known: read here, or of no account for ids. */
static void check_settings(const struct gguf *g)
{
    static const char prefix[] = KEY("");
    static const char *const known[] = {"model",
                                        "pre",
                                        "tokens",
                                        "scores",
                                        "token_type",
                                        "merges",
                                        "add_bos_token",
                                        "add_eos_token",
                                        "add_sep_token",
                                        "add_space_prefix",
                                        "token_type_count",
                                        "remove_extra_whitespaces"};
    for (size_t i = 0; i < gguf_setting_count(g); i++) {
        const char *key = gguf_setting_at(g, i)->key, *name = key + sizeof prefix - 1;
        if (strncmp(key, prefix, sizeof prefix - 1) != 0 || ends_with(key, "_token_id") ||
            ends_with(key, "_token_ids"))
            continue;
        size_t k = 0, n = sizeof known / sizeof *known;
        while (k < n && strcmp(name, known[k]) != 0)
            k++;
        if (k == n)
            die(EX_DATAERR, "%s: %s is not known: it may say that texts have other tokens",
                gguf_path(g), key);
    }
}

/* Of all that ids may depend on, the chat template among it. */
static void digest_settings(const struct gguf *g, char text[DIGEST_SIZE])
{
    static const char prefix[] = "tokenizer.";
    XXH64_state_t *state = digest_new();
    for (size_t i = 0; i < gguf_setting_count(g); i++) {
        const struct gguf_setting *s = gguf_setting_at(g, i);
        if (strncmp(s->key, prefix, sizeof prefix - 1) != 0)
            continue;
        XXH64_update(state, s->key, strlen(s->key) + 1);
        XXH64_update(state, s->bytes, s->size);
    }
    digest_text(XXH64_digest(state), text);
    XXH64_freeState(state);
}

void tokenizer_gguf_digest(const char *path, char digest[DIGEST_SIZE])
{
    struct gguf *g = gguf_open(path);
    digest_settings(g, digest);
    gguf_close(g);
}

/* ---- tokens ---- */

static const struct gguf_setting *need_array(const struct vocabulary *v, const char *key,
                                             enum gguf_kind kind)
{
    const struct gguf_setting *s = gguf_array(v->file, key, kind);
    if (!s || s->count == 0)
        die(EX_DATAERR, "%s: %s is missing: the file holds no tokenizer that can be read",
            gguf_path(v->file), key);
    return s;
}

/* Of a value for each token; NULL where there is none. */
static const unsigned char *values(const struct vocabulary *v, const char *key, enum gguf_kind kind)
{
    const struct gguf_setting *s = gguf_array(v->file, key, kind);
    if (s && s->count != v->n)
        die(EX_DATAERR, "%s: %s has %zu elements for %zu tokens", gguf_path(v->file), key, s->count,
            v->n);
    return s ? s->bytes : NULL;
}

static void read_pieces(struct vocabulary *v)
{
    const struct gguf_setting *tokens = need_array(v, KEY("tokens"), GGUF_STRING);
    v->n = tokens->count;
    if (v->n > LARGEST_TOKEN_ID)
        die(EX_DATAERR, "%s: more than %d tokens", v->t->path, LARGEST_TOKEN_ID);
    v->pieces = xcalloc(v->n, sizeof *v->pieces);
    const unsigned char *types = values(v, KEY("token_type"), GGUF_I32);
    const unsigned char *scores = values(v, KEY("scores"), GGUF_F32);
    struct gguf_strings strings = {.setting = tokens};
    for (size_t i = 0; i < v->n; i++) {
        struct scored_piece *p = &v->pieces[i];
        int32_t type = PIECE_NORMAL;
        gguf_next_string(&strings, &p->s, &p->len);
        if (types)
            memcpy(&type, types + i * sizeof type, sizeof type);
        if (scores)
            memcpy(&p->score, scores + i * sizeof p->score, sizeof p->score);
        if (type < PIECE_NORMAL || type > PIECE_BYTE)
            die(EX_DATAERR, "%s: token %zu has the type %d, which is none", v->t->path, i, type);
        p->type = (enum piece_type)type;
        if (p->len == 0 || utf8_invalid_at(p->s, p->len) < p->len || isnan(p->score))
            die(EX_DATAERR, "%s: token %zu is empty, not UTF-8 or without a score", v->t->path, i);
    }
}

static void add_pieces(const struct vocabulary *v)
{
    struct tokenizer *t = v->t;
    t->bpe = bpe_new();
    for (size_t i = 0; i < v->n; i++)
        if (!bpe_add_token(t->bpe, v->pieces[i].s, v->pieces[i].len, (int32_t)i))
            die(EX_DATAERR, "%s: token %zu ('%.*s') is there twice", t->path, i,
                (int)v->pieces[i].len, v->pieces[i].s);
    t->size = bpe_size(t->bpe);
    t->is_special = xcalloc((size_t)t->size, sizeof *t->is_special);
}

/* Control tokens and user-defined ones are found in the text before anything else cuts it. */
static void add_found_tokens(const struct vocabulary *v)
{
    for (size_t i = 0; i < v->n; i++) {
        const struct scored_piece *p = &v->pieces[i];
        v->t->is_special[i] = p->type == PIECE_CONTROL || p->type == PIECE_UNKNOWN;
        if (p->type == PIECE_CONTROL || p->type == PIECE_USER_DEFINED)
            added_tokens_add(v->t->raw, p->s, p->len, (struct added_token){.id = (int32_t)i});
    }
}

static int32_t token_id(const struct vocabulary *v, const char *key)
{
    int64_t id = gguf_whole(v->file, key, NO_TOKEN);
    if (id != NO_TOKEN && (id < 0 || (size_t)id >= v->n))
        die(EX_DATAERR, "%s: %s is %lld, which is no token", v->t->path, key, (long long)id);
    return (int32_t)id;
}

/* The tokens that are put around a text. */
static void add_ends(const struct vocabulary *v, bool bos)
{
    struct {
        const char *added, *id;
        bool fallback;
        struct ids *to;
    } ends[] = {{KEY("add_bos_token"), KEY("bos_token_id"), bos, &v->t->before},
                {KEY("add_eos_token"), KEY("eos_token_id"), false, &v->t->after}};
    for (size_t i = 0; i < 2; i++) {
        int32_t id = token_id(v, ends[i].id);
        bool added = gguf_bool(v->file, ends[i].added, ends[i].fallback);
        if (added && id == NO_TOKEN)
            die(EX_DATAERR, "%s: %s is true, but %s is missing", v->t->path, ends[i].added,
                ends[i].id);
        if (added)
            ids_add(ends[i].to, id);
    }
    if (gguf_bool(v->file, KEY("add_sep_token"), false))
        die(EX_DATAERR, "%s: %s is not supported", v->t->path, KEY("add_sep_token"));
}

/* ---- byte-level BPE ---- */

static void add_merge(struct tokenizer *t, const char *s, size_t len, uint32_t rank)
{
    const char *space = memchr(s, ' ', len);
    size_t left_len = space ? (size_t)(space - s) : len, right_len = space ? len - left_len - 1 : 0;
    if (!left_len || !right_len || memchr(space + 1, ' ', right_len))
        die(EX_DATAERR, "%s: merge %u ('%.*s') is not a pair of tokens", t->path, rank, (int)len,
            s);
    struct buf joined = {0};
    buf_add(&joined, s, left_len);
    buf_add(&joined, space + 1, right_len);
    int32_t left = bpe_find(t->bpe, s, left_len), right = bpe_find(t->bpe, space + 1, right_len);
    int32_t merged = bpe_find(t->bpe, joined.data, joined.len);
    if (left == NO_TOKEN || right == NO_TOKEN || merged == NO_TOKEN)
        die(EX_DATAERR, "%s: merge %u ('%.*s') has a side or a result that is no token", t->path,
            rank, (int)len, s);
    bpe_add_merge(t->bpe, left, right, merged, rank);
    buf_free(&joined);
}

static void read_merges(const struct vocabulary *v)
{
    struct gguf_strings strings = {.setting = need_array(v, KEY("merges"), GGUF_STRING)};
    const char *s;
    size_t len;
    for (uint32_t rank = 0; gguf_next_string(&strings, &s, &len); rank++)
        add_merge(v->t, s, len, rank);
}

static const struct gguf_pretokenizer *read_pretokenizer(const struct vocabulary *v)
{
    char *name = gguf_text(v->file, KEY("pre"));
    const struct gguf_pretokenizer *p = gguf_pretokenizer(name ? name : "default");
    if (!p)
        die(EX_DATAERR,
            "%s: the pre-tokenizer '%s' (%s) is not supported; where there is the model's own "
            "tokenizer.json, tok --tokenizer takes that",
            v->t->path, name, KEY("pre"));
    free(name);
    return p;
}

/* Parts of a tokenizer, each from the text that tokenizer.json would have. */
static void set_parts(struct tokenizer *t, const char *normalizer, const char *pretokenizer,
                      const char *decoder)
{
    json_t *parts = json_pack("{s:o, s:o, s:o}", "n", json_loads(normalizer, JSON_DECODE_ANY, NULL),
                              "p", json_loads(pretokenizer, JSON_DECODE_ANY, NULL), "d",
                              json_loads(decoder, JSON_DECODE_ANY, NULL));
    t->normalizer = normalizer_from_json(json_object_get(parts, "n"), t->path);
    t->pretokenizer = pretokenizer_from_json(json_object_get(parts, "p"), t->path);
    t->decoder = decoder_from_json(json_object_get(parts, "d"), t->path);
    json_decref(parts);
}

static void read_byte_level(const struct vocabulary *v)
{
    struct tokenizer *t = v->t;
    if (gguf_bool(v->file, KEY("add_space_prefix"), false))
        die(EX_DATAERR, "%s: %s for a byte-level tokenizer is not supported", t->path,
            KEY("add_space_prefix"));
    const struct gguf_pretokenizer *p = read_pretokenizer(v);
    set_parts(t, "null", p->parts, "{\"type\": \"ByteLevel\"}");
    bpe_set_options(t->bpe, &(struct bpe_options){.unknown = NO_TOKEN,
                                                  .ignore_merges = p->ignore_merges,
                                                  .byte_level = true});
    read_merges(v);
    add_ends(v, p->bos);
}

/* ---- SentencePiece BPE ---- */

static int32_t find_unknown(const struct vocabulary *v)
{
    int32_t id = token_id(v, KEY("unknown_token_id"));
    for (size_t i = 0; id == NO_TOKEN && i < v->n; i++)
        if (v->pieces[i].type == PIECE_UNKNOWN)
            id = (int32_t)i;
    return id;
}

/* A text's parts between found tokens each begin with a space. */
static void read_sentencepiece(const struct vocabulary *v)
{
    static const char prefix[] = "{\"type\": \"Prepend\", \"prepend\": \"\xE2\x96\x81\"}, ";
    static const char spaces[] = "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, "
                                 "\"content\": \"\xE2\x96\x81\"}";
    static const char back[] =
        "{\"type\": \"Replace\", \"pattern\": {\"String\": \"\xE2\x96\x81\"}, \"content\": \" \"}, "
        "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}";
    static const char strip[] =
        ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}";
    struct tokenizer *t = v->t;
    if (gguf_bool(v->file, KEY("remove_extra_whitespaces"), false))
        die(EX_DATAERR, "%s: %s is not supported", t->path, KEY("remove_extra_whitespaces"));
    need_array(v, KEY("scores"), GGUF_F32);
    bool prefixed = gguf_bool(v->file, KEY("add_space_prefix"), true);
    char *normalizer = xasprintf("{\"type\": \"Sequence\", \"normalizers\": [%s%s]}",
                                 prefixed ? prefix : "", spaces);
    char *decoder =
        xasprintf("{\"type\": \"Sequence\", \"decoders\": [%s%s]}", back, prefixed ? strip : "");
    set_parts(t, normalizer, "null", decoder);
    free(normalizer);
    free(decoder);
    bpe_set_options(t->bpe, &(struct bpe_options){.unknown = find_unknown(v),
                                                  .fuse_unknown = true,
                                                  .byte_fallback = true});
    scored_pieces_merge(t->bpe, v->pieces, v->n, t->path);
    add_ends(v, true);
}

void tokenizer_gguf_read(struct tokenizer *t)
{
    struct gguf *g = gguf_open(t->path);
    struct vocabulary v = {.t = t, .file = g};
    check_settings(g);
    digest_settings(g, t->digest);
    char *model = gguf_text(g, KEY("model"));
    if (!model)
        die(EX_DATAERR, "%s: %s is missing: the file holds no tokenizer", t->path, KEY("model"));
    bool byte_level = !strcmp(model, "gpt2");
    if (!byte_level && strcmp(model, "llama") != 0)
        die(EX_DATAERR, "%s: the tokenizer '%s' (%s) is not supported (gpt2 and llama are)",
            t->path, model, KEY("model"));
    free(model);
    read_pieces(&v);
    add_pieces(&v);
    if (byte_level)
        read_byte_level(&v);
    else
        read_sentencepiece(&v);
    bpe_ready(t->bpe);
    add_found_tokens(&v);
    free(v.pieces);
    gguf_close(g);
}
