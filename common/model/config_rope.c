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
    if (!json_is_false(json_object_get(rope, "truncate"))) {
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

/* transformers' order: "rope_scaling", where there is anything in it, before "rope_parameters". */
static const json_t *parameters(const struct source *s)
{
    static const char *const places[] = {"rope_scaling", "rope_parameters"};
    static const char *const known[] = {"rope_type",        "type",
                                        "rope_theta",       "partial_rotary_factor",
                                        "factor",           "original_max_position_embeddings",
                                        "low_freq_factor",  "high_freq_factor",
                                        "beta_fast",        "beta_slow",
                                        "attention_factor", "mscale",
                                        "mscale_all_dim",   "truncate"};
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        const json_t *rope = json_object_get(s->root, places[p]);
        if (given(s->root, places[p]) && !json_is_object(rope))
            die(EX_DATAERR, "%s: '%s' is no object", s->path, places[p]);
        if (json_object_size(rope) == 0)
            continue;
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)rope, key, value)
        {
            size_t k = 0, n = sizeof known / sizeof *known;
            while (k < n && strcmp(key, known[k]) != 0)
                k++;
            if (json_is_object(value))
                die(EX_DATAERR, "%s: '%s' by kinds of layers ('%s') is not supported", s->path,
                    places[p], key);
            if (k == n && !json_is_null(value))
                die(EX_DATAERR, "%s: '%s' has a key '%s', which is not known", s->path, places[p],
                    key);
        }
        return rope;
    }
    return NULL;
}

static const char *type_of(const json_t *rope)
{
    const char *key = given(rope, "rope_type") ? "rope_type" : "type";
    return given(rope, key) ? json_string_value(json_object_get(rope, key)) : "default";
}

void config_read_rope(const struct source *s, struct config *c)
{
    const json_t *rope = parameters(s);
    double theta = get_real(s, given(rope, "rope_theta") ? rope : s->root, "rope_theta", 10000);
    if (get_real(s, given(rope, "partial_rotary_factor") ? rope : s->root, "partial_rotary_factor",
                 1) != 1)
        die(EX_DATAERR, "%s: partial rotary positions are not supported", s->path);
    const char *type = type_of(rope);
    int half = c->head_dim / 2;
    double *frequency = xcalloc((size_t)half, sizeof *frequency);
    for (int i = 0; i < half; i++)
        frequency[i] = pow(theta, -2.0 * i / c->head_dim);
    double magnitude = 1;
    if (type && !strcmp(type, "linear")) {
        double factor = get_real(s, rope, "factor", 0);
        for (int i = 0; i < half; i++)
            frequency[i] /= factor;
    } else if (type && !strcmp(type, "llama3")) {
        scale_llama3(s, rope, half, frequency);
    } else if (type && !strcmp(type, "yarn")) {
        magnitude = scale_yarn(s, rope, theta, half, frequency);
    } else if (!type || strcmp(type, "default") != 0) {
        die(EX_DATAERR,
            "%s: RoPE scaling '%s' is not supported (default, linear, llama3, yarn are)", s->path,
            type ? type : "?");
    }
    c->rope_magnitude = (float)magnitude;
    c->frequency = xcalloc((size_t)half, sizeof *c->frequency);
    for (int i = 0; i < half; i++) {
        c->frequency[i] = (float)frequency[i];
        if (!isfinite(c->frequency[i]))
            die(EX_DATAERR, "%s: the rotary frequencies are too large for single precision",
                s->path);
    }
    free(frequency);
}
