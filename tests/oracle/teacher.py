"""Holds class probabilities from lm-score against the same prompts through transformers.

usage: teacher.py MODEL PROMPTS.jsonl SCORES.jsonl TOLERANCE

PROMPTS.jsonl and SCORES.jsonl are `rec to-json` of a prompt stream and of the scores made from it.
Every prompt is tokenized and scored by transformers in float32, one at a time, nothing shared.
Prints the largest difference in any class probability; exits 1 above the tolerance.
"""

import json
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

worst, total, compared, texts = 0.0, 0.0, 0, set()
worst_logit = 0.0
with open(prompts_file) as lines, torch.no_grad():
    for line in lines:
        record = json.loads(line)
        if "duq" in record:
            continue
        ids = torch.tensor([tokenizer(record["text"])["input_ids"]])
        logits = model(ids, logits_to_keep=1).logits[0, -1, class_tokens].double()
        ours = torch.tensor(scores[record["id"], record["prompt"]], dtype=torch.float64)
        difference = (logits.softmax(0) - ours.softmax(0)).abs().max().item()
        worst_logit = max(worst_logit, (logits - ours).abs().max().item())
        worst = max(worst, difference)
        total += difference
        compared += 1
        texts.add(record["id"])

print(f"{len(texts)} texts, {compared} prompts: largest difference in a class probability "
      f"{worst:.3g}, mean {total / compared:.3g}; in a class logit {worst_logit:.3g}")
sys.exit(worst > float(tolerance))
