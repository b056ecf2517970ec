#!/usr/bin/env python3
"""Which modules PEFT gives an adapter where the targets are all-linear or a regular expression, for lora-train's
--targets to be held against, on the small models of tests/data/engine.

usage: targets.py record MODELS FILE
       targets.py check BIN MODELS FILE    the recorded ones are PEFT's now; PEFT reads an adapter of such targets, and
                                           has the logits that lm-score has with it
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import peft
import torch
import transformers

import duq_stream

MODELS = ["llama-tied", "mistral-window", "qwen2-bias", "qwen3-window", "gemma2", "gemma3", "smollm3", "phi3", "phi4-mini",
          "granite", "olmo2", "ministral"]
PATTERNS = [r".*\.(q|v)_proj", r"model\.layers\.1\.(self_attn|mlp)\.[a-z_]+_proj", r".*\.(qkv|gate_up)_proj|lm_head",
            r"(?:.*\.)?(?:down_proj|lm_head)"]


def modules(folder, targets):
    """Names of the modules that get an adapter; none where PEFT finds nothing."""
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    try:
        model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM"))
    except ValueError as e:
        assert "not found in the base model" in str(e) or "No modules" in str(e), e
        return []
    return sorted({name.split(".lora_")[0].removeprefix("base_model.model.")
                   for name, _ in model.named_parameters() if ".lora_" in name})


def all_modules(models):
    return {name: {targets: modules(os.path.join(models, name), targets.removeprefix("pattern:"))
                   for targets in ["all-linear", *("pattern:" + p for p in PATTERNS)]} for name in MODELS}


def read_back(binaries, folder, targets, streams):
    """How far PEFT's logits with an adapter of ours are from lm-score's, and its targets as PEFT has them."""
    tokens = os.path.join(streams, "tokens.mp")
    with tempfile.TemporaryDirectory() as work:
        ours, out = os.path.join(work, "ours"), os.path.join(work, "scores.mp")
        subprocess.run([binaries + "/lora-train", "--model", folder, "--loss", "labels", "--lr", "1e-2", "--epochs", "3",
                        "--rank", "2", "--targets", targets, "--compute", "f32", "-o", ours, tokens], check=True)
        subprocess.run([binaries + "/lm-score", "--model", folder, "--adapter", ours, "--head", "none", "--compute", "f32",
                        "-o", out, tokens], check=True)
        _, scores = duq_stream.read(out, {"logits": "<f4"})
        _, texts = duq_stream.read(tokens, {"tokens": "<i4"})
        model = peft.AutoPeftModelForCausalLM.from_pretrained(ours, dtype=torch.float32)
    with torch.no_grad():
        want = np.array([model(torch.tensor([t["tokens"].tolist()]), logits_to_keep=1).logits[0, -1, [3, 50, 95]].numpy()
                         for t in texts])
    return np.abs(np.array([s["logits"] for s in scores]) - want).max()


def check(binaries, models, file):
    with open(file) as f:
        recorded = json.load(f)
    good = recorded == all_modules(models)
    print(f"the recorded modules are {'' if good else 'NOT '}PEFT's", flush=True)
    streams = os.path.join(os.path.dirname(file), "streams")
    for name, targets in (("llama-tied", "all-linear"), ("qwen3-window", "pattern:" + PATTERNS[0]),
                          ("phi4-mini", "pattern:" + PATTERNS[2]), ("mistral-window", "pattern:" + PATTERNS[1])):
        off = read_back(binaries, os.path.join(models, name), targets, streams)
        print(f"{name}, {targets}: logits within {off:.2g} of PEFT's", flush=True)
        good &= off < 1e-4
    return good


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    if len(sys.argv) == 5 and sys.argv[1] == "check":
        sys.exit(not check(*sys.argv[2:]))
    elif len(sys.argv) == 4 and sys.argv[1] == "record":
        with open(sys.argv[3], "w") as f:
            json.dump(all_modules(sys.argv[2]), f, indent=1)
            f.write("\n")
    else:
        sys.exit(__doc__)
