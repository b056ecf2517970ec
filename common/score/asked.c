#include "common/score/asked.h"

#include "common/stream/asked.h"
#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

#define AS_TRAINED "; --other-task asks the student so all the same"

struct asked {
    bool *known;  /* [n], by the stream's numbers */
    char **texts; /* [n], the instructions */
    size_t n;
    long first; /* the number of one that is known, -1: there is none */
};

static _Noreturn void other_layout(const struct stream_reader *r, const char *key,
                                   const char *trained, const char *now)
{
    if (!strcmp(key, "shots"))
        die(EX_DATAERR,
            "%s: prompts with %s worked examples, the adapter was trained on prompts with %s: make "
            "them with prompt-expand --student" AS_TRAINED,
            stream_name(r), now, trained);
    die(EX_DATAERR,
        "%s: prompts whose '%s' is %s, the adapter was trained on prompts where it is %s: make "
        "them "
        "with the same task file and options, or ask with duq-ask" AS_TRAINED,
        stream_name(r), key, now, trained);
}

static void compare_layouts(const struct stream_reader *r, const json_t *trained, const json_t *now)
{
    char *before, *after;
    const char *key = asked_difference(trained, now, &before, &after);
    if (key)
        other_layout(r, key, before, after);
}

struct asked *asked_match(const struct adapter *a, const struct stream_reader *tokens)
{
    const json_t *trained = json_object_get(a->facts, "asked");
    const json_t *now = json_object_get(stream_header(tokens), "asked");
    if (!trained || !now)
        return NULL;
    compare_layouts(tokens, trained, now);
    const json_t *texts = json_object_get(json_object_get(now, "task"), "instructions");
    struct asked *s = xcalloc(1, sizeof *s);
    s->n = json_array_size(texts);
    s->known = xcalloc(s->n, sizeof *s->known);
    s->texts = xcalloc(s->n, sizeof *s->texts);
    s->first = -1;
    for (size_t i = s->n; i-- > 0;) {
        const json_t *text = json_array_get(texts, i);
        s->known[i] = asked_by(trained, json_object_get(trained, "instructions"), text);
        s->texts[i] = xstrdup(json_is_string(text) ? json_string_value(text) : "");
        if (s->known[i])
            s->first = (long)i;
    }
    return s;
}

void asked_check(const struct asked *s, const struct stream_reader *r, const struct tokens *t)
{
    if (!s || ((size_t)t->prompt < s->n && s->known[t->prompt]))
        return;
    const char *text = (size_t)t->prompt < s->n ? s->texts[t->prompt] : "";
    if (s->first < 0)
        stream_bad_record(
            r, t->id,
            "asked by the instruction '%s', which is none that the adapter was trained "
            "on: make the prompts with the same task file, or ask with "
            "duq-ask" AS_TRAINED,
            text);
    stream_bad_record(r, t->id,
                      "asked by instruction %d, '%s', the adapter was trained on instruction %ld, "
                      "'%s': make the prompts with prompt-expand --instruction %ld" AS_TRAINED,
                      t->prompt, text, s->first, s->texts[s->first], s->first);
}

void asked_free(struct asked *s)
{
    for (size_t i = 0; s && i < s->n; i++)
        free(s->texts[i]);
    if (s) {
        free(s->known);
        free(s->texts);
    }
    free(s);
}
