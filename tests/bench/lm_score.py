#!/usr/bin/env python3
"""lm-score's speed on few-shot prompts, against transformers and against the processor's peak.

usage: lm_score.py LM-SCORE PRODUCTS MODEL

Nine instructions of some 450 tokens, texts of 10 to 45: as SST-2's prompts are. One thread each, in
the processor's own time (a busy machine does not show); loading is not counted. transformers takes
the same prompts in bf16: one at a time, as the published code does, and at its best, with the keys
and values of each instruction computed once and the rest in batches of 32, padded. llama.cpp, where
llama-cpp-python and gguf are installed, takes them in bf16 as well: one at a time, and with the prefix
shared by 32 sequences; its logits are held against transformers'.
"""

import copy
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import transformers

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "oracle"))
import duq_stream  # noqa: E402

TEXTS = 30
CLASSES = [100, 200]


def prompts(vocab):
    """For each instruction its own tokens, and those of each text after them."""
    random.seed(1)

    def draw(n):
        return [random.randrange(3, vocab) for _ in range(n)]

    shots = [[1] + draw(430 + 5 * i) for i in range(9)]
    texts = [draw(random.randint(10, 45)) + [5, 6, 7, 8] for _ in range(TEXTS)]
    return [(s, texts) for s in shots]


def lm_score(program, model, records, *options):
    """Seconds of processor time for scoring alone, and floating-point operations."""
    with tempfile.NamedTemporaryFile() as tokens:
        times = []
        # Loading is what one record takes.
        for part in (records, records[:1]):
            duq_stream.write(tokens.name, {
                "schema": "tokens", "classes": ["a", "b"], "class_tokens": CLASSES, "made": []},
                [{"id": f"t{i}", "prompt": 0, "tokens": np.array(t, dtype="<i4"), "label": None}
                 for i, t in enumerate(part)])
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            out = subprocess.run([program, "-v", "--model", model, "--threads", "1", "-o",
                                  "/dev/null", *options, tokens.name], capture_output=True,
                                 text=True, check=True).stderr
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            wall, rate = re.search(r"([\d.]+) s: .* ([\d.]+) GFLOP/s", out).groups()
            times.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                          float(wall) * float(rate)))
    (seconds, gflop), (load, little) = times
    return seconds - load, gflop - little


def one_by_one(model, records):
    began = time.process_time()
    with torch.no_grad():
        for tokens in records:
            model(torch.tensor([tokens]), logits_to_keep=1)
    return (time.process_time() - began) / len(records)


def prefix_cached(model, prefix, rests):
    """Seconds for each of the prompts that begin with prefix."""
    began = time.process_time()
    with torch.no_grad():
        cache = model.model(torch.tensor([prefix]), use_cache=True).past_key_values
        for i in range(0, len(rests), 32):
            batch = rests[i:i + 32]
            longest = max(map(len, batch))
            ids = torch.tensor([t + [0] * (longest - len(t)) for t in batch])
            mask = torch.tensor([[1] * (len(prefix) + len(t)) + [0] * (longest - len(t))
                                 for t in batch])
            copies = copy.deepcopy(cache)
            copies.batch_repeat_interleave(len(batch))
            hidden = model.model(ids, attention_mask=mask, past_key_values=copies,
                                 use_cache=True).last_hidden_state
            last = torch.tensor([len(t) - 1 for t in batch])
            model.lm_head(hidden[torch.arange(len(batch)), last])
    return (time.process_time() - began) / len(rests)


def llama_cpp(folder, groups, model):
    """Seconds for each prompt one at a time, and with its prefix shared; None where it is not installed."""
    try:
        import llama_peer
    except ImportError as missing:
        print(f"llama.cpp: not compared, for there is no {missing.name}")
        return None
    prefix, rests = groups[0]
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        llama_peer.write_gguf(folder, file.name)
        peer = llama_peer.Llama(file.name, CLASSES)
        began = time.process_time()
        alone = peer.one_by_one([prefix + r for r in rests[:4]])
        middle = time.process_time()
        shared = peer.prefix_shared(prefix, rests)
        ended = time.process_time()
    with torch.no_grad():
        wanted = model(torch.tensor([prefix + rests[0]]), logits_to_keep=1).logits[0, -1, CLASSES].tolist()
    off = max(abs(a - b) for some in (alone, shared) for a, b in zip(some[0], wanted))
    if off > 0.1:
        sys.exit(f"llama.cpp's logits are {off:.2g} from transformers': it was given another model")
    return (middle - began) / 4, (ended - middle) / len(rests)


def main():
    program, peak, folder = sys.argv[1:]
    transformers.logging.set_verbosity_error()
    os.environ["DUQ_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    f32, bf16 = map(float, subprocess.run([peak, "--peak"], capture_output=True, text=True,
                                          check=True).stdout.split())
    groups = prompts(transformers.AutoConfig.from_pretrained(folder).vocab_size)
    records = [prefix + rest for prefix, rests in groups for rest in rests]
    few = [prefix + rests[0] for prefix, rests in groups]
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    loop, cached = one_by_one(model, few[:4]), prefix_cached(model, *groups[0])
    print(f"transformers, bf16: one at a time {1 / loop:.2f} prompts/s of a processor, prefix cached "
          f"{1 / cached:.2f}")
    llama = llama_cpp(folder, groups, model)
    if llama:
        print(f"llama.cpp, bf16: one at a time {1 / llama[0]:.2f} prompts/s, prefix shared {1 / llama[1]:.2f}")
    for name, options, part, best in (
            ("bf16, shared", ["--compute", "bf16"], records, bf16),
            ("bf16, unshared", ["--compute", "bf16", "--no-share"], few, bf16),
            ("f32, shared", ["--compute", "f32"], records, f32)):
        if best == 0:
            print(f"lm-score, {name}: not on this processor")
            continue
        seconds, gflop = lm_score(program, folder, part, *options)
        print(f"lm-score, {name}: {len(part) / seconds:.2f} prompts/s, "
              f"{loop * len(part) / seconds:.1f} times transformers one at a time, "
              f"{cached * len(part) / seconds:.1f} times its best, " +
              (f"{llama[1] * len(part) / seconds:.1f} times llama.cpp's shared prefix, " if llama else "") +
              f"{gflop / seconds:.0f} GFLOP/s, {100 * gflop / seconds / best:.0f} % of the peak")


if __name__ == "__main__":
    main()
