#!/usr/bin/env python3
"""Writes a model folder of a known shape with random bf16 weights, in shards, without PyTorch.

usage: random-model.py SHAPE FOLDER      SHAPE: mistral-7b (14.5 GB), mistral-7b-2layers (1.4 GB)
or smollm2 (0.27 GB)
"""

import json
import os
import random
import struct
import sys

SHAPES = {
    "mistral-7b": dict(architectures=["MistralForCausalLM"], model_type="mistral",
                       vocab_size=32768, hidden_size=4096, intermediate_size=14336,
                       num_hidden_layers=32, num_attention_heads=32,
                       num_key_value_heads=8, head_dim=128, max_position_embeddings=32768,
                       rope_theta=1e6, rms_norm_eps=1e-5, sliding_window=None,
                       tie_word_embeddings=False),
    "smollm2": dict(architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=49152,
                    hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                    num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192,
                    rope_theta=1e5, rms_norm_eps=1e-5, tie_word_embeddings=True),
}
SHAPES["mistral-7b-2layers"] = dict(SHAPES["mistral-7b"], num_hidden_layers=2)
SHARD = 5_000_000_000


def tensors(c):
    width, mlp = c["hidden_size"], c["intermediate_size"]
    head = c.get("head_dim", width // c["num_attention_heads"])
    q, kv = head * c["num_attention_heads"], head * c["num_key_value_heads"]
    yield "model.embed_tokens.weight", (c["vocab_size"], width)
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        for name, shape in (("self_attn.q_proj", (q, width)), ("self_attn.k_proj", (kv, width)),
                            ("self_attn.v_proj", (kv, width)), ("self_attn.o_proj", (width, q)),
                            ("mlp.gate_proj", (mlp, width)), ("mlp.up_proj", (mlp, width)),
                            ("mlp.down_proj", (width, mlp))):
            yield layer + name + ".weight", shape
        yield layer + "input_layernorm.weight", (width,)
        yield layer + "post_attention_layernorm.weight", (width,)
    yield "model.norm.weight", (width,)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (c["vocab_size"], width)


def noise(scale, n):
    """n bf16 numbers with standard deviation about `scale`, as bytes."""
    values = [struct.unpack("<I", struct.pack("<f", random.gauss(0, scale)))[0] >> 16
              for _ in range(n)]
    return struct.pack(f"<{n}H", *values)


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__)
    config, folder = SHAPES[sys.argv[1]], sys.argv[2]
    os.makedirs(folder, exist_ok=True)
    random.seed(1)
    block = noise(0.02, 1_000_003)  # repeated from varying places: a prime length
    shards, size = [[]], 0
    for name, shape in tensors(config):
        n = 2 * (shape[0] * shape[1] if len(shape) == 2 else shape[0])
        if size + n > SHARD:
            shards.append([])
            size = 0
        shards[-1].append((name, shape, n))
        size += n
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        header, at = {}, 0
        for name, shape, n in shard:
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
            weight_map[name] = file
            at += n
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(os.path.join(folder, file), "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            for name, shape, n in shard:
                if len(shape) == 1:
                    f.write(b"\x80\x3f" * shape[0])
                    continue
                start = 2 * random.randrange(500_000)
                f.write(block[start:start + n])
                n -= len(block[start:start + n])
                while n > 0:
                    f.write(block[:n])
                    n -= len(block)
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {}, "weight_map": weight_map}, f)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(dict(config, hidden_act="silu", torch_dtype="bfloat16"), f, indent=1)


if __name__ == "__main__":
    main()
