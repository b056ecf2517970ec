#!/usr/bin/env python3
"""FLOPs of a pass by torch.utils.flop_counter over transformers' Mistral, which counts products alone.

usage: flops.py record FILE | check FILE

One sequence, weights frozen, gradients back to the embedded tokens (what training an adapter asks of
the base model). Forward by kind, and forward and backward of a whole layer, which is what a third
layer adds to two. torch counts the whole square of query-key pairs where ours counts those the
causal mask leaves.
"""

import json
import sys

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

CONFIG = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
              num_attention_heads=4, num_key_value_heads=2, head_dim=8,
              max_position_embeddings=512, sliding_window=None)
TOKENS = 37
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def by_kind(counter):
    total = {}
    for module, operations in counter.get_flop_counts().items():
        flops = sum(operations.values())
        name = module.rsplit(".", 1)[-1]
        if ".layers.0." in module and name in LINEAR:
            total[name] = total.get(name, 0) + flops
        if module.endswith(".layers.0.self_attn"):
            total["self_attn"] = total.get("self_attn", 0) + flops
    total["attention"] = total.pop("self_attn") - sum(
        total[name] for name in LINEAR if name in ("q_proj", "k_proj", "v_proj", "o_proj"))
    return total


def run(layers):
    torch.manual_seed(0)
    config = transformers.MistralConfig(**dict(CONFIG, num_hidden_layers=layers),
                                        attn_implementation="eager")
    model = transformers.MistralForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    x = torch.randn(1, TOKENS, CONFIG["hidden_size"], requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        loss = model(inputs_embeds=x).logits.sum()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return by_kind(forward), forward.get_total_flops(), backward.get_total_flops()


def count():
    kinds, forward, backward = run(2)
    _, forward_more, backward_more = run(3)
    return {"tokens": TOKENS, "heads": CONFIG["num_attention_heads"],
            "head_dim": CONFIG["head_dim"], "forward": kinds,
            "layer_forward": forward_more - forward, "layer_backward": backward_more - backward}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("record", "check"):
        sys.exit(__doc__)
    counts = count()
    if sys.argv[1] == "record":
        with open(sys.argv[2], "w", encoding="ascii") as f:
            json.dump(counts, f, indent=1)
            f.write("\n")
        return
    with open(sys.argv[2], encoding="ascii") as f:
        recorded = json.load(f)
    if recorded != counts:
        sys.exit(f"FLOPs differ: recorded {recorded}, torch {torch.__version__} has {counts}")
    print(f"flops: as recorded, by torch {torch.__version__}")


if __name__ == "__main__":
    main()
