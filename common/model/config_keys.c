/* The keys of config.json that are known whatever the architecture: read elsewhere, or of no
 * account for class logits. */
#include "common/model/config_parts.h"

#include "common/util/diag.h"

#include <string.h>

static const char *const known[] = {
    /* read */
    "architectures", "model_type", "is_causal", "vocab_size", "hidden_size", "num_hidden_layers",
    "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim",
    "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "hidden_act",
    "attention_bias", "mlp_bias", "sliding_window", "use_sliding_window", "max_window_layers",
    "layer_types", "rope_theta", "rope_scaling", "rope_parameters",
    "original_max_position_embeddings", "partial_rotary_factor", "quantization_config",
    /* training and initial values */
    "initializer_range", "attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop",
    "pretraining_tp", "gradient_checkpointing",
    /* how weights are stored, and by what they were written */
    "torch_dtype", "dtype", "transformers_version", "name_or_path", "auto_map", "unsloth_version",
    "unsloth_fixed", "transformers.js_config", "is_llama_config",
    /* generation */
    "use_cache", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "cls_token_id",
    "unk_token_id", "mask_token_id", "decoder_start_token_id", "max_length", "min_length",
    "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty",
    "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
    "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences",
    "output_scores", "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id",
    "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
    "begin_suppress_tokens", "cache_implementation",
    /* other tasks and frameworks */
    "output_attentions", "output_hidden_states", "return_dict", "torchscript", "use_bfloat16",
    "pruned_heads", "tf_legacy_loss", "chunk_size_feed_forward", "attn_implementation", "id2label",
    "label2id", "num_labels", "problem_type", "finetuning_task", "tokenizer_class", "prefix",
    "task_specific_params", NULL};

/* What other models have: false says that this one has it not. */
static const char *const absent[] = {"add_cross_attention",
                                     "is_decoder",
                                     "is_encoder_decoder",
                                     "lm_head_bias",
                                     "qkv_bias",
                                     "tie_encoder_decoder",
                                     "use_bidirectional_attention",
                                     "use_mrope",
                                     NULL};

bool listed(const char *const *keys, const char *key)
{
    while (keys && *keys && strcmp(*keys, key) != 0)
        keys++;
    return keys && *keys;
}

/* transformers takes all but true for a model that is no decoder. */
static void check_causal(const struct source *s)
{
    const json_t *causal = json_object_get(s->root, "is_causal");
    if (causal && !json_is_true(causal))
        die(EX_DATAERR,
            "%s: 'is_causal' is not true: tokens would see those after them, which is not "
            "supported",
            s->path);
}

void config_check_keys(const struct source *s, const struct architecture *a)
{
    check_causal(s);
    const char *key;
    json_t *value;
    json_object_foreach(s->root, key, value)
    {
        bool harmless = *key == '_' /* transformers begins notes of its own so */
                        || json_is_null(value) || (json_is_false(value) && listed(absent, key));
        if (!harmless && !listed(known, key) && !listed(a->keys, key))
            die(EX_DATAERR,
                "%s: '%s' is not known: it may say that the model computes something else. Remove "
                "it if it does not",
                s->path, key);
    }
}
