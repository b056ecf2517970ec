#include "common/text/class_tokens.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <string.h>

/* The text of a class's first token where that is less than its first word, in text; else NULL. */
static const char *fragment(struct tokenizer *t, const char *class, int32_t token, struct buf *text)
{
    text->len = 0;
    tokenizer_decode(t, &token, 1, false, text);
    const char *s = buf_str(text);
    s += strspn(s, " ");
    return strlen(s) < strcspn(class, " ") ? s : NULL;
}

static void warn_of_fragments(struct tokenizer *t, const char *const *classes, size_t n,
                              const int32_t *tokens)
{
    struct buf text = {0};
    const char *piece = NULL;
    for (size_t i = 0; i < n && !piece; i++)
        if ((piece = fragment(t, classes[i], tokens[i], &text)))
            warn("the class '%s' is read at '%s', a piece of the word, which may not be what the "
                 "model writes: give the task 'answers' (duq-task(5))",
                 classes[i], piece);
    buf_free(&text);
}

int32_t *class_tokens(struct tokenizer *t, const char *const *classes, size_t n)
{
    int32_t *tokens = xreallocarray(NULL, n + 1, sizeof *tokens);
    for (size_t i = 0; i < n; i++) {
        tokens[i] = tokenizer_first_token(t, classes[i]);
        for (size_t k = 0; k < i; k++)
            if (tokens[k] == tokens[i])
                die(EX_DATAERR,
                    "%s: the classes '%s' and '%s' both begin with the token '%s' (%d); rename "
                    "one, "
                    "or give the task 'answers' (duq-task(5))",
                    tokenizer_path(t), classes[k], classes[i], tokenizer_token(t, tokens[i]),
                    tokens[i]);
    }
    warn_of_fragments(t, classes, n, tokens);
    return tokens;
}
