#!/usr/bin/env python3
"""Class logits by transformers for lm-score to be held against.

usage: engine.py record FOLDER [CASE ...]    the small models of `make test`, with recorded logits
       engine.py check LM-SCORE [SMOLLM2]    live: larger random models, and SmolLM2's folder

The models have random weights; each case turns on something an implementation can get wrong. Logits
are computed in float32, one unpadded sequence at a time.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

import duq_stream

SMALL = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, head_dim=8,
             max_position_embeddings=512, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False)
LARGE = dict(SMALL, vocab_size=4096, hidden_size=512, intermediate_size=1152, num_hidden_layers=8,
             num_attention_heads=8, num_key_value_heads=2, head_dim=64,
             max_position_embeddings=4096)


# Prompts with the same four examples.
SHOTS = ["".join(f"EXAMPLE {i}:\nclassify the sentiment of the review\n1. positive\n2. negative\n\nreview: {r}\n"
                 f"the review is {c}\n\n" for i, (r, c) in
                 enumerate([("a fine film, warmly told", "positive"),
                            ("two hours that nobody will give back", "negative"),
                            ("the sort of story one tells friends about", "positive"),
                            ("loud, long and empty", "negative")], 1)) +
         f"EXAMPLE 5:\nreview: {r}\nthe review is "
         for r in ("it sparkles", "a dull copy of better films", "I left early", "what a cast!")]


def cases(base, context):
    """name: (configuration class, settings, stored type, shards)"""
    mistral, llama = transformers.MistralConfig, transformers.LlamaConfig
    qwen2 = transformers.Qwen2Config
    no_head_dim = {k: v for k, v in base.items() if k != "head_dim"}
    head_dim = base["head_dim"]
    rope = dict(rope_theta=10000.0)
    return {
        "mistral-window": (mistral, dict(base, sliding_window=context // 4), "float32", 1),
        "mistral-shards": (mistral, dict(base, sliding_window=None), "bfloat16", 2),
        "llama-tied": (llama, dict(base, tie_word_embeddings=True), "float32", 1),
        "llama-bias": (llama, dict(base, attention_bias=True, mlp_bias=True), "float32", 1),
        "llama3-rope": (llama, dict(base, rope_parameters=dict(
            rope, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=context // 4)), "bfloat16", 1),
        "llama-linear": (llama, dict(base, rope_parameters=dict(
            rope, rope_type="linear", factor=4.0)), "float16", 1),
        "llama-yarn": (llama, dict(base, rope_parameters=dict(
            rope, rope_type="yarn", factor=4.0,
            original_max_position_embeddings=context // 4)), "float32", 1),
        "qwen2-bias": (qwen2, dict(no_head_dim, hidden_size=head_dim * base["num_attention_heads"],
                                   tie_word_embeddings=True), "float32", 1),
        "qwen2-window": (qwen2, dict(no_head_dim,
                                     hidden_size=head_dim * base["num_attention_heads"],
                                     use_sliding_window=True, sliding_window=context // 4,
                                     max_window_layers=1), "bfloat16", 1),
        "llama-odd-heads": (llama, dict(base, head_dim=head_dim + 2, num_key_value_heads=1),
                            "float32", 1),
        **families(base, context),
    }


def families(base, context):
    """What layers compute otherwise: norms, caps, scales, activations, and which positions turn."""
    window, head_dim = context // 4, base["head_dim"]
    no_head_dim = {k: v for k, v in base.items() if k != "head_dim"}
    square = dict(no_head_dim, hidden_size=head_dim * base["num_attention_heads"])
    mixed = ["sliding_attention", "full_attention"] * (base["num_hidden_layers"] // 2)
    pairs = int(head_dim * 0.75) // 2
    longrope = dict(rope_theta=10000.0, partial_rotary_factor=0.75, rope_type="longrope",
                    short_factor=[1.0 + 0.3 * i for i in range(pairs)],
                    long_factor=[2.0 + i for i in range(pairs)],
                    original_max_position_embeddings=context)
    growing = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, beta_fast=32.0, beta_slow=1.0,
                   mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.1,
                   original_max_position_embeddings=context // 4)
    return {
        "qwen3": (transformers.Qwen3Config, dict(base, tie_word_embeddings=True), "float32", 1),
        "qwen3-window": (transformers.Qwen3Config, dict(
            base, attention_bias=True, use_sliding_window=True, sliding_window=window,
            max_window_layers=1), "bfloat16", 1),
        "gemma2": (transformers.Gemma2Config, dict(
            base, tie_word_embeddings=True, sliding_window=window, query_pre_attn_scalar=head_dim * 5 // 8,
            attn_logit_softcapping=4.0, final_logit_softcapping=6.0), "float32", 1),
        "gemma3": (transformers.Gemma3TextConfig, dict(
            base, tie_word_embeddings=True, sliding_window=window, query_pre_attn_scalar=head_dim * 3 // 4,
            layer_types=mixed, rope_parameters=dict(
                full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
                sliding_attention=dict(rope_type="default", rope_theta=1e4))), "bfloat16", 1),
        "smollm3": (transformers.SmolLM3Config, dict(
            square, pad_token_id=0, tie_word_embeddings=True, no_rope_layers=[1, 0] * (base["num_hidden_layers"] // 2),
            rope_parameters=dict(rope_type="default", rope_theta=5e6)), "bfloat16", 1),
        "phi3": (transformers.Phi3Config, dict(square, pad_token_id=0, sliding_window=window),
                 "float32", 1),
        "phi4-mini": (transformers.Phi3Config, dict(
            square, pad_token_id=0, tie_word_embeddings=True, rope_parameters=longrope,
            max_position_embeddings=4 * context, original_max_position_embeddings=context),
            "bfloat16", 1),
        "granite": (transformers.GraniteConfig, dict(
            square, embedding_multiplier=12.0, residual_multiplier=0.22, attention_multiplier=0.4,
            logits_scaling=8.0, tie_word_embeddings=True), "float32", 1),
        "olmo2": (transformers.Olmo2Config, dict(square, attention_bias=True), "bfloat16", 1),
        "ministral": (transformers.MinistralConfig, dict(
            base, sliding_window=window, layer_types=mixed), "bfloat16", 1),
        "ministral3": (transformers.Ministral3Config, dict(base, pad_token_id=0, rope_parameters=growing),
                       "bfloat16", 1),
    }


def sequences(vocab, context, generator):
    """Texts like few-shot prompts: three beginnings, shared by several; alone; doubled; short."""
    def draw(n):
        return torch.randint(3, vocab, (n,), generator=generator).tolist()

    out = []
    for length in (context // 2 + 5, context // 3, 70):
        beginning = [1] + draw(length)
        out += [beginning + draw(n) for n in (1, 7, 19)]
    out += [[1], [1] + draw(context - 1), out[0], out[0][:-1]]
    return out


def make_model(folder, kind, settings, dtype, shards, seed):
    torch.manual_seed(seed)
    # Random weights larger than usual, so that attention is far from uniform.
    config = kind(**settings, initializer_range=0.15 if settings["hidden_size"] < 100 else 0.04)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.normal_(0, 0.3)
            elif "norm" in name:
                p.normal_(1, 0.2)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    if shards > 1:
        split(folder, shards)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def split(folder, shards):
    whole = os.path.join(folder, "model.safetensors")
    tensors = load_file(whole)
    os.remove(whole)
    names, weight_map = sorted(tensors), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i::shards]
        save_file({n: tensors[n] for n in part}, os.path.join(folder, file))
        weight_map.update({n: file for n in part})
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {}, "weight_map": weight_map}, f)


def class_logits(model, texts, classes):
    with torch.no_grad():
        return [model(torch.tensor([t]), logits_to_keep=1).logits[0, -1, classes].double().numpy()
                for t in texts]


def write_tokens(path, texts, classes):
    header = {"schema": "tokens", "classes": [f"c{i}" for i in range(len(classes))],
              "class_tokens": classes, "made": []}
    duq_stream.write(path, header, [
        {"id": f"t{i}", "prompt": 0, "tokens": np.array(t, dtype="<i4"), "label": None}
        for i, t in enumerate(texts)])


def record(folder, only):
    context = 160
    answers = {}
    if only:
        with open(os.path.join(folder, "cases.json")) as f:
            answers = json.load(f)
    for seed, (name, (kind, settings, dtype, shards)) in enumerate(cases(SMALL, context).items()):
        if only and name not in only:
            continue
        path = os.path.join(folder, name)
        os.makedirs(path, exist_ok=True)
        model = make_model(path, kind, settings, dtype, shards, seed)
        generation = os.path.join(path, "generation_config.json")
        if os.path.exists(generation):
            os.remove(generation)
        texts = sequences(SMALL["vocab_size"], context, torch.Generator().manual_seed(seed))
        classes = [3, 50, 95]
        logits = class_logits(model, texts, classes)
        answers[name] = {"class_tokens": classes, "tokens": texts,
                         "logits": [[round(float(x), 6) for x in row] for row in logits]}
    with open(os.path.join(folder, "cases.json"), "w") as f:
        f.write("{" + ",\n".join(f'"{n}": {{"class_tokens": {a["class_tokens"]},\n"tokens": [' +
                                 ",\n".join(map(str, a["tokens"])) + '],\n"logits": [' +
                                 ",\n".join(map(str, a["logits"])) + "]}"
                                 for n, a in answers.items()) + "}\n")


def run(lm_score, folder, tokens, *options):
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([lm_score, "--model", folder, *options, tokens], stdout=out, check=True)
        header, records = duq_stream.read(out.name, {"logits": "<f4"})
    return np.array([r["logits"] for r in records], dtype=np.float64)


def compare(lm_score, name, folder, model, texts, classes):
    """Prints and returns whether all ways of computing agree with transformers and each other."""
    expected = np.array(class_logits(model, texts, classes))
    with tempfile.NamedTemporaryFile() as tokens:
        write_tokens(tokens.name, texts, classes)
        ours = run(lm_score, folder, tokens.name, "--compute", "f32")
        others = [run(lm_score, folder, tokens.name, "--compute", "f32", *o)
                  for o in (["--no-share"], ["--batch-tokens", "100"])]
        bf16 = run(lm_score, folder, tokens.name, "--compute", "bf16")
    off = np.abs(ours - expected).max()
    apart = max(np.abs(ours - o).max() for o in others)
    rough = np.abs(bf16 - expected).max()
    print(f"{name}: f32 within {off:.2g} of transformers (logits up to "
          f"{np.abs(expected).max():.3g}), shared, unshared and small batches within {apart:.2g}; "
          f"bf16 within {rough:.2g}", flush=True)
    return off < 1e-3 and apart < 1e-4


def check(lm_score, smollm2):
    good = True
    context = 1200
    with tempfile.TemporaryDirectory() as work:
        for seed, (name, case) in enumerate(cases(LARGE, context).items()):
            path = os.path.join(work, name)
            model = make_model(path, *case, seed)
            texts = sequences(LARGE["vocab_size"], context, torch.Generator().manual_seed(seed))
            good &= compare(lm_score, name, path, model, texts, [3, 50, 4000])
    if smollm2:
        tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2)
        model = transformers.AutoModelForCausalLM.from_pretrained(smollm2,
                                                                  dtype=torch.float32).eval()
        texts = [tokenizer(s)["input_ids"] for s in
                 SHOTS + ["The capital of France is", "1, 2, 3,"]]
        classes = [tokenizer(c)["input_ids"][0] for c in ("positive", "negative", " Paris")]
        good &= compare(lm_score, "SmolLM2-135M-Instruct", smollm2, model, texts, classes)
    return good


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    if len(sys.argv) >= 3 and sys.argv[1] == "record":
        record(sys.argv[2], sys.argv[3:])
    elif len(sys.argv) in (3, 4) and sys.argv[1] == "check":
        sys.exit(not check(sys.argv[2], sys.argv[3] if len(sys.argv) == 4 else None))
    else:
        sys.exit(__doc__)
