#include "common/model/gguf_family.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct gguf_name common_settings[] = {
    {"context_length", "max_position_embeddings"},
    {"embedding_length", "hidden_size"},
    {"block_count", "num_hidden_layers"},
    {"feed_forward_length", "intermediate_size"},
    {"attention.head_count", "num_attention_heads"},
    {"attention.head_count_kv", "num_key_value_heads"},
    {"attention.key_length", "head_dim"},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps"},
    {"rope.freq_base", "rope_theta"},
    {"vocab_size", "vocab_size"},
    {0}};

static const struct gguf_name common_tensors[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_qkv", "self_attn.qkv_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"attn_output", "self_attn.o_proj"},
    {"post_attention_norm", "post_attention_layernorm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
    {0}};

/* ---- what families have of their own ---- */

static const struct gguf_name window_settings[] = {{"attention.sliding_window", "sliding_window"},
                                                   {0}};

static const struct gguf_name gemma2_settings[] = {
    {"attention.sliding_window", "sliding_window"},
    {"attn_logit_softcapping", "attn_logit_softcapping"},
    {"final_logit_softcapping", "final_logit_softcapping"},
    {0}};

static const struct gguf_name gemma3_settings[] = {
    {"attention.sliding_window", "sliding_window"},
    {"attention.sliding_window_pattern", "sliding_window_pattern"},
    {"rope.freq_base_swa", "rope_local_base_freq"},
    {"final_logit_softcapping", "final_logit_softcapping"},
    {0}};

static const struct gguf_name gemma_tensors[] = {{"ffn_norm", "pre_feedforward_layernorm"}, {0}};

static const struct gguf_name phi3_tensors[] = {{"ffn_up", "mlp.gate_up_proj"}, {0}};

static const struct gguf_name granite_settings[] = {{"attention.scale", "attention_multiplier"},
                                                    {"embedding_scale", "embedding_multiplier"},
                                                    {"residual_scale", "residual_multiplier"},
                                                    {"logit_scale", "logits_scaling"},
                                                    {0}};

static json_int_t whole(const json_t *config, const char *key)
{
    return json_integer_value(json_object_get(config, key));
}

/* Mistral's files say llama; what they have and Llama has not is a window. */
static void complete_llama(const struct gguf *g, json_t *config)
{
    const json_t *window = json_object_get(config, "sliding_window");
    if (window && !json_is_integer(window))
        die(EX_DATAERR, "%s: llama.attention.sliding_window is not a whole number", gguf_path(g));
    if (whole(config, "sliding_window"))
        json_object_set_new(config, "architectures", json_pack("[s]", "MistralForCausalLM"));
}

/* Scores are divided by the root of the head's length, of 27B models by that of the width's share:
 * llama.cpp tells these by their layers. */
static void complete_gemma(json_t *config, int layers_of_27b)
{
    json_int_t scalar = whole(config, "head_dim"), heads = whole(config, "num_attention_heads");
    if (whole(config, "num_hidden_layers") == layers_of_27b && heads)
        scalar = whole(config, "hidden_size") / heads;
    json_object_set_new(config, "query_pre_attn_scalar", json_integer(scalar));
}

static void complete_gemma2(const struct gguf *g, json_t *config)
{
    (void)g;
    complete_gemma(config, 46);
}

static void complete_gemma3(const struct gguf *g, json_t *config)
{
    complete_gemma(config, 62);
    if (!whole(config, "sliding_window"))
        die(EX_DATAERR, "%s: gemma3.attention.sliding_window is missing", gguf_path(g));
}

/* A scale that is not there is 1, of attention what most models have. */
static void complete_granite(const struct gguf *g, json_t *config)
{
    (void)g;
    if (!json_object_get(config, "attention_multiplier"))
        json_object_set_new(config, "attention_multiplier",
                            json_real(1 / sqrt((double)whole(config, "head_dim"))));
}

static const struct gguf_family families[] = {
    {"llama", "LlamaForCausalLM", .pairs_rows = true, .settings = window_settings,
     .complete = complete_llama},
    {"qwen2", "Qwen2ForCausalLM", .pairs_rows = false},
    {"qwen3", "Qwen3ForCausalLM", .pairs_rows = false},
    {"gemma2", "Gemma2ForCausalLM", .norm_offset = 1, .settings = gemma2_settings,
     .tensors = gemma_tensors, .complete = complete_gemma2},
    {"gemma3", "Gemma3ForCausalLM", .norm_offset = 1, .settings = gemma3_settings,
     .tensors = gemma_tensors, .complete = complete_gemma3},
    {"phi3", "Phi3ForCausalLM", .settings = window_settings, .tensors = phi3_tensors},
    {"granite", "GraniteForCausalLM", .pairs_rows = true, .settings = granite_settings,
     .complete = complete_granite},
    {"olmo2", "Olmo2ForCausalLM", .pairs_rows = false},
    {"smollm3", "SmolLM3ForCausalLM", .pairs_rows = true},
};

const struct gguf_family *gguf_family(const struct gguf *g)
{
    char *name = gguf_text(g, "general.architecture");
    if (!name)
        die(EX_DATAERR, "%s: general.architecture is missing", gguf_path(g));
    size_t n = sizeof families / sizeof *families;
    struct buf known = {0};
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(families[i].name, name)) {
            free(name);
            buf_free(&known);
            return &families[i];
        }
        buf_addf(&known, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " and ", families[i].name);
    }
    die(EX_DATAERR, "%s: general.architecture '%s' is not supported (%s are)", gguf_path(g), name,
        buf_str(&known));
}

static const char *look_up(const struct gguf_name *list, const char *here)
{
    for (; list && list->here; list++)
        if (!strcmp(list->here, here))
            return list->there;
    return NULL;
}

const char *gguf_setting_name(const struct gguf_family *f, const char *here)
{
    const char *own = look_up(f->settings, here);
    return own ? own : look_up(common_settings, here);
}

const char *gguf_layer_tensor_name(const struct gguf_family *f, const char *here)
{
    const char *own = look_up(f->tensors, here);
    return own ? own : look_up(common_tensors, here);
}
