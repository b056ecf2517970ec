#!/usr/bin/env python3
"""What transformers makes of model folders that say a thing twice, elsewhere or otherwise: each is one of
engine.py's recorded folders with changes to its config.json or files beside it.

usage: engine_folders.py FOLDER     reads and writes tests/data/engine: folders.json

folders.json: [{name, of, config, files, logits}]. config: keys to set, null removes one; files: to copy from
other folders; logits: of the records that cases.json has for `of`, in float32.
"""

import json
import os
import shutil
import sys
import tempfile

import torch
import transformers

LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
YARN = dict(rope_type="yarn", factor=4.0)
CHANGES = [
    ("rope_scaling beside rope_parameters", "llama-yarn",
     dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0),
          rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=40)), {}),
    ("an empty rope_scaling beside rope_parameters", "llama-yarn", dict(rope_scaling={}), {}),
    ("yarn's original length at the root", "llama-yarn",
     dict(rope_parameters=None, rope_theta=10000.0, rope_scaling=YARN,
          original_max_position_embeddings=24), {}),
    ("yarn's original length at the root and among the parameters", "llama-yarn",
     dict(rope_parameters=None, rope_theta=10000.0,
          rope_scaling=dict(YARN, original_max_position_embeddings=64),
          original_max_position_embeddings=24), {}),
    ("no original length of yarn", "llama-yarn",
     dict(rope_parameters=None, rope_theta=10000.0, rope_scaling=YARN), {}),
    ("llama3's original length at the root", "llama3-rope",
     dict(rope_parameters=None, rope_theta=10000.0, rope_scaling=LLAMA3,
          original_max_position_embeddings=24), {}),
    ("layer_types on Mistral", "mistral-window", dict(layer_types=["full_attention", "sliding_attention"]), {}),
    ("layer_types on Mistral, all of them windows", "mistral-window",
     dict(layer_types=["sliding_attention", "sliding_attention"]), {}),
    ("tied, but an lm_head of its own", "llama-bias", dict(tie_word_embeddings=True), {}),
    ("an index that was left over", "llama-tied", {},
     {"model.safetensors.index.json": "mistral-shards/model.safetensors.index.json"}),
    ("an index and shards that were left over", "llama-tied", {},
     {f: f"mistral-shards/{f}" for f in ("model.safetensors.index.json", "model-00001-of-00002.safetensors",
                                         "model-00002-of-00002.safetensors")}),
    ("Gemma 3 as its folders have it", "gemma3",
     dict(rope_parameters=None, layer_types=None, rope_theta=1000000.0, rope_local_base_freq=5000.0,
          rope_scaling=dict(rope_type="linear", factor=8.0), sliding_window_pattern=2,
          cache_implementation="hybrid", final_logit_softcapping=3.0), {}),
    ("Gemma 3 with its defaults", "gemma3", dict(rope_parameters=None, layer_types=None), {}),
    ("Gemma 2 with its defaults", "gemma2",
     dict(attn_logit_softcapping=None, final_logit_softcapping=None, query_pre_attn_scalar=None,
          layer_types=None, tie_word_embeddings=None), {}),
    ("SmolLM3's layers by an interval, sliding", "smollm3",
     dict(no_rope_layers=None, no_rope_layer_interval=2, layer_types=None, use_sliding_window=True,
          sliding_window=30), {}),
    ("Phi 3 as its folders have it", "phi4-mini",
     dict(rope_parameters=None, rope_theta=10000.0, partial_rotary_factor=0.75, full_attn_mod=1,
          rope_scaling=dict(type="longrope", short_factor=[1.1, 1.2, 1.5], long_factor=[2.0, 3.0, 4.0])), {}),
    ("Granite without its scales", "granite",
     dict(embedding_multiplier=None, residual_multiplier=None, attention_multiplier=None, logits_scaling=None), {}),
]


def changed(folder, of, config, files, to):
    shutil.copytree(os.path.join(folder, of), to)
    path = os.path.join(to, "config.json")
    with open(path) as f:
        whole = json.load(f)
    for key, value in config.items():
        if value is None:
            whole.pop(key, None)
        else:
            whole[key] = value
    with open(path, "w") as f:
        json.dump(whole, f)
    for name, source in files.items():
        shutil.copy(os.path.join(folder, source), os.path.join(to, name))


def main():
    folder = sys.argv[1]
    transformers.logging.set_verbosity_error()
    with open(os.path.join(folder, "cases.json")) as f:
        cases = json.load(f)
    answers = []
    for name, of, config, files in CHANGES:
        case = cases[of]
        with tempfile.TemporaryDirectory() as work:
            changed(folder, of, config, files, os.path.join(work, "model"))
            model = transformers.AutoModelForCausalLM.from_pretrained(os.path.join(work, "model"),
                                                                      dtype=torch.float32).eval()
        with torch.no_grad():
            logits = [model(torch.tensor([t]), logits_to_keep=1).logits[0, -1, case["class_tokens"]].tolist()
                      for t in case["tokens"]]
        answers.append(dict(name=name, of=of, config=config, files=files,
                            logits=[[round(x, 6) for x in row] for row in logits]))
    with open(os.path.join(folder, "folders.json"), "w") as f:
        f.write("[" + ",\n".join(json.dumps(a) for a in answers) + "]\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
