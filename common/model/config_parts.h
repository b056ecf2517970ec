/* What the files that read config.json share. */
#ifndef DUQ_MODEL_CONFIG_PARTS_H
#define DUQ_MODEL_CONFIG_PARTS_H

#include "common/model/config.h"

/* The file being read, for messages. */
struct source {
    const char *path;
    json_t *root;
    float *rope_factors; /* [n_rope_factors], by which rotary frequencies are divided; NULL: none */
    size_t n_rope_factors;
};

/* Whether o has the key, and not null. */
bool given(const json_t *o, const char *key);

/* Whether the list, which ends in NULL and may be NULL, has the key. */
bool listed(const char *const *keys, const char *key);

/* Values of an object's key. They die (EX_DATAERR), naming file and key, where it is another kind
 * of value. fallback: where it is absent or null; a negative one, for get_real 0, where it must be
 * there. Reals are positive and fit in a float. */
int get_int(const struct source *s, const char *key, int fallback);
double get_real(const struct source *s, const json_t *o, const char *key, double fallback);

/* ---- architectures (config.c) ---- */

/* Which projections have biases. */
enum biases {
    NO_BIASES,
    QKV_BIASES,
    ATTENTION_BIASES_AS_TOLD, /* q, k, v and o, by attention_bias */
    BIASES_AS_TOLD,           /* these, and by mlp_bias gate, up and down */
};

/* Which layers have windows. */
enum windows {
    NO_WINDOWS,
    ONE_WINDOW,       /* sliding_window, in all layers, or in those that layer_types names */
    SOME_WINDOWS,     /* sliding_window where use_sliding_window says so, in the layers that
                       * layer_types names, or those from max_window_layers on */
    UNTURNED_WINDOWS, /* the same, or those that no_rope_layers leaves unturned */
    MOST_WINDOWS,     /* sliding_window in the layers that layer_types names, or all but every n-th:
                       * n is sliding_window_pattern */
};

/* How the parameters of rotary positions are told. */
enum rope_rules {
    PLAIN_ROPE,
    ROPE_BY_LAYER_TYPE, /* full_attention's and sliding_attention's apart (Gemma 3) */
    SOME_UNTURNED_ROPE, /* no_rope_layers says which layers have none (SmolLM3) */
    PARTIAL_ROPE,       /* partial_rotary_factor; LongRoPE (Phi 3) */
    GROWING_ROPE,       /* llama_4_scaling_beta (Ministral 3) */
};

/* What an architecture has of its own; all else is the same for all of them. Defaults are those of
 * transformers' configuration classes. */
struct architecture {
    const char *name, *model_type;
    enum biases biases;
    enum windows windows;
    bool untyped; /* layer_types says nothing to it */
    int window;   /* where config.json has no sliding_window; 0: none */
    int kv_heads; /* where it does not say; 0: as many as heads */
    int head_dim; /* the same; 0: width / heads */
    double norm_eps;
    double rope_theta;
    enum rope_rules rope;
    bool tied, fused;
    enum norm_places norms;
    enum qk_norms qk_norms;
    float gain_shift;
    const char *activation_key, *activation; /* its key, and the one value that is known */
    int pattern;                             /* of MOST_WINDOWS where it does not say */
    /* Scales, caps and what else has keys of its own; NULL: nothing. */
    void (*read_own)(const struct source *, struct config *);
    const char *const *keys; /* those, NULL at the end */
};

/* ---- the parts ---- */

/* c->rotary: 0 for the layers whose queries and keys turn, which are all but where the architecture
 * has others. */
void config_read_unturned(const struct source *s, const struct architecture *a, struct config *c);

/* c->rotaries, and in c->rotary which of them a layer has, from head_dim, max_positions and layers,
 * which LongRoPE lowers to the length that its short factors hold for; sliding: [layers], which of
 * them layer_types calls so. */
void config_read_rope(const struct source *s, const struct architecture *a, const bool *sliding,
                      struct config *c);

/* Dies (EX_DATAERR) at a key that neither all of the engine's models know nor this architecture,
 * unless its value is null, or false and known to say what the model has not: it may say that the
 * model computes something else. */
void config_check_keys(const struct source *s, const struct architecture *a);

#endif
