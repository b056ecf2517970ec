#include "common/stream/header.h"

#include "common/util/json.h"

#include <stddef.h>
#include <string.h>

enum {
    J = HEADER_JOINED,
    W = HEADER_WEIGHTS,
    O = HEADER_OTHER_TASK,
    R = HEADER_RULE,
    M = HEADER_SAME_MODEL
};

static const struct {
    const char *name;
    int uses; /* of enum header_use, those in which headers must agree on it */
} keys[] = {
    {"schema", J},
    {"task", J | W | R},
    {"classes", J | W | R},
    {"layout", J | W | O | R},
    {"answers", J},
    {"open", J},
    {"prompts", J | W | O | R},
    {"model", J | W | O | R | M},
    {"tokenizer", J | W | O | R},
    {"class_tokens", J | W | R},
    {"answer_tokens", J | W | R},
    {"head", J | R | M},
    {"alphas", J | R | M},
    {"adapter", J | W | O | R | M},
    {"weights", J | R | M},
    {"ensemble", J | R | M},
    {"fit", J},
    {"rule", J},
    {"made_for", J | R},
    {"asked", J},
};

/* The first key of the task in which two streams' prompts were made otherwise. Prompts made by hand
 * say nothing of that, and a date may be another one. A student is asked by instructions of its
 * adapter's alone, and of weights it counts which instructions have one (prompt_weights_read()):
 * of the others they may be any. */
static const char *asked_key(const json_t *a, const json_t *b, enum header_use use)
{
    const json_t *x = json_object_get(json_object_get(a, "asked"), "task");
    const json_t *y = json_object_get(json_object_get(b, "asked"), "task");
    bool any = use == HEADER_WEIGHTS || json_object_get(a, "adapter");
    return x && y ? json_differing_key(x, y, any ? "instructions" : NULL) : NULL;
}

const char *header_difference(const json_t *a, const json_t *b, enum header_use use)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!(keys[i].uses & (int)use))
            continue;
        const json_t *x = json_object_get(a, keys[i].name), *y = json_object_get(b, keys[i].name);
        if (x != y && !(x && y && json_equal(x, y)))
            return keys[i].name;
    }
    return use & (HEADER_WEIGHTS | HEADER_RULE) ? asked_key(a, b, use) : NULL;
}

void header_copy_task(json_t *to, const json_t *from)
{
    static const char *const names[] = {"task", "classes"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *value = json_object_get(from, names[i]);
        if (value)
            json_object_set(to, names[i], value);
    }
}

bool header_class_fits(const char *name)
{
    static const char blanks[] = " \t\r\n";
    size_t n = strlen(name);
    return !n || !(strpbrk(name, "\r\n") || strchr(blanks, name[0]) || strchr(blanks, name[n - 1]));
}
