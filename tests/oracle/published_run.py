"""A data set's whole run with PROFILE=published beside our own rendering of the published programs' procedure, from the
tables on: rows, prompts, tokens, teacher, weights, students, and detection of another set by its own prompts.

usage: published_run.py MODEL BIN RUN OTHER TABLE OTHER-TABLE

RUN is the folder of a run of Amazon's texts in f32, without dropout, of ten steps in batches of 16; OTHER is the set of
OOD, of Yahoo's. What is compared, and within which bounds, is in BOUNDS.
The adapters' first values are those that lora-train draws. Weights are compared where both begin with the same scores,
and taken from the run after that: where the procedure ends hangs on the last bits (published_weights.py).
"""
import copy
import csv
import json
import os
import sys

import published_weights  # before torch: it says how sums go
import numpy as np
import torch
from scipy.stats import entropy, wasserstein_distance
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForCausalLM, AutoTokenizer

import bpe_fit
import duq_stream
import published_students

SHOTS, STEPS_BATCH, RATE = 5, 16, 1e-3
BOUNDS = {"probability of the teacher": 1e-5, "weight": 1e-3, "relative loss of ten steps": 1e-4,
          "probability of a student": 1e-5, "relative alpha": 1e-5, "AUROC": 1e-3, "W1": 1e-3}
worst = dict.fromkeys(BOUNDS, 0.0)


def note(what, difference):
    worst[what] = max(worst[what], float(np.max(difference)))


# ---- texts and prompts ----

def cell(text):
    """As pandas joins it."""
    return text if text else "nan"


class Set:
    """A data set's task and rows, as the notebooks cut them: to train on, for shots, for validation, to test on."""

    def __init__(self, folder, table, text, tokenizer):
        with open(f"{folder}/task.json", encoding="utf-8") as f:
            task = json.load(f)
        self.classes, self.instructions, self.open = task["classes"], task["instructions"], task["content"]
        self.tokenizer = tokenizer
        with open(table, encoding="utf-8", newline="") as f:
            rows = list(csv.reader(f))
        first = min(int(r[0]) for r in rows)
        examples = [(text(r), int(r[0]) - first) for r in rows]
        self.parts = {}
        for part in "train", "shots", "validation", "test":
            with open(f"{folder}/texts/{part}.plan", encoding="utf-8") as f:
                _, start, number = f.read().split()
            self.parts[part] = examples[int(start):int(start) + int(number)]
        bos = len(tokenizer.encode(""))
        self.class_tokens = [tokenizer.encode(c)[bos] for c in self.classes]

    def content(self, text):
        return self.open.replace("{text}", text)

    def few_shot(self, i, text):
        listed = "{}\n{}\n".format(self.instructions[i], "\n".join(f"{k}. {c}" for k, c in enumerate(self.classes, 1)))
        prompt = ""
        for k, (shot, label) in enumerate(self.parts["shots"][SHOTS * i:SHOTS * (i + 1)], 1):
            prompt += f"EXAMPLE {k}:\n{listed}\n{self.content(shot)}{self.classes[label]}\n\n"
        return prompt + f"EXAMPLE {SHOTS + 1}:\n{listed}\n{self.content(text)}"

    def student(self, i, part):
        return [self.tokenizer.encode(f"{self.instructions[i]}\n{self.content(text)}") for text, _ in self.parts[part]]

    # ---- the teacher ----

    def members(self, model, part):
        """[texts, members, classes], smoothed. What all prompts of an instruction begin with passes the model once."""
        p = np.zeros((len(self.parts[part]), len(self.instructions), len(self.classes)))
        for i in range(len(self.instructions)):
            prompts = [self.tokenizer.encode(self.few_shot(i, text)) for text, _ in self.parts[part]]
            shared = os.path.commonprefix(prompts)[:min(map(len, prompts)) - 1]
            before = model(torch.tensor([shared]), use_cache=True).past_key_values
            for n, tokens in enumerate(prompts):
                out = model(torch.tensor([tokens[len(shared):]]), past_key_values=copy.deepcopy(before), logits_to_keep=1)
                p[n, i] = torch.softmax(out.logits[0, -1, self.class_tokens].float(), 0).numpy()
        p += 1e-5
        return p / p.sum(2, keepdims=True)


def ensemble(path):
    header, records = duq_stream.read(path, {"probs": "<f8", "members": "<f8"})
    shape = len(header["weights"]), -1
    return (np.array([r["probs"] for r in records]), np.array([r["members"].reshape(shape) for r in records]),
            np.array(header["weights"]))


def student(path):
    _, records = duq_stream.read(path, {"probs": "<f8", "alpha": "<f8"})
    return np.array([r["probs"] for r in records]), np.array([r.get("alpha") for r in records])


def weights(scores, path):
    """The run's, once they are found to be those of torch.optim.LBFGS on the same scores."""
    _, records = duq_stream.read(path)
    w = np.array([r["weight"] for r in records])
    note("weight", np.abs(w - published_weights.published_weights(published_weights.label_probabilities(scores))[0]))
    return w


# ---- a student, of this set's texts and of the other's ----

def trained(lora_train, mode, name, model_folder, run, here):
    """The published procedure's student, and its losses beside lora-train's."""
    data = {"tokens": f"{run}/students/train.tokens.mp", "teacher": f"{run}/teacher/train.mp"}
    tokens = [r["tokens"].tolist() for r in duq_stream.read(data["tokens"], {"tokens": "<i4"})[1]]
    best = int(np.argmax(ensemble(f"{run}/teacher/train.mp")[2]))
    assert tokens == here.student(best, "train"), "the students' prompts"
    _, members, w = ensemble(data["teacher"])
    model = published_students.untrained(lora_train, mode, model_folder, data, STEPS_BATCH)
    result = published_students.train(mode, model, tokens, here.class_tokens,
                                      torch.tensor(members.transpose(0, 2, 1), dtype=torch.float32),
                                      torch.tensor(w, dtype=torch.float32), STEPS_BATCH, RATE)
    losses = np.loadtxt(f"{run}/students/{name}.tsv", skiprows=1, usecols=1)
    note("relative loss of ten steps", np.abs(losses / result["losses"] - 1))
    return model


def said(mode, model, prompts, class_tokens, path):
    """Class probabilities of these prompts, beside those of the run."""
    with torch.no_grad():
        logits = [model(torch.tensor([t]), logits_to_keep=1).logits[0, -1, class_tokens].float() for t in prompts]
        out = published_students.outputs(mode, torch.stack(logits)).double().numpy()
    p = out / out.sum(1, keepdims=True)
    probs, alpha = student(path)
    note("probability of a student", np.abs(probs - p))
    if mode != "softmax":
        note("relative alpha", np.abs(alpha / out - 1))
    return p


def detection(report, name, own, foreign):
    """By total entropy, beside the report's."""
    metrics = [d["metrics"] for d in report["metrics"]["detection"] if d["set"] == name and d["against"].endswith(":own")]
    u, v = entropy(own, axis=1), entropy(foreign, axis=1)
    truth = np.r_[np.zeros(len(u)), np.ones(len(v))]
    note("AUROC", abs(metrics[0]["auroc_total"]["value"] - roc_auc_score(truth, np.r_[u, v])))
    note("W1", abs(metrics[0]["wasserstein_total"]["value"] - wasserstein_distance(u, v)))


def main(model_folder, binaries, run, other, table, other_table):
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    here = Set(run, table, lambda r: cell(r[2]), tokenizer)
    there = Set(f"{run}/others/{other}", other_table,
                lambda r: f"Question: {cell(r[1])} {cell(r[2])}\nAnswer: {cell(r[3])}", tokenizer)
    with open(f"{run}/report/report.json", encoding="utf-8") as f:
        report = json.load(f)

    own = f"{run}/detection/own"
    w = weights(f"{run}/scores/validation.mp", f"{run}/weights.mp")
    there_best = int(np.argmax(weights(f"{own}/validation.{other}.mp", f"{own}/weights.{other}.mp")))
    mixtures = []
    with torch.no_grad():
        for texts, part, path in ((here, "train", f"{run}/teacher/train.mp"), (here, "test", f"{run}/teacher/test.mp"),
                                  (there, "test", f"{own}/teacher.{other}.mp")):
            members = texts.members(model, part)
            probs, theirs, used = ensemble(path)
            assert np.abs(used - w).max() < 1e-12, "the teacher's weights"
            mixtures.append(np.einsum("m,nmc->nc", w, members))
            note("probability of the teacher", np.abs(theirs - members))
            note("probability of the teacher", np.abs(probs - mixtures[-1]))
    detection(report, "teacher", *mixtures[1:])

    here_best = int(np.argmax(w))
    for name, mode in ("softmax", "softmax"), ("dirichlet", "standard"):
        one = trained(f"{binaries}/lora-train", mode, name, model_folder, run, here)
        detection(report, name,
                  said(mode, one, here.student(here_best, "test"), here.class_tokens, f"{run}/predictions/{name}.test.mp"),
                  said(mode, one, there.student(there_best, "test"), there.class_tokens, f"{own}/{name}.{other}.mp"))
    print(f"{os.path.basename(model_folder)}, PROFILE=published, texts of {len(here.classes)} and of {len(there.classes)} "
          "classes; largest differences: " + ", ".join(f"{what} {value:.1e}" for what, value in worst.items()))
    return 0 if all(worst[what] < bound for what, bound in BOUNDS.items()) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
