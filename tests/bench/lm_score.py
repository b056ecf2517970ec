#!/usr/bin/env python3
"""lm-score's speed on few-shot prompts, against transformers and against the processor's peak.

usage: lm_score.py LM-SCORE PRODUCTS MODEL

Nine instructions of some 450 tokens, texts of 10 to 45: as SST-2's prompts are. One thread each, in
the processor's own time (a busy machine does not show); loading is not counted. transformers takes
the same prompts in bf16, in batches of eight, padded.
"""

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


def prompts(vocab):
    random.seed(1)

    def draw(n):
        return [random.randrange(3, vocab) for _ in range(n)]

    shots = [[1] + draw(430 + 5 * i) for i in range(9)]
    texts = [draw(random.randint(10, 45)) + [5, 6, 7, 8] for _ in range(TEXTS)]
    return [s + t for t in texts for s in shots]


def lm_score(program, model, records, *options):
    """Seconds of processor time for scoring alone, and floating-point operations."""
    with tempfile.NamedTemporaryFile() as tokens:
        times = []
        # Loading is what one record takes.
        for part in (records, records[:1]):
            duq_stream.write(tokens.name, {
                "schema": "tokens", "classes": ["a", "b"], "class_tokens": [100, 200], "made": []},
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


def peer(folder, records):
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    began = time.process_time()
    with torch.no_grad():
        for i in range(0, len(records), 8):
            batch = records[i:i + 8]
            longest = max(map(len, batch))
            ids = torch.tensor([[0] * (longest - len(t)) + t for t in batch])
            mask = torch.tensor([[0] * (longest - len(t)) + [1] * len(t) for t in batch])
            model(ids, attention_mask=mask, logits_to_keep=1)
    return time.process_time() - began


def main():
    program, peak, folder = sys.argv[1:]
    transformers.logging.set_verbosity_error()
    os.environ["DUQ_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    f32, bf16 = map(float, subprocess.run([peak, "--peak"], capture_output=True, text=True,
                                          check=True).stdout.split())
    records = prompts(transformers.AutoConfig.from_pretrained(folder).vocab_size)
    few = records[:18]
    reference = peer(folder, few) / len(few)
    print(f"transformers, bf16: {1 / reference:.2f} prompts/s of a processor")
    for name, options, part, best in (
            ("bf16, shared", ["--compute", "bf16"], records, bf16),
            ("bf16, unshared", ["--compute", "bf16", "--no-share"], few, bf16),
            ("f32, shared", ["--compute", "f32"], records, f32)):
        if best == 0:
            print(f"lm-score, {name}: not on this processor")
            continue
        seconds, gflop = lm_score(program, folder, part, *options)
        print(f"lm-score, {name}: {len(part) / seconds:.2f} prompts/s, "
              f"{reference * len(part) / seconds:.1f} times transformers, "
              f"{gflop / seconds:.0f} GFLOP/s, {100 * gflop / seconds / best:.0f} % of the peak")


if __name__ == "__main__":
    main()
