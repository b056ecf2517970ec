#include "common/model/token_input.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

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

void check_tokens(const struct stream_reader *r, const struct tokens *t, const struct config *c,
                  int answer)
{
    if (t->n_tokens + (size_t)answer > (size_t)c->max_positions)
        stream_bad_record(r, t->id, "%zu tokens%s, but the model takes %d; shorten the text",
                          t->n_tokens + (size_t)answer, answer ? " with the longest answer" : "",
                          c->max_positions);
    for (size_t i = 0; i < t->n_tokens; i++)
        if (t->tokens[i] < 0 || t->tokens[i] >= c->vocab)
            stream_bad_record(
                r, t->id,
                "token %d is not in the model's vocabulary of %d; was the stream made "
                "by another model's tokenizer?",
                (int)t->tokens[i], c->vocab);
}
