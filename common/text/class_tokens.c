#include "common/text/class_tokens.h"

#include "common/stream/record.h"
#include "common/text/answer_tokens.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

const char *piece_of_word(struct tokenizer *t, const char *text, const int32_t *tokens, size_t n,
                          struct buf *piece)
{
    piece->len = 0;
    tokenizer_decode(t, tokens, n, false, piece);
    const char *s = buf_str(piece), *rest = text + strspn(text, " ");
    size_t len = strlen(s + strspn(s, " "));
    return len < strlen(rest) && !strchr(" \t\n\r", rest[len]) ? s : NULL;
}

static void warn_of_pieces(struct tokenizer *t, const char *const *classes, size_t n,
                           const int32_t *tokens)
{
    struct buf text = {0};
    const char *piece = NULL;
    for (size_t i = 0; i < n && !piece; i++)
        if ((piece = piece_of_word(t, classes[i], &tokens[i], 1, &text)))
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
    warn_of_pieces(t, classes, n, tokens);
    return tokens;
}

/* Where each class is read, by its name. */
static json_t *name_tokens(struct tokenizer *t, const json_t *header, const char *name)
{
    size_t n;
    const char **classes = header_classes(header, name, &n);
    json_t *list = json_array();
    int32_t *tokens = class_tokens(t, classes, n);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(tokens[i]));
    free(tokens);
    free(classes);
    return list;
}

void header_set_class_tokens(struct tokenizer *t, json_t *header, const char *name)
{
    json_object_del(header, "class_tokens");
    json_object_del(header, "answer_tokens");
    if (json_object_get(header, "answers")) {
        json_t *answers = answer_tokens(t, header, name), *single = answer_class_tokens(answers);
        json_object_set_new(header, single ? "class_tokens" : "answer_tokens",
                            single ? single : json_incref(answers));
        json_decref(answers);
    } else if (json_array_size(json_object_get(header, "classes"))) {
        json_object_set_new(header, "class_tokens", name_tokens(t, header, name));
    }
}
