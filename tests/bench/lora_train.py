#!/usr/bin/env python3
"""lora-train's speed and memory on zero-shot prompts, against transformers + PEFT.

usage: lora_train.py LORA-TRAIN MODEL TEXTS

TEXTS texts as SST-2's zero-shot prompts are: 60 tokens of instruction, 10 to 45 of their own; rank 16 on q, k, v,
o and lm_head, dropout .05, batches of 16, cross-entropy with random labels. One thread each, in the
processor's own time (a busy machine does not show); neither loading nor the first epoch is counted, in which files are
read and kernels chosen. Both keep a pass's activations, and both compute them again (lora-train --activations, PEFT's
gradient checkpointing). PEFT at its best: padded batches, logits at last positions alone. Peak memory is of the whole
process.
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "oracle"))
import duq_stream  # noqa: E402

BATCH, CLASSES, EPOCHS = 16, [100, 200], 3


def prompts(vocab, texts):
    random.seed(1)
    shared = [1] + [random.randrange(3, vocab) for _ in range(60)]
    return [shared + [random.randrange(3, vocab) for _ in range(random.randint(10, 45))]
            for _ in range(texts)]


def lora_train(program, model, records, compute, activations):
    """Seconds of processor time for an epoch after the first, and peak memory in GB."""
    with tempfile.TemporaryDirectory() as folder:
        times = []
        tokens = os.path.join(folder, "tokens.mp")
        duq_stream.write(tokens, {
            "schema": "tokens", "classes": ["a", "b"], "class_tokens": CLASSES, "made": []},
            [{"id": f"t{i}", "prompt": 0, "tokens": np.array(t, dtype="<i4"), "label": i % 2}
             for i, t in enumerate(records)])
        # The first run has the files read: whoever reads them first pays for the disk.
        for epochs in (1, 1, 1 + EPOCHS):
            command = [program, "-q", "--model", model, "--threads", "1", "--loss", "labels", "--compute", compute,
                       "--activations", activations,
                       "--epochs", str(epochs), "--batch", str(BATCH), "--lr", "1e-4",
                       "-o", os.path.join(folder, f"{epochs}.lora"), tokens]
            child = subprocess.Popen(command)
            _, status, used = os.wait4(child.pid, 0)
            if status:
                sys.exit("lora-train failed")
            times.append(used.ru_utime + used.ru_stime)
        return (times[2] - times[1]) / EPOCHS, used.ru_maxrss / 1e6


def peft(folder, records, dtype, checkpointing):
    """The same of transformers + PEFT; in a process of its own, for its peak memory."""
    import torch
    import torch.nn.functional as F
    import transformers
    from peft import LoraConfig, get_peft_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    model = get_peft_model(model, LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.05, task_type="CAUSAL_LM",
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "lm_head"]))
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    for _ in range(2):
        began = time.process_time()
        for first in range(0, len(records), BATCH):
            batch = records[first:first + BATCH]
            longest = max(map(len, batch))
            ids = torch.tensor([[0] * (longest - len(t)) + t for t in batch])
            mask = torch.tensor([[0] * (longest - len(t)) + [1] * len(t) for t in batch])
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            out = model(ids, attention_mask=mask, position_ids=positions, logits_to_keep=1)
            loss = F.cross_entropy(out.logits[:, -1, CLASSES].float(),
                                   torch.tensor([(first + i) % 2 for i in range(len(batch))]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main():
    if len(sys.argv) == 5:  # the process of its own
        folder, dtype, activations, records = sys.argv[1:]
        with open(records) as file:
            print(json.dumps(peft(folder, json.load(file), dtype, activations == "recompute")))
        return
    program, folder, texts = sys.argv[1:]
    os.environ["DUQ_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    with open(os.path.join(folder, "config.json")) as file:
        records = prompts(json.load(file)["vocab_size"], int(texts))
    with tempfile.NamedTemporaryFile("w") as file:
        json.dump(records, file)
        file.flush()
        for dtype, compute in (("float32", "f32"), ("bfloat16", "bf16")):
            for activations in ("keep", "recompute"):
                ours, held = lora_train(program, folder, records, compute, activations)
                out = subprocess.run([sys.executable, __file__, folder, dtype, activations, file.name], check=True,
                                     stdout=subprocess.PIPE, text=True).stdout
                theirs, peak = json.loads(out.splitlines()[-1])
                step = BATCH / len(records)
                print(f"{compute}, {activations}: lora-train {ours * step:.2f} s a step, {held:.2f} GB; "
                      f"transformers + PEFT {theirs * step:.2f} s, {peak:.2f} GB: {theirs / ours:.1f} times as fast with "
                      f"{100 * held / peak:.0f} % of the memory", flush=True)


if __name__ == "__main__":
    main()
