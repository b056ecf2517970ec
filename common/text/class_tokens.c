#include "common/text/class_tokens.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

int32_t *class_tokens(struct tokenizer *t, const char *const *classes, size_t n)
{
    int32_t *tokens = xreallocarray(NULL, n + 1, sizeof *tokens);
    for (size_t i = 0; i < n; i++) {
        tokens[i] = tokenizer_first_token(t, classes[i]);
        for (size_t k = 0; k < i; k++)
            if (tokens[k] == tokens[i])
                die(EX_DATAERR,
                    "%s: the classes '%s' and '%s' both begin with the token '%s' (%d); rename one",
                    tokenizer_path(t), classes[k], classes[i], tokenizer_token(t, tokens[i]),
                    tokens[i]);
    }
    return tokens;
}
