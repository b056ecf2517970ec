"""Holds class probabilities from lm-score against the same prompts through transformers.

usage: teacher.py MODEL PROMPTS.jsonl SCORES.jsonl TOLERANCE

PROMPTS.jsonl and SCORES.jsonl are `rec to-json` of a prompt stream and of the scores made from it.
Every prompt is tokenized and scored by transformers in float32, one at a time; what all prompts of
one instruction begin with is run once, through transformers' own cache of keys and values.
Prints the largest difference in any class probability; exits 1 above the tolerance.
"""

import copy
import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

model_folder, prompts_file, scores_file, tolerance = sys.argv[1:]
task_classes = None
tokenizer = AutoTokenizer.from_pretrained(model_folder)
model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()

scores = {}
with open(scores_file) as lines:
    for line in lines:
        record = json.loads(line)
        if "duq" in record:
            task_classes = record["classes"]
            continue
        scores[record["id"], record["prompt"]] = record["logits"]

# The class words as the tokenizer encodes them alone; first token after any BOS.
bos = tokenizer("", add_special_tokens=True)["input_ids"]
class_tokens = [tokenizer(c)["input_ids"][len(bos)] for c in task_classes]

prompts = {}
with open(prompts_file) as lines:
    for line in lines:
        record = json.loads(line)
        if "duq" not in record:
            ids = tokenizer(record["text"])["input_ids"]
            prompts.setdefault(record["prompt"], []).append((record["id"], ids))

worst, worst_logit, total, compared, texts = 0.0, 0.0, 0.0, 0, set()
with torch.no_grad():
    for number, records in sorted(prompts.items()):
        shared = os.path.commonprefix([ids for _, ids in records])
        shared = shared[:min(len(ids) for _, ids in records) - 1]
        before = model(torch.tensor([shared]), use_cache=True).past_key_values if shared else None
        for name, ids in records:
            out = model(torch.tensor([ids[len(shared):]]), past_key_values=copy.deepcopy(before),
                        logits_to_keep=1)
            logits = out.logits[0, -1, class_tokens].double()
            ours = torch.tensor(scores[name, number], dtype=torch.float64)
            difference = (logits.softmax(0) - ours.softmax(0)).abs().max().item()
            worst_logit = max(worst_logit, (logits - ours).abs().max().item())
            worst = max(worst, difference)
            total += difference
            compared += 1
            texts.add(name)

print(f"{len(texts)} texts, {compared} prompts: largest difference in a class probability "
      f"{worst:.3g}, mean {total / compared:.3g}; in a class logit {worst_logit:.3g}")
sys.exit(worst > float(tolerance))
