/* The rotary positions of config.json, as transformers reads them. */
#include "common/model/config_parts.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The length before it was stretched: of the file itself before that among the parameters. */
static double original_length(const struct source *s, const json_t *rope)
{
    static const char key[] = "original_max_position_embeddings";
    const json_t *o = given(s->root, key) ? s->root : rope;
    return get_real(s, o, key, get_int(s, "max_position_embeddings", -1));
}

/* Llama 3: long wavelengths are stretched by `factor`, short ones kept, those between blended. */
static void scale_llama3(const struct source *s, const json_t *rope, int half, double *frequency)
{
    double factor = get_real(s, rope, "factor", 0), low = get_real(s, rope, "low_freq_factor", 0);
    double high = get_real(s, rope, "high_freq_factor", 0);
    double context = original_length(s, rope);
    if (high <= low)
        die(EX_DATAERR, "%s: 'high_freq_factor' is not above 'low_freq_factor'", s->path);
    for (int i = 0; i < half; i++) {
        double turns = context * frequency[i] / (2 * M_PI);
        double keep = (turns - low) / (high - low);
        keep = keep < 0 ? 0 : keep > 1 ? 1 : keep;
        frequency[i] *= keep + (1 - keep) / factor;
    }
}

/* YaRN (Peng et al. 2023, section 3.2): dimensions that turn less than beta_slow times in the
 * original context are stretched by `factor`, more than beta_fast times kept, a ramp between.
 * Returns the magnitude of cosines and sines. */
static double scale_yarn(const struct source *s, const json_t *rope, double theta, int half,
                         double *frequency)
{
    double factor = get_real(s, rope, "factor", 0);
    double fast = get_real(s, rope, "beta_fast", 32), slow = get_real(s, rope, "beta_slow", 1);
    double context = original_length(s, rope);
    int dim = 2 * half;
    double low = dim * log(context / (fast * 2 * M_PI)) / (2 * log(theta));
    double high = dim * log(context / (slow * 2 * M_PI)) / (2 * log(theta));
    const json_t *truncate = json_object_get(rope, "truncate");
    if (truncate && !json_is_boolean(truncate))
        die(EX_DATAERR, "%s: 'truncate' is not true or false", s->path);
    if (!(theta > 1))
        die(EX_DATAERR, "%s: 'rope_theta' is %g, which yarn cannot stretch", s->path, theta);
    if (!json_is_false(truncate)) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, dim - 1);
    if (low == high)
        high += 0.001;
    for (int i = 0; i < half; i++) {
        double ramp = fmin(fmax((i - low) / (high - low), 0), 1);
        frequency[i] *= ramp / factor + (1 - ramp);
    }
    if (given(rope, "attention_factor"))
        return get_real(s, rope, "attention_factor", 0);
    double m = 1, all = 0;
    if (given(rope, "mscale") && given(rope, "mscale_all_dim")) {
        m = get_real(s, rope, "mscale", 0);
        all = get_real(s, rope, "mscale_all_dim", 0);
    }
    double log_factor = factor > 1 ? log(factor) : 0;
    return (0.1 * m * log_factor + 1) / (0.1 * all * log_factor + 1);
}

/* LongRoPE (Ding et al. 2024): each dimension is stretched by a factor of its own, one of the short
 * list up to the original length. Longer records would take those of the long list, all of their
 * positions: the model ends at that length. Returns the magnitude of cosines and sines. */
static double scale_longrope(const struct source *s, const json_t *rope, int half,
                             double *frequency, struct config *c)
{
    const json_t *factors = json_object_get(rope, "short_factor");
    if (json_array_size(factors) != (size_t)half)
        die(EX_DATAERR, "%s: 'short_factor' does not have %d factors, one for each pair", s->path,
            half);
    /* transformers goes by the root's key, and without one by its default, not by the parameters.
     */
    double context = get_real(s, s->root, "original_max_position_embeddings", 4096);
    double most = c->max_positions;
    if (!(context >= 2))
        die(EX_DATAERR, "%s: 'original_max_position_embeddings' is %g, less than any text", s->path,
            context);
    for (int i = 0; i < half; i++) {
        double factor = json_number_value(json_array_get(factors, (size_t)i));
        if (!(factor > 0))
            die(EX_DATAERR, "%s: 'short_factor' has what is not a positive number", s->path);
        frequency[i] /= factor;
    }
    double factor = get_real(s, rope, "factor", most / context);
    if (context < most)
        c->max_positions = (int)context;
    if (given(rope, "attention_factor"))
        return get_real(s, rope, "attention_factor", 0);
    return factor > 1 ? sqrt(1 + log(factor) / log(context)) : 1;
}

static const char *const known[] = {"rope_type",
                                    "type",
                                    "rope_theta",
                                    "partial_rotary_factor",
                                    "factor",
                                    "original_max_position_embeddings",
                                    "low_freq_factor",
                                    "high_freq_factor",
                                    "beta_fast",
                                    "beta_slow",
                                    "attention_factor",
                                    "mscale",
                                    "mscale_all_dim",
                                    "truncate",
                                    NULL};
static const char *const known_partial[] = {"short_factor", "long_factor", NULL};
static const char *const known_growing[] = {"llama_4_scaling_beta", "max_position_embeddings",
                                            NULL};
static const char *const layer_types[] = {"full_attention", "sliding_attention", NULL};

static void check_parameters(const struct source *s, const struct architecture *a,
                             const char *place, const json_t *rope)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)rope, key, value)
    {
        if (json_is_object(value) && a->rope == ROPE_BY_LAYER_TYPE && listed(layer_types, key)) {
            check_parameters(s, a, key, value);
            continue;
        }
        if (json_is_object(value))
            die(EX_DATAERR, "%s: '%s' by kinds of layers ('%s') is not supported", s->path, place,
                key);
        if (!listed(known, key) && !(a->rope == PARTIAL_ROPE && listed(known_partial, key)) &&
            !(a->rope == GROWING_ROPE && listed(known_growing, key)) && !json_is_null(value))
            die(EX_DATAERR, "%s: '%s' has a key '%s', which is not known", s->path, place, key);
    }
}

/* transformers puts the values of "rope_scaling" among those for full_attention, where they rule
 * only if they have a "rope_type", and reads "rope_parameters" by kinds of layers alone. */
static void check_by_layer_type(const struct source *s, const struct architecture *a,
                                const char *place, const json_t *rope)
{
    bool scaling = !strcmp(place, "rope_scaling"), nested = false, flat = false;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)rope, key, value)
    {
        nested = nested || listed(layer_types, key);
        flat = flat || !listed(layer_types, key);
    }
    if (scaling && json_object_size(json_object_get(s->root, "rope_parameters")))
        die(EX_DATAERR, "%s: 'rope_scaling' beside 'rope_parameters' is not supported of a %s",
            s->path, a->name);
    if (scaling && (nested || !given(rope, "rope_type")))
        die(EX_DATAERR,
            "%s: 'rope_scaling' of a %s is followed where it has a 'rope_type' and no kinds of "
            "layers",
            s->path, a->name);
    if (!scaling && flat)
        die(EX_DATAERR,
            "%s: 'rope_parameters' of a %s are under 'full_attention' and 'sliding_attention'",
            s->path, a->name);
}

/* transformers' order: "rope_scaling", where there is anything in it, before "rope_parameters". */
static const json_t *parameters(const struct source *s, const struct architecture *a)
{
    static const char *const places[] = {"rope_scaling", "rope_parameters"};
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        const json_t *rope = json_object_get(s->root, places[p]);
        if (given(s->root, places[p]) && !json_is_object(rope))
            die(EX_DATAERR, "%s: '%s' is no object", s->path, places[p]);
        if (json_object_size(rope) == 0)
            continue;
        check_parameters(s, a, places[p], rope);
        if (a->rope == ROPE_BY_LAYER_TYPE)
            check_by_layer_type(s, a, places[p], rope);
        return rope;
    }
    return NULL;
}

static const char *type_of(const struct architecture *a, const json_t *rope)
{
    const char *key = given(rope, "rope_type") ? "rope_type" : "type";
    const char *type = given(rope, key) ? json_string_value(json_object_get(rope, key)) : "default";
    /* What LongRoPE was called before it had its name. */
    if (type && a->rope == PARTIAL_ROPE && (!strcmp(type, "su") || !strcmp(type, "yarn")))
        return "longrope";
    return type;
}

static void divide_by_factors(const struct source *s, int half, double *frequency)
{
    if (!s->rope_factors)
        return;
    if (s->n_rope_factors != (size_t)half)
        die(EX_DATAERR, "%s: %zu factors of rotary frequencies for %d frequencies", s->path,
            s->n_rope_factors, half);
    for (int i = 0; i < half; i++) {
        if (!(s->rope_factors[i] > 0))
            die(EX_DATAERR, "%s: a factor of the rotary frequencies is not positive", s->path);
        frequency[i] /= (double)s->rope_factors[i];
    }
}

/* How many of a head's dimensions turn. */
static int turning_dims(const struct source *s, const struct architecture *a, const json_t *rope,
                        int head_dim)
{
    double part = get_real(s, given(rope, "partial_rotary_factor") ? rope : s->root,
                           "partial_rotary_factor", 1);
    int dims = part < 1 ? (int)(part * head_dim) : head_dim;
    if (part > 1 || (part < 1 && a->rope != PARTIAL_ROPE))
        die(EX_DATAERR, "%s: partial rotary positions are not supported", s->path);
    if (dims < 2 || dims % 2)
        die(EX_DATAERR, "%s: %d of a head's dimensions turn, which is not an even number", s->path,
            dims);
    return dims;
}

/* rope: its parameters; NULL: there are none. */
static void read_rotary(const struct source *s, const struct architecture *a, const json_t *rope,
                        double theta, struct rotary *r, struct config *c)
{
    const char *type = type_of(a, rope);
    r->dims = turning_dims(s, a, rope, c->head_dim);
    int half = r->dims / 2;
    double *frequency = xcalloc((size_t)half, sizeof *frequency);
    for (int i = 0; i < half; i++)
        frequency[i] = pow(theta, -2.0 * i / r->dims);
    double magnitude = 1;
    if (type && a->rope == PARTIAL_ROPE && strcmp(type, "default") && strcmp(type, "longrope"))
        die(EX_DATAERR, "%s: RoPE scaling '%s' is nothing that %s has (default, longrope)", s->path,
            type, a->name);
    if (type && !strcmp(type, "linear")) {
        double factor = get_real(s, rope, "factor", 0);
        for (int i = 0; i < half; i++)
            frequency[i] /= factor;
    } else if (type && !strcmp(type, "llama3")) {
        scale_llama3(s, rope, half, frequency);
    } else if (type && !strcmp(type, "yarn")) {
        magnitude = scale_yarn(s, rope, theta, half, frequency);
    } else if (type && !strcmp(type, "longrope") && a->rope == PARTIAL_ROPE) {
        magnitude = scale_longrope(s, rope, half, frequency, c);
    } else if (!type || strcmp(type, "default") != 0) {
        die(EX_DATAERR,
            "%s: RoPE scaling '%s' is not supported (default, linear, llama3, yarn are)", s->path,
            type ? type : "?");
    }
    divide_by_factors(s, half, frequency);
    r->magnitude = (float)magnitude;
    r->frequency = xcalloc((size_t)half, sizeof *r->frequency);
    for (int i = 0; i < half; i++) {
        r->frequency[i] = (float)frequency[i];
        if (!isfinite(r->frequency[i]))
            die(EX_DATAERR, "%s: the rotary frequencies are too large for single precision",
                s->path);
    }
    free(frequency);
}

/* Of its own parameters before those of the file. */
static double read_theta(const struct source *s, const json_t *rope, const char *key,
                         double fallback)
{
    return given(rope, "rope_theta") ? get_real(s, rope, "rope_theta", 0)
                                     : get_real(s, s->root, key, fallback);
}

/* The layers that see all turn by the file's parameters, or by those under full_attention, sliding
 * ones by sliding_attention's, or without scaling by rope_local_base_freq. */
static void read_by_layer_type(const struct source *s, const struct architecture *a,
                               const json_t *rope, const bool *sliding, struct config *c)
{
    bool nested = false;
    for (size_t i = 0; layer_types[i]; i++)
        nested = nested || given(rope, layer_types[i]);
    const json_t *full = nested ? json_object_get(rope, layer_types[0]) : rope;
    const json_t *local = nested ? json_object_get(rope, layer_types[1]) : NULL;
    read_rotary(s, a, full, read_theta(s, full, "rope_theta", a->rope_theta), &c->rotaries[0], c);
    read_rotary(s, a, local, read_theta(s, local, "rope_local_base_freq", 10000), &c->rotaries[1],
                c);
    c->n_rotaries = 2;
    for (int i = 0; i < c->layers; i++)
        c->rotary[i] = sliding[i] ? 1 : 0;
}

void config_read_unturned(const struct source *s, const struct architecture *a, struct config *c)
{
    c->rotary = xcalloc((size_t)c->layers, sizeof *c->rotary);
    if (a->rope != SOME_UNTURNED_ROPE)
        return;
    int interval = get_int(s, "no_rope_layer_interval", 4);
    const json_t *turns = json_object_get(s->root, "no_rope_layers");
    bool told = given(s->root, "no_rope_layers");
    if (told && json_array_size(turns) < (size_t)c->layers)
        die(EX_DATAERR, "%s: 'no_rope_layers' does not name every layer", s->path);
    for (int i = 0; i < c->layers; i++) {
        const json_t *v = json_array_get(turns, (size_t)i);
        if (told && !json_is_integer(v))
            die(EX_DATAERR, "%s: 'no_rope_layers' has what is no whole number", s->path);
        bool turned = told ? json_integer_value(v) != 0 : (i + 1) % interval != 0;
        c->rotary[i] = turned ? 0 : NO_ROTARY;
    }
}

void config_read_rope(const struct source *s, const struct architecture *a, const bool *sliding,
                      struct config *c)
{
    const json_t *rope = parameters(s, a);
    if (a->rope == ROPE_BY_LAYER_TYPE) {
        read_by_layer_type(s, a, rope, sliding, c);
        return;
    }
    struct rotary *r = &c->rotaries[0];
    c->n_rotaries = 1;
    if (a->rope == GROWING_ROPE && !rope)
        die(EX_DATAERR, "%s: 'rope_parameters' is missing", s->path);
    read_rotary(s, a, rope, read_theta(s, rope, "rope_theta", a->rope_theta), r, c);
    if (a->rope == GROWING_ROPE) {
        r->growth = (float)get_real(s, rope, "llama_4_scaling_beta", 0);
        r->growth_step = (int)original_length(s, rope);
    }
}
