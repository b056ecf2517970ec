"""What `examples/demo.sh 100` should print: the demo's teacher by csv, transformers (float32, one prompt at
a time, nothing shared), scipy, scikit-learn and torchmetrics.

usage: demo.py OUT.json [TEXTS]
"""

import csv
import json
import sys

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error
from transformers import AutoModelForCausalLM, AutoTokenizer

out = sys.argv[1]
texts = int(sys.argv[2]) if len(sys.argv) > 2 else 100
task = json.load(open("examples/amazon/task.json", encoding="utf-8"))
with open("examples/data/amazon.csv", newline="", encoding="utf-8") as file:
    rows = [(f"{title}. {text}", int(label) - 1) for label, title, text in csv.reader(file)]
validation, test = rows[1045:1145], rows[1145:1145 + texts]
tokenizer = AutoTokenizer.from_pretrained("examples/model")
model = AutoModelForCausalLM.from_pretrained("examples/model", dtype=torch.float32).eval()
class_tokens = [tokenizer(name, add_special_tokens=False)["input_ids"][0] for name in task["classes"]]


def prompt(number, text):
    block = task["instructions"][number] + "\n"
    for i, name in enumerate(task["classes"], 1):
        block += f"{i}. {name}\n"
    return f"{block}\n{task['content'].replace('{text}', text)}"


@torch.no_grad()
def members(examples):
    """Class probabilities [text, prompt, class], smoothed as the published code does."""
    logits = [[model(torch.tensor([tokenizer(prompt(i, text))["input_ids"]]), logits_to_keep=1).logits[0, -1, class_tokens].numpy()
               for i in range(len(task["instructions"]))] for text, _ in examples]
    p = softmax(np.array(logits, dtype=np.float64), axis=-1) + 1e-5
    return p / p.sum(axis=-1, keepdims=True)


def fit(p, labels, entropy_weight=10):
    likelihood = p[np.arange(len(labels)), :, labels]

    def loss(theta):
        w = softmax(theta)
        gradient = (likelihood / (likelihood @ w)[:, None]).sum(0) - entropy_weight * (np.log(w) + 1)
        value = np.log(likelihood @ w).sum() - entropy_weight * (w * np.log(w)).sum()
        return -value, -w * (gradient - gradient @ w)

    found = minimize(loss, np.zeros(likelihood.shape[1]), jac=True, method="L-BFGS-B",
                     options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 10000})
    return softmax(found.x)


def metrics(p, labels):
    return {"accuracy": accuracy_score(labels, p.argmax(1)), "macro_f1": f1_score(labels, p.argmax(1), average="macro"),
            "nll": log_loss(labels, p), "roc_auc": roc_auc_score(labels, p[:, 1]),
            "ece": multiclass_calibration_error(torch.tensor(p), torch.tensor(labels), p.shape[1], n_bins=10).item(),
            "brier": float(((p - np.eye(p.shape[1])[labels]) ** 2).sum(1).mean())}


weights = fit(members(validation), np.array([label for _, label in validation]))
labels = np.array([label for _, label in test])
p = members(test)
each = [metrics(p[:, i], labels) for i in range(p.shape[1])]
answer = {"texts": texts, "weights": weights.tolist(), "teacher": metrics(np.einsum("i,nic->nc", weights, p), labels),
          "teacher/prompts": {name: float(np.mean([one[name] for one in each])) for name in each[0]}}


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else round(value, 5)


with open(out, "w", encoding="utf-8") as file:
    json.dump(rounded(answer), file, indent=1)
    file.write("\n")
