#include "common/stream/asked.h"

#include "common/util/json.h"
#include "common/util/mem.h"

static json_t *layout_of(const json_t *asked)
{
    json_t *layout = json_copy(json_object_get(asked, "task"));
    json_object_del(layout, "name");
    json_object_del(layout, "instructions");
    if (json_object_get(asked, "date"))
        json_object_set(layout, "date", json_object_get(asked, "date"));
    return layout;
}

char *asked_difference(const json_t *then, const json_t *now, char **before, char **after)
{
    json_t *a = layout_of(then), *b = layout_of(now);
    const char *key = json_difference(a, b, before, after);
    char *copy = key ? xstrdup(key) : NULL;
    json_decref(a);
    json_decref(b);
    return copy;
}

const json_t *asked_instruction(const json_t *asked, size_t number)
{
    return json_array_get(json_object_get(json_object_get(asked, "task"), "instructions"), number);
}

bool asked_by(const json_t *asked, const json_t *numbers, const json_t *text)
{
    size_t i;
    const json_t *number;
    json_array_foreach(numbers, i, number)
    {
        const json_t *own = asked_instruction(asked, (size_t)json_integer_value(number));
        if (own && json_equal(own, text))
            return true;
    }
    return false;
}
