#include "common/model/gguf_family.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

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
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},       {0}};

static const struct gguf_name no_names[] = {{0}};

/* Mistral's files say llama; windows are what these have and Llama has not (gguf_config.c). */
static const struct gguf_name llama_settings[] = {{"attention.sliding_window", "sliding_window"},
                                                  {0}};

static const struct gguf_family families[] = {
    {"llama", "LlamaForCausalLM", NULL, true, 0, llama_settings, no_names},
    {"qwen2", "Qwen2ForCausalLM", NULL, false, 0, no_names, no_names},
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
    for (; list->here; list++)
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
