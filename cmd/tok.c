/* tok: prompts to token ids, and back. */
#include "common/stream/record.h"
#include "common/text/class_tokens.h"
#include "common/text/tokenizer.h"
#include "common/text/tokenizer_match.h"
#include "common/util/diag.h"
#include "common/util/model_folder.h"
#include "common/util/options.h"
#include "common/util/progress.h"
#include "common/util/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    struct common_options common;
    const char *source; /* the tokenizer's folder or file */
    bool decode, digest;
    size_t max_tokens; /* 0: any number */
};

static void take_source(void *target, const char *option, const char *value)
{
    (void)option;
    const char **source = target;
    if (*source)
        usage_error("give --model or --tokenizer, and once");
    *source = value;
}

static const struct option_row rows[] = {
    {"model", 'm', "DIR",
     "the model's folder: its tokenizer.json or tokenizer.model; or a GGUF file",
     OPTION_OWN(struct settings, source, take_source)},
    {"tokenizer", 't', "FILE", "one tokenizer file instead",
     OPTION_OWN(struct settings, source, take_source)},
    {"decode", 'd', NULL, "token ids back to text", OPTION_SET(struct settings, decode)},
    {"digest", 0, NULL, "print the tokenizer's digest, as headers have it, and no more",
     OPTION_SET(struct settings, digest)},
    {"max-tokens", 0, "N", "a prompt of more tokens is an error",
     OPTION_WHOLE(struct settings, max_tokens, 1, INT32_MAX)},
    {"output", 0, "FILE", "write to FILE (compressed if it ends in .zst)", OPTION_WORDS},
    {"compress", 0, NULL, "compress with zstd", OPTION_WORDS},
    OPTIONS_END};

static const struct program program = {
    .name = "tok",
    .about =
        "usage: tok --model DIR [FILE ...] >tokens.mp\n"
        "       tok --decode --model DIR [FILE ...] >prompts.mp\n"
        "Turns prompts into the model's token ids, or token ids back into text.\n"
        "\n"
        "    prompt-expand --task task.json texts.mp | tok --model ~/models/SmolLM2 >tokens.mp\n"
        "\n",
    .rows = rows,
    .name_column = 6,
    .help_column = 24};

struct job {
    const struct settings *settings;
    struct tokenizer *tokenizer;
    struct stream_writer *writer;
    bool chat; /* prompts in a model's own layout: its tokens stand in the text */
    unsigned long records, tokens, longest;
};

/* The header of what tok writes: it names the tokenizer, and the tokens each class is read at. */
static json_t *output_header(const struct job *j, const struct stream_reader *r, int argc,
                             char **argv)
{
    json_t *header =
        stream_header_from(stream_header(r), j->settings->decode ? "prompt" : "tokens", argc, argv);
    if (j->settings->decode) {
        json_object_del(header, "tokenizer");
        json_object_del(header, "class_tokens");
        json_object_del(header, "answer_tokens");
        return header;
    }
    json_object_set_new(header, "tokenizer", json_string(tokenizer_digest(j->tokenizer)));
    header_set_class_tokens(j->tokenizer, header, stream_name(r));
    return header;
}

/* Decoding with another tokenizer than encoded would give words nobody wrote. */
static void check_tokenizer(const struct job *j, const struct stream_reader *r)
{
    const char *digest = json_string_value(json_object_get(stream_header(r), "tokenizer"));
    if (digest && strcmp(digest, tokenizer_digest(j->tokenizer)))
        die(EX_DATAERR, "%s: made with another tokenizer than %s; name that one", stream_name(r),
            tokenizer_path(j->tokenizer));
}

static void check_layout(struct job *j, const struct stream_reader *r)
{
    j->chat = json_object_get(stream_header(r), "layout");
    if (j->chat && !tokenizer_finds_control_tokens(j->tokenizer))
        die(EX_DATAERR,
            "%s: prompts in the model's own layout; %s finds no control tokens in a text: give the "
            "model's tokenizer.json (save_pretrained() of transformers' AutoTokenizer writes one)",
            stream_name(r), tokenizer_path(j->tokenizer));
    if (j->chat && !j->settings->decode)
        tokenizer_match_layout(r, j->tokenizer);
}

/* A prompt's literal parts, which must be pairs of offsets into its text, in their order. */
static struct literal_parts literal_parts(const struct stream_reader *r, const struct prompt *p)
{
    struct literal_parts parts = {p->literal, p->n_literal};
    int32_t before = 0;
    if (parts.n % 2)
        stream_bad_record(r, p->id, "field 'literal' holds %zu numbers, not pairs", parts.n);
    for (size_t i = 0; i < parts.n; i++) {
        int32_t at = parts.offsets[i];
        bool inside = at >= before && (size_t)at <= p->text.len;
        if (!inside || ((size_t)at < p->text.len && (p->text.data[at] & 0xC0) == 0x80))
            stream_bad_record(r, p->id,
                              "field 'literal' holds %d, which is not the place of a character "
                              "behind %d in the text",
                              at, before);
        before = at;
    }
    return parts;
}

static void encode(struct job *j, struct stream_reader *r)
{
    struct prompt p;
    struct ids ids = {0};
    size_t most = j->settings->max_tokens;
    while (prompt_read(r, &p)) {
        size_t bad = utf8_invalid_at(p.text.data, p.text.len);
        if (bad < p.text.len)
            stream_bad_record(r, p.id, "the text is not UTF-8 at byte %zu; convert it (iconv)",
                              bad);
        ids.len = 0;
        struct literal_parts literal = literal_parts(r, &p);
        tokenizer_encode_parts(j->tokenizer, p.text.data, p.text.len, &literal, !j->chat, &ids);
        if (most && ids.len > most)
            stream_bad_record(r, p.id, "%zu tokens, more than --max-tokens %zu", ids.len, most);
        if (ids.len == 0)
            stream_bad_record(r, p.id, "the text has no tokens; leave empty texts out");
        tokens_write(j->writer, &(struct tokens){p.id, p.prompt, ids.data, ids.len, p.label});
        j->tokens += ids.len;
        if (ids.len > j->longest)
            j->longest = ids.len;
        progress_update(++j->records);
    }
    ids_free(&ids);
}

static void decode(struct job *j, struct stream_reader *r)
{
    struct tokens t;
    struct buf text = {0};
    while (tokens_read(r, &t)) {
        for (size_t i = 0; i < t.n_tokens; i++)
            if (!tokenizer_token(j->tokenizer, t.tokens[i]))
                stream_bad_record(r, t.id, "token id %d is not one of this tokenizer's",
                                  t.tokens[i]);
        text.len = 0;
        if (!j->chat)
            tokenizer_trim(j->tokenizer, &t.tokens, &t.n_tokens);
        tokenizer_decode(j->tokenizer, t.tokens, t.n_tokens, false, &text);
        prompt_write(j->writer, &(struct prompt){.id = t.id,
                                                 .prompt = t.prompt,
                                                 .text = {text.data, text.len},
                                                 .label = t.label});
        j->tokens += t.n_tokens;
        progress_update(++j->records);
    }
    buf_free(&text);
}

int main(int argc, char **argv)
{
    struct settings s = {0};
    program_start(&program, argc, argv);
    int first = options_parse(&program, rows, argc, argv, &s.common);
    if (!s.source)
        usage_error("which tokenizer? give --model DIR (or --tokenizer FILE)");
    char *source = model_folder_find(s.source);
    struct job j = {.settings = &s, .tokenizer = tokenizer_open(source)};
    if (s.digest) {
        puts(tokenizer_digest(j.tokenizer));
        tokenizer_free(j.tokenizer);
        free(source);
        return finish_printing();
    }
    progress_start("records", 0);
    struct stream_reader *r =
        stream_open_all(argv + first, argc - first, s.decode ? "tokens" : "prompt");
    if (s.decode)
        check_tokenizer(&j, r);
    check_layout(&j, r);
    j.writer = stream_create(s.common.output, s.common.compress, output_header(&j, r, argc, argv));
    if (s.decode)
        decode(&j, r);
    else
        encode(&j, r);
    stream_close(r);
    progress_end();
    inform("%lu tokens, %lu in the longest record", j.tokens, j.longest);
    closing_count(j.records, j.records, 0);
    stream_finish(j.writer);
    tokenizer_free(j.tokenizer);
    free(source);
    return EX_OK;
}
