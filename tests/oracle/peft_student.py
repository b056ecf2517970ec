"""The softmax student as transformers + PEFT train it: what lora-train is held against on real texts.

usage: peft_student.py MODEL TRAIN.jsonl TEACHER.jsonl TEST.jsonl EPOCHS LR

TRAIN and TEST are `rec to-json --header` of token streams, TEACHER `rec to-json` of the teacher's
predictions for TRAIN. Padded batches of 16 in stream order, float32, rank 16, alpha 32, dropout 0.05
on q, k, v, o and lm_head, AdamW, KL(teacher || student). Prints the test's accuracy, NLL and ECE
(10 equal bins, top label), seconds of training and peak memory.
"""

import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

model_folder, train_file, teacher_file, test_file, epochs, lr = sys.argv[1:]
torch.manual_seed(0)


def read(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


header, *train = read(train_file)
_, *test = read(test_file)
teacher = {r["id"]: r["probs"] for r in read(teacher_file)}
classes = torch.tensor(header["class_tokens"])

model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, task_type="CAUSAL_LM",
                                         target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "lm_head"]))


def logits(records):
    """Class logits [n, classes] of one batch, padded on the left so that all end together."""
    longest = max(len(r["tokens"]) for r in records)
    ids = torch.tensor([[0] * (longest - len(r["tokens"])) + r["tokens"] for r in records])
    mask = torch.tensor([[0] * (longest - len(r["tokens"])) + [1] * len(r["tokens"]) for r in records])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = model(ids, attention_mask=mask, position_ids=positions, logits_to_keep=1)
    return out.logits[:, -1, classes]


def batches(records, size=16):
    return (records[i:i + size] for i in range(0, len(records), size))


optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=float(lr))
began = time.time()
for epoch in range(int(epochs)):
    model.train()
    total = 0.0
    for batch in batches(train):
        target = torch.tensor([teacher[r["id"]] for r in batch])
        loss = F.kl_div(logits(batch).log_softmax(1), target, reduction="batchmean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    print(f"epoch {epoch + 1}: mean loss {total / len(train):.5f}, {time.time() - began:.1f} s", flush=True)
seconds = time.time() - began

model.eval()
with torch.no_grad():
    probs = torch.cat([logits(b).softmax(1) for b in batches(test)]).double()
labels = torch.tensor([r["label"] for r in test])
top, choice = probs.max(1)
right = (choice == labels).double()
ece = 0.0
for low in range(10):
    inside = (top > low / 10) & (top <= (low + 1) / 10)
    if inside.any():
        ece += (top[inside].mean() - right[inside].mean()).abs().item() * inside.double().mean().item()
nll = -probs[torch.arange(len(test)), labels].log().mean().item()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"accuracy {right.mean():.4f} nll {nll:.4f} ece {ece:.4f} training {seconds:.1f} s peak {peak:.0f} MiB")
