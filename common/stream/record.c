#include "common/stream/record.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <string.h>

/* ---- reading fields ---- */

/* The record's id as a C string. */
static const char *get_id(struct stream_reader *r, const msgpack_object *o)
{
    const msgpack_object *v = map_get(o, "id");
    if (!v || v->type != MSGPACK_OBJECT_STR)
        stream_bad_record(r, NULL, "field 'id' is missing or not a string");
    if (memchr(v->via.str.ptr, '\0', v->via.str.size))
        stream_bad_record(r, NULL, "field 'id' holds a NUL byte");
    char *id = stream_alloc(r, v->via.str.size + 1);
    memcpy(id, v->via.str.ptr, v->via.str.size);
    id[v->via.str.size] = '\0';
    return id;
}

static int get_int(struct stream_reader *r, const char *id, const msgpack_object *o,
                   const char *key)
{
    const msgpack_object *v = map_get(o, key);
    if (!v || v->type != MSGPACK_OBJECT_POSITIVE_INTEGER || v->via.u64 > INT32_MAX)
        stream_bad_record(r, id, "field '%s' is missing or no whole number from 0 to %d", key,
                          INT32_MAX);
    return (int)v->via.u64;
}

int label_of(struct stream_reader *r, const char *id, const msgpack_object *o)
{
    const msgpack_object *v = map_get(o, "label");
    if (!v || v->type == MSGPACK_OBJECT_NIL)
        return NO_LABEL;
    int label = get_int(r, id, o, "label");
    size_t n = json_array_size(json_object_get(stream_header(r), "classes"));
    if (n && (size_t)label >= n)
        stream_bad_record(r, id, "label %d, but there are %zu classes", label, n);
    return label;
}

static double get_real(struct stream_reader *r, const char *id, const msgpack_object *o,
                       const char *key)
{
    const msgpack_object *v = map_get(o, key);
    if (!v || v->type == MSGPACK_OBJECT_NIL)
        return NAN;
    switch (v->type) {
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return v->via.f64;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return (double)v->via.u64;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return (double)v->via.i64;
    default:
        stream_bad_record(r, id, "field '%s' is not a number", key);
    }
}

/* A number that may be missing; its value where it is there. */
static bool get_mass(struct stream_reader *r, const char *id, const msgpack_object *o, double *mass)
{
    *mass = get_real(r, id, o, "mass");
    if (isnan(*mass))
        return false;
    if (!(*mass >= 0 && *mass <= 1))
        stream_bad_record(r, id, "field 'mass' is %g, not between 0 and 1", *mass);
    return true;
}

static struct span get_text(struct stream_reader *r, const char *id, const msgpack_object *o)
{
    const msgpack_object *v = map_get(o, "text");
    if (!v || v->type != MSGPACK_OBJECT_STR)
        stream_bad_record(r, id, "field 'text' is missing or not a string");
    return (struct span){v->via.str.ptr, v->via.str.size};
}

/* A bin field as an array of elements of the given size, copied to where they are aligned: a
 * reader's bytes are not. NULL when the field is nil or not there. */
static const void *get_array(struct stream_reader *r, const char *id, const msgpack_object *o,
                             const char *key, size_t element, size_t *count)
{
    const msgpack_object *v = map_get(o, key);
    *count = 0;
    if (!v || v->type == MSGPACK_OBJECT_NIL)
        return NULL;
    if (v->type != MSGPACK_OBJECT_BIN || v->via.bin.size % element)
        stream_bad_record(r, id, "field '%s' is not an array of %zu-byte numbers", key, element);
    *count = v->via.bin.size / element;
    void *numbers = stream_alloc(r, v->via.bin.size);
    memcpy(numbers, v->via.bin.ptr, v->via.bin.size);
    return numbers;
}

static const void *need_array(struct stream_reader *r, const char *id, const msgpack_object *o,
                              const char *key, size_t element, size_t *count)
{
    const void *p = get_array(r, id, o, key, element, count);
    if (!p || *count == 0)
        stream_bad_record(r, id, "field '%s' is missing or empty", key);
    size_t classes = json_array_size(json_object_get(stream_header(r), "classes"));
    if (strcmp(key, "tokens") && classes && *count != classes)
        stream_bad_record(r, id, "field '%s' has %zu numbers for %zu classes", key, *count,
                          classes);
    return p;
}

/* ---- records ---- */

bool identity_read(struct stream_reader *r, struct identity *i)
{
    msgpack_object o;
    if (!stream_next(r, &o))
        return false;
    i->id = get_id(r, &o);
    i->label = label_of(r, i->id, &o);
    return true;
}

bool example_read(struct stream_reader *r, struct example *e)
{
    msgpack_object o;
    if (!stream_next(r, &o))
        return false;
    e->id = get_id(r, &o);
    e->text = get_text(r, e->id, &o);
    e->label = label_of(r, e->id, &o);
    return true;
}

bool prompt_read(struct stream_reader *r, struct prompt *p)
{
    msgpack_object o;
    if (!stream_next(r, &o))
        return false;
    p->id = get_id(r, &o);
    p->prompt = get_int(r, p->id, &o, "prompt");
    p->text = get_text(r, p->id, &o);
    p->label = label_of(r, p->id, &o);
    p->literal = get_array(r, p->id, &o, "literal", sizeof *p->literal, &p->n_literal);
    return true;
}

bool tokens_read(struct stream_reader *r, struct tokens *t)
{
    msgpack_object o;
    if (!stream_next(r, &o))
        return false;
    t->id = get_id(r, &o);
    t->prompt = get_int(r, t->id, &o, "prompt");
    t->tokens = need_array(r, t->id, &o, "tokens", sizeof *t->tokens, &t->n_tokens);
    t->label = label_of(r, t->id, &o);
    return true;
}

bool scores_read(struct stream_reader *r, struct scores *s)
{
    msgpack_object o;
    if (!stream_next(r, &o))
        return false;
    s->id = get_id(r, &o);
    s->prompt = get_int(r, s->id, &o, "prompt");
    s->logits = need_array(r, s->id, &o, "logits", sizeof *s->logits, &s->n_classes);
    s->label = label_of(r, s->id, &o);
    s->has_mass = get_mass(r, s->id, &o, &s->mass);
    return true;
}

/* A weight's calibration, where it has one. */
static void get_calibration(struct stream_reader *r, const msgpack_object *o,
                            struct prompt_weight *w)
{
    const msgpack_object *scale = map_get(o, "scale");
    w->scale = 0;
    if (scale && scale->type != MSGPACK_OBJECT_NIL) {
        w->scale = get_real(r, NULL, o, "scale");
        if (!(w->scale > 0 && isfinite(w->scale)))
            stream_bad_record(r, NULL, "field 'scale' is not a finite number above 0");
    }
    const msgpack_object *bias = map_get(o, "bias");
    w->bias = NULL;
    w->n_classes = 0;
    if (bias && bias->type != MSGPACK_OBJECT_NIL)
        w->bias = need_array(r, NULL, o, "bias", sizeof *w->bias, &w->n_classes);
    for (size_t c = 0; c < w->n_classes; c++)
        if (!isfinite(w->bias[c]))
            stream_bad_record(r, NULL, "field 'bias' holds %g", w->bias[c]);
}

bool weight_read(struct stream_reader *r, struct prompt_weight *w)
{
    msgpack_object o;
    if (!stream_next(r, &o))
        return false;
    w->prompt = get_int(r, NULL, &o, "prompt");
    w->weight = get_real(r, NULL, &o, "weight");
    if (!(w->weight >= 0 && w->weight <= 1))
        stream_bad_record(r, NULL, "field 'weight' is missing or not between 0 and 1");
    get_calibration(r, &o, w);
    return true;
}

bool prediction_read(struct stream_reader *r, struct prediction *p)
{
    msgpack_object o;
    if (!stream_next(r, &o))
        return false;
    p->id = get_id(r, &o);
    p->label = label_of(r, p->id, &o);
    p->probs = need_array(r, p->id, &o, "probs", sizeof *p->probs, &p->n_classes);
    size_t n;
    p->alpha = get_array(r, p->id, &o, "alpha", sizeof *p->alpha, &n);
    if (p->alpha && n != p->n_classes)
        stream_bad_record(r, p->id, "field 'alpha' has %zu numbers for %zu classes", n,
                          p->n_classes);
    p->members = get_array(r, p->id, &o, "members", sizeof *p->members, &n);
    if (n % p->n_classes)
        stream_bad_record(r, p->id, "field 'members' has %zu numbers for %zu classes", n,
                          p->n_classes);
    p->n_members = n / p->n_classes;
    p->mean_log = get_array(r, p->id, &o, "mean_log", sizeof *p->mean_log, &n);
    if (p->mean_log && n != p->n_classes)
        stream_bad_record(r, p->id, "field 'mean_log' has %zu numbers for %zu classes", n,
                          p->n_classes);
    p->total = get_real(r, p->id, &o, "total");
    p->aleatoric = get_real(r, p->id, &o, "aleatoric");
    p->epistemic = get_real(r, p->id, &o, "epistemic");
    p->has_mass = get_mass(r, p->id, &o, &p->mass);
    return true;
}

static const char *const take_names[] = {
    [TAKE_BELOW] = "below", [TAKE_AT_MOST] = "at most", [TAKE_ALL] = "all", [TAKE_NONE] = "none"};
enum { N_TAKES = sizeof take_names / sizeof *take_names };

static enum take get_take(struct stream_reader *r, const msgpack_object *o)
{
    const msgpack_object *v = map_get(o, "take");
    for (int i = 0; v && v->type == MSGPACK_OBJECT_STR && i < N_TAKES; i++)
        if (str_is(&v->via.str, take_names[i]))
            return (enum take)i;
    stream_bad_record(r, NULL, "field 'take' is missing or none of the words it may be");
}

bool rule_limit_read(struct stream_reader *r, struct rule_limit *l)
{
    msgpack_object o;
    if (!stream_next(r, &o))
        return false;
    const msgpack_object *class = map_get(&o, "class");
    bool all = !class || class->type == MSGPACK_OBJECT_NIL;
    l->label = all ? NO_LABEL : get_int(r, NULL, &o, "class");
    l->take = get_take(r, &o);
    l->threshold = get_real(r, NULL, &o, "threshold");
    l->n = (size_t)get_int(r, NULL, &o, "n");
    bool limited = l->take == TAKE_BELOW || l->take == TAKE_AT_MOST;
    if (limited ? !isfinite(l->threshold) : !isnan(l->threshold))
        stream_bad_record(r, NULL, "field 'threshold' does not go with take '%s'",
                          take_names[l->take]);
    return true;
}

/* ---- writing ---- */

static void put_str(msgpack_packer *p, const char *key, const char *s, size_t len)
{
    msgpack_pack_str_with_body(p, key, strlen(key));
    msgpack_pack_str_with_body(p, s, len);
}

static void put_int(msgpack_packer *p, const char *key, int v)
{
    msgpack_pack_str_with_body(p, key, strlen(key));
    msgpack_pack_int(p, v);
}

static void put_size(msgpack_packer *p, const char *key, size_t v)
{
    msgpack_pack_str_with_body(p, key, strlen(key));
    msgpack_pack_uint64(p, v);
}

static void put_class(msgpack_packer *p, const char *key, int label)
{
    msgpack_pack_str_with_body(p, key, strlen(key));
    if (label == NO_LABEL)
        msgpack_pack_nil(p);
    else
        msgpack_pack_int(p, label);
}

static void put_real(msgpack_packer *p, const char *key, double v)
{
    msgpack_pack_str_with_body(p, key, strlen(key));
    if (isnan(v))
        msgpack_pack_nil(p);
    else
        msgpack_pack_double(p, v);
}

static void put_array(msgpack_packer *p, const char *key, const void *data, size_t element,
                      size_t count)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
                   "arrays are little-endian on the wire");
    msgpack_pack_str_with_body(p, key, strlen(key));
    msgpack_pack_bin_with_body(p, data, element * count);
}

void example_write(struct stream_writer *w, const struct example *e)
{
    msgpack_packer *p = stream_packer(w);
    msgpack_pack_map(p, 3);
    put_str(p, "id", e->id, strlen(e->id));
    put_str(p, "text", e->text.data, e->text.len);
    put_class(p, "label", e->label);
    stream_commit(w);
}

void prompt_write(struct stream_writer *w, const struct prompt *x)
{
    msgpack_packer *p = stream_packer(w);
    msgpack_pack_map(p, 4 + (x->literal != NULL));
    put_str(p, "id", x->id, strlen(x->id));
    put_int(p, "prompt", x->prompt);
    put_str(p, "text", x->text.data, x->text.len);
    put_class(p, "label", x->label);
    if (x->literal)
        put_array(p, "literal", x->literal, sizeof *x->literal, x->n_literal);
    stream_commit(w);
}

void tokens_write(struct stream_writer *w, const struct tokens *t)
{
    msgpack_packer *p = stream_packer(w);
    msgpack_pack_map(p, 4);
    put_str(p, "id", t->id, strlen(t->id));
    put_int(p, "prompt", t->prompt);
    put_array(p, "tokens", t->tokens, sizeof *t->tokens, t->n_tokens);
    put_class(p, "label", t->label);
    stream_commit(w);
}

void scores_write(struct stream_writer *w, const struct scores *s)
{
    msgpack_packer *p = stream_packer(w);
    msgpack_pack_map(p, 4 + s->has_mass);
    put_str(p, "id", s->id, strlen(s->id));
    put_int(p, "prompt", s->prompt);
    put_array(p, "logits", s->logits, sizeof *s->logits, s->n_classes);
    put_class(p, "label", s->label);
    if (s->has_mass)
        put_real(p, "mass", s->mass);
    stream_commit(w);
}

void weight_write(struct stream_writer *w, const struct prompt_weight *x)
{
    msgpack_packer *p = stream_packer(w);
    msgpack_pack_map(p, 2 + (x->scale > 0) + (x->bias != NULL));
    put_int(p, "prompt", x->prompt);
    put_real(p, "weight", x->weight);
    if (x->scale > 0)
        put_real(p, "scale", x->scale);
    if (x->bias)
        put_array(p, "bias", x->bias, sizeof *x->bias, x->n_classes);
    stream_commit(w);
}

void prediction_write(struct stream_writer *w, const struct prediction *x)
{
    msgpack_packer *p = stream_packer(w);
    msgpack_pack_map(p, 6 + (x->alpha != NULL) + (x->members != NULL) + (x->mean_log != NULL) +
                            x->has_mass);
    put_str(p, "id", x->id, strlen(x->id));
    put_class(p, "label", x->label);
    put_array(p, "probs", x->probs, sizeof *x->probs, x->n_classes);
    if (x->alpha)
        put_array(p, "alpha", x->alpha, sizeof *x->alpha, x->n_classes);
    if (x->members)
        put_array(p, "members", x->members, sizeof *x->members, x->n_members * x->n_classes);
    if (x->mean_log)
        put_array(p, "mean_log", x->mean_log, sizeof *x->mean_log, x->n_classes);
    put_real(p, "total", x->total);
    put_real(p, "aleatoric", x->aleatoric);
    put_real(p, "epistemic", x->epistemic);
    if (x->has_mass)
        put_real(p, "mass", x->mass);
    stream_commit(w);
}

static void put_text(msgpack_packer *p, const char *key, const char *text)
{
    if (text)
        put_str(p, key, text, strlen(text));
}

static void put_known(msgpack_packer *p, const char *key, double value)
{
    if (!isnan(value))
        put_real(p, key, value);
}

void measurement_write(struct stream_writer *w, const struct measurement *x)
{
    msgpack_packer *p = stream_packer(w);
    bool interval = !isnan(x->low);
    msgpack_pack_map(p, 4 + (x->against != NULL) + 2 * interval + (x->reason != NULL) +
                            !isnan(x->p) + !isnan(x->deviation) + (x->seeds > 0) +
                            (x->definition != NULL));
    put_text(p, "set", x->set);
    put_text(p, "metric", x->metric);
    put_text(p, "against", x->against);
    put_real(p, "value", x->value);
    put_size(p, "n", x->n);
    if (interval) {
        put_real(p, "low", x->low);
        put_real(p, "high", x->high);
    }
    put_text(p, "reason", x->reason);
    put_known(p, "p", x->p);
    put_known(p, "deviation", x->deviation);
    if (x->seeds)
        put_size(p, "seeds", x->seeds);
    put_text(p, "definition", x->definition);
    stream_commit(w);
}

void rule_limit_write(struct stream_writer *w, const struct rule_limit *x)
{
    msgpack_packer *p = stream_packer(w);
    msgpack_pack_map(p, 4);
    put_class(p, "class", x->label);
    put_str(p, "take", take_names[x->take], strlen(take_names[x->take]));
    put_real(p, "threshold", x->threshold);
    put_size(p, "n", x->n);
    stream_commit(w);
}

void decision_write(struct stream_writer *w, const struct decision *x)
{
    msgpack_packer *p = stream_packer(w);
    const char *what = x->answer == NO_LABEL ? "abstain" : "answer";
    msgpack_pack_map(p, 6 + x->has_set);
    put_str(p, "id", x->id, strlen(x->id));
    put_class(p, "label", x->label);
    put_str(p, "decision", what, strlen(what));
    put_class(p, "answer", x->answer);
    if (x->has_set)
        put_array(p, "set", x->set, sizeof *x->set, x->n_set);
    put_real(p, "score", x->score);
    put_str(p, "reason", x->reason, strlen(x->reason));
    stream_commit(w);
}

const char **header_classes(const json_t *header, const char *name, size_t *count)
{
    const json_t *list = json_object_get(header, "classes");
    *count = json_array_size(list);
    if (*count == 0)
        die(EX_DATAERR, "%s: the header names no classes", name);
    const char **names = xcalloc(*count, sizeof *names);
    for (size_t i = 0; i < *count; i++) {
        names[i] = json_string_value(json_array_get(list, i));
        if (!names[i])
            die(EX_DATAERR, "%s: a class name in the header is not a string", name);
    }
    return names;
}

void probabilities_check(const struct stream_reader *r, const char *id, const char *what,
                         const double *p, size_t n)
{
    double sum = 0;
    for (size_t c = 0; c < n; c++) {
        if (!(p[c] >= 0 && p[c] <= 1 + 1e-9)) /* a sum of members may round up */
            stream_bad_record(r, id, "%s: the probability of class %zu is %g", what, c, p[c]);
        sum += p[c];
    }
    if (!(fabs(sum - 1) <= 1e-4))
        stream_bad_record(r, id, "%s: the probabilities sum to %g, not 1", what, sum);
}
