"""GGUF files written by the `gguf` package: models that transformers has made, and tokenizers."""

import json
import os

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T

# What gguf-py cannot quantise itself: random blocks with scales that give weights like a model's.
K_TYPES = (T.Q4_K, T.Q5_K, T.Q6_K)


def random_blocks(kind, rows, columns, generator):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = generator.integers(0, 256, (rows * columns // block, size), dtype=np.uint8)
    half = lambda lo, hi: generator.uniform(lo, hi, len(raw)).astype(np.float16).view(np.uint8).reshape(-1, 2)
    if kind == T.Q6_K:
        raw[:, 208:210] = half(1e-5, 4e-5)
    else:
        least = 1e-3 if kind == T.Q4_K else 2e-3
        raw[:, 0:2], raw[:, 2:4] = half(5e-5, 2e-4), half(0.5 * least, 1.5 * least)
    return raw.reshape(rows, -1)


def packed(weights, kind, generator):
    if kind in K_TYPES:
        return random_blocks(kind, *weights.shape, generator)
    return gguf.quantize(weights, kind)


def permuted(weights, heads):
    """Rows of q and k as llama.cpp's converter stores them: pairs that rotate together, side by side."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def rope_factors(config):
    """llama.cpp's rope_freqs of a model with Llama 3's scaling: by what each frequency is divided."""
    rope, dim = config.rope_parameters, config.head_dim
    context = rope["original_max_position_embeddings"]
    long, short = context / rope["low_freq_factor"], context / rope["high_freq_factor"]
    factors = []
    for i in range(0, dim, 2):
        wave = 2 * np.pi * rope["rope_theta"] ** (i / dim)
        smooth = (context / wave - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
        factors.append(1 if wave < short else rope["factor"] if wave > long else
                       1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)


def write_rope(w, config, head_dim):
    rope = config.rope_parameters
    own = rope.get("full_attention", rope)  # Gemma 3's; its windows turn by a rule of the architecture
    w.add_rope_freq_base(own["rope_theta"])
    w.add_rope_dimension_count(int(head_dim * own.get("partial_rotary_factor", 1)))
    if own["rope_type"] in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType(own["rope_type"]))
        w.add_rope_scaling_factor(own["factor"])
    if own["rope_type"] == "yarn":
        w.add_rope_scaling_orig_ctx_len(own["original_max_position_embeddings"])
    if own["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", rope_factors(config))
    if own["rope_type"] == "longrope":
        original = own["original_max_position_embeddings"]
        scale = config.max_position_embeddings / original
        w.add_rope_scaling_orig_ctx_len(original)
        w.add_rope_scaling_attn_factors(float(np.sqrt(1 + np.log(scale) / np.log(original))))
        w.add_tensor("rope_factors_long.weight", np.array(own["long_factor"], np.float32))
        w.add_tensor("rope_factors_short.weight", np.array(own["short_factor"], np.float32))


def write_settings(w, config, arch):
    """What llama.cpp's converter writes of a model."""
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    write_rope(w, config, head_dim)
    if arch not in ("phi3", "olmo2", "granite"):
        w.add_vocab_size(config.vocab_size)
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    if arch == "phi3" or (config.model_type != "qwen2" and getattr(config, "sliding_window", None)):
        w.add_sliding_window(config.sliding_window or 0)
    if arch == "gemma3":
        w.add_float32("gemma3.rope.freq_base_swa", config.rope_parameters["sliding_attention"]["rope_theta"])
    if arch == "gemma2":
        w.add_attn_logit_softcapping(config.attn_logit_softcapping)
        w.add_final_logit_softcapping(config.final_logit_softcapping)
    if arch == "granite":
        w.add_attention_scale(config.attention_multiplier)
        w.add_embedding_scale(config.embedding_multiplier)
        w.add_residual_scale(config.residual_multiplier)
        w.add_logit_scale(config.logits_scaling)


PAIRED = ("llama", "granite", "smollm3")  # those whose rows of q and k the converter permutes
SHIFTED = ("gemma2", "gemma3")            # those whose norms it adds one to


def write_model(path, model, arch, kinds, seed=0, tokenizer=None):
    """kinds: types that matrices take in turn. Returns the model with the weights that the file holds."""
    config = model.config
    generator = np.random.default_rng(seed)
    names = gguf.get_tensor_name_map(dict((v, k) for k, v in gguf.MODEL_ARCH_NAMES.items())[arch], config.num_hidden_layers)
    w = gguf.GGUFWriter(path, arch)
    write_settings(w, config, arch)
    if tokenizer:
        tokenizer(w)
    state, turn = {}, 0
    for name, values in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = values.float().numpy()
        heads = 0
        if arch in PAIRED and (".q_proj." in name or ".k_proj." in name):
            heads = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
            values = permuted(values, heads)
        stem, end = name.rsplit(".", 1)
        here = names.get_name(stem) + "." + end
        if values.ndim == 2:
            kind = kinds[turn % len(kinds)]
            turn += 1
            data = packed(values, kind, generator)
            w.add_tensor(here, data, raw_dtype=kind)
            values = gguf.dequantize(data.view(np.uint8), kind).reshape(values.shape)
        else:
            shift = arch in SHIFTED and name.endswith("norm.weight")
            w.add_tensor(here, values + np.float32(1) if shift else values)
        if heads:
            values = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        state[name] = torch.from_numpy(np.ascontiguousarray(values))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    model.load_state_dict(state, strict=not config.tie_word_embeddings)
    model.tie_weights()
    return model.float().eval()


def byte_level(source, pre, template=None, **flags):
    """Writes the tokenizer of a tokenizer.json, a byte-level BPE, and a chat template."""
    with open(source, encoding="utf-8") as f:
        file = json.load(f)
    tokens = dict(file["model"]["vocab"])
    added = {t["id"]: t for t in file["added_tokens"]}
    tokens.update({t["content"]: i for i, t in added.items()})
    spelled = sorted(tokens, key=tokens.get)

    def write(w):
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre(pre)
        w.add_token_list(spelled)
        w.add_token_types([(3 if added[i]["special"] else 4) if i in added else 1 for i in range(len(spelled))])
        w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in file["model"]["merges"]])
        w.add_bos_token_id(0)
        if template:
            w.add_chat_template(template)
        for flag, value in flags.items():
            getattr(w, "add_" + flag)(value)
    return write


def sentencepiece(source):
    """Writes the tokenizer of a tokenizer.model, as llama.cpp's converter does."""
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor(model_file=source)

    def kind(i):
        return (2 if model.is_unknown(i) else 3 if model.is_control(i) else 5 if model.is_unused(i) else
                6 if model.is_byte(i) else 1)

    def write(w):
        ids = range(model.vocab_size())
        w.add_tokenizer_model("llama")
        w.add_tokenizer_pre("default")
        w.add_token_list([model.id_to_piece(i) for i in ids])
        w.add_token_scores([model.get_score(i) for i in ids])
        w.add_token_types([kind(i) for i in ids])
        w.add_bos_token_id(model.bos_id())
        w.add_eos_token_id(model.eos_id())
    return write


def write_tokenizer(path, tokenizer, arch="llama"):
    w = gguf.GGUFWriter(path, arch)
    tokenizer(w)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_types(path, seed=1):
    """Random blocks of each type beside what `gguf` expands them to."""
    generator = np.random.default_rng(seed)
    w = gguf.GGUFWriter(path, "types")
    for kind in (T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, *K_TYPES):
        block, size = gguf.GGML_QUANT_SIZES[kind]
        columns = max(block, 64)
        data = (random_blocks(kind, 2, columns, generator) if kind in K_TYPES else
                gguf.quantize(generator.normal(0, 1, (2, columns)).astype(np.float32), kind))
        w.add_tensor(kind.name, data, raw_dtype=kind)
        w.add_tensor(kind.name + ".expanded", gguf.dequantize(data, kind))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
