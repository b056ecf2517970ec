/* tok: prompts to token ids, and back. */
#include "common/stream/record.h"
#include "common/text/class_tokens.h"
#include "common/text/tokenizer.h"
#include "common/util/diag.h"
#include "common/util/options.h"
#include "common/util/progress.h"
#include "common/util/utf8.h"

#include <stdlib.h>
#include <string.h>

static const struct program program = {
    "tok", "usage: tok --model DIR [FILE ...] >tokens.mp\n"
           "       tok --decode --model DIR [FILE ...] >prompts.mp\n"
           "Turns prompts into the model's token ids, or token ids back into text.\n"
           "\n"
           "    prompt-expand --task task.json texts.mp | tok --model ~/models/SmolLM2 >tokens.mp\n"
           "\n"
           "  -m, --model DIR       the model's folder: its tokenizer.json or tokenizer.model\n"
           "  -t, --tokenizer FILE  one tokenizer file instead\n"
           "  -d, --decode          token ids back to text\n"
           "      --max-tokens N    a prompt of more tokens is an error\n"
           "  -o, --output FILE     write to FILE (compressed if it ends in .zst)\n"
           "  -z, --compress        compress with zstd\n"
           "  -q, --quiet   -v, --verbose   -h, --help   --version\n"};

struct job {
    struct tokenizer *tokenizer;
    struct common_options common;
    bool decode;
    size_t max_tokens; /* 0: any number */
    struct stream_writer *writer;
    unsigned long records, tokens, longest;
};

/* The header of what tok writes: it names the tokenizer, and the token each class is read at. */
static json_t *output_header(const struct job *j, const struct stream_reader *r, int argc,
                             char **argv)
{
    json_t *header =
        stream_header_from(stream_header(r), j->decode ? "prompt" : "tokens", argc, argv);
    if (j->decode) {
        json_object_del(header, "tokenizer");
        json_object_del(header, "class_tokens");
        return header;
    }
    json_object_set_new(header, "tokenizer", json_string(tokenizer_digest(j->tokenizer)));
    if (json_array_size(json_object_get(header, "classes"))) {
        size_t n;
        const char **classes = header_classes(r, &n);
        json_t *list = json_array();
        int32_t *tokens = class_tokens(j->tokenizer, classes, n);
        for (size_t i = 0; i < n; i++)
            json_array_append_new(list, json_integer(tokens[i]));
        json_object_set_new(header, "class_tokens", list);
        free(tokens);
        free(classes);
    }
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

static void encode(struct job *j, struct stream_reader *r)
{
    struct prompt p;
    struct ids ids = {0};
    while (prompt_read(r, &p)) {
        size_t bad = utf8_invalid_at(p.text.data, p.text.len);
        if (bad < p.text.len)
            stream_bad_record(r, p.id, "the text is not UTF-8 at byte %zu; convert it (iconv)",
                              bad);
        ids.len = 0;
        tokenizer_encode(j->tokenizer, p.text.data, p.text.len, true, &ids);
        if (j->max_tokens && ids.len > j->max_tokens)
            stream_bad_record(r, p.id, "%zu tokens, more than --max-tokens %zu", ids.len,
                              j->max_tokens);
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
        tokenizer_trim(j->tokenizer, &t.tokens, &t.n_tokens);
        tokenizer_decode(j->tokenizer, t.tokens, t.n_tokens, false, &text);
        prompt_write(j->writer, &(struct prompt){t.id, t.prompt, {text.data, text.len}, t.label});
        j->tokens += t.n_tokens;
        progress_update(++j->records);
    }
    buf_free(&text);
}

int main(int argc, char **argv)
{
    enum { TAG_MAX_TOKENS = OPTION_OWN };
    static const struct option table[] = {{"model", required_argument, NULL, 'm'},
                                          {"tokenizer", required_argument, NULL, 't'},
                                          {"decode", no_argument, NULL, 'd'},
                                          {"max-tokens", required_argument, NULL, TAG_MAX_TOKENS},
                                          COMMON_LONG};
    struct job j = {0};
    const char *source = NULL;
    program_start(&program, argc, argv);
    for (int c; (c = next_option(argc, argv, COMMON_SHORT "m:t:d", table, &j.common)) != -1;) {
        if (c == 'd')
            j.decode = true;
        else if (c == TAG_MAX_TOKENS)
            j.max_tokens = (size_t)option_long("--max-tokens", optarg, 1, INT32_MAX);
        else if (source)
            usage_error("give --model or --tokenizer, and once");
        else
            source = optarg;
    }
    if (!source)
        usage_error("which tokenizer? give --model DIR (or --tokenizer FILE)");
    j.tokenizer = tokenizer_open(source);
    progress_start("records", 0);
    struct stream_reader *r =
        stream_open_all(argv + optind, argc - optind, j.decode ? "tokens" : "prompt");
    if (j.decode)
        check_tokenizer(&j, r);
    j.writer = stream_create(j.common.output, j.common.compress, output_header(&j, r, argc, argv));
    if (j.decode)
        decode(&j, r);
    else
        encode(&j, r);
    stream_close(r);
    progress_end();
    stream_finish(j.writer);
    inform("%lu tokens, %lu in the longest record", j.tokens, j.longest);
    closing_count(j.records, j.records, 0);
    tokenizer_free(j.tokenizer);
    return EX_OK;
}
