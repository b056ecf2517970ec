#include "common/model/token_input.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

int32_t *header_class_tokens(const struct stream_reader *r, int *count)
{
    const json_t *list = json_object_get(stream_header(r), "class_tokens");
    size_t n = json_array_size(list);
    if (n == 0)
        die(EX_DATAERR, "%s: the header has no 'class_tokens'; make the stream with tok",
            stream_name(r));
    size_t classes = json_array_size(json_object_get(stream_header(r), "classes"));
    if (classes && n != classes)
        die(EX_DATAERR, "%s: %zu class tokens in the header for %zu classes", stream_name(r), n,
            classes);
    int32_t *tokens = xreallocarray(NULL, n, sizeof *tokens);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
            die(EX_DATAERR, "%s: 'class_tokens' in the header holds something that is no token",
                stream_name(r));
        tokens[i] = (int32_t)json_integer_value(v);
    }
    *count = (int)n;
    return tokens;
}

int32_t *add_deviation_tokens(const struct stream_reader *r, int32_t *tokens, int *count,
                              const struct config *c)
{
    int n = *count, first = c->vocab - n;
    for (int i = 0; i < n; i++)
        if (tokens[i] >= first)
            die(EX_DATAERR,
                "%s: class token %d is one of the last %d of the vocabulary of %d, at which an "
                "ib-edl student has its deviations: call the class another word, or train with "
                "--loss edl",
                stream_name(r), (int)tokens[i], n, c->vocab);
    tokens = xreallocarray(tokens, 2 * (size_t)n, sizeof *tokens);
    for (int i = 0; i < n; i++)
        tokens[n + i] = first + i;
    *count = 2 * n;
    return tokens;
}

void check_tokens(const struct stream_reader *r, const struct tokens *t, const struct config *c)
{
    if (t->n_tokens > (size_t)c->max_positions)
        stream_bad_record(r, t->id, "%zu tokens, but the model takes %d; shorten the text",
                          t->n_tokens, c->max_positions);
    for (size_t i = 0; i < t->n_tokens; i++)
        if (t->tokens[i] < 0 || t->tokens[i] >= c->vocab)
            stream_bad_record(
                r, t->id,
                "token %d is not in the model's vocabulary of %d; was the stream made "
                "by another model's tokenizer?",
                (int)t->tokens[i], c->vocab);
}
