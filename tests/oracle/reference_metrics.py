"""The figures of the published code's evaluation (amzn/BayesPE), in our own rendering of its definitions.

  reference_metrics.py record FOLDER     writes reference-metrics.json there, for its prediction streams metrics-*.mp
  reference_metrics.py check DIR-EVAL    fresh random sets, compared live with that program's --definitions reference
"""
import json
import subprocess
import sys
import tempfile

import numpy as np
import torch
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

import duq_stream

CASES = ("binary", "four", "edges", "edges-three", "with-ones", "certain", "one-row", "absent-class", "dirichlet-three")
SMALL, BINS = 1e-5, 10


def mce(p, y):
    true = np.eye(p.shape[1])[y].ravel()
    place = np.round(p.ravel() * BINS).astype(int)
    counts = np.bincount(place, minlength=BINS + 1) + SMALL
    gaps = np.bincount(place, true, BINS + 1) / counts - np.bincount(place, p.ravel(), BINS + 1) / counts
    return float(np.abs(gaps).max())


def brier(p, y):
    return float(np.square(np.where(np.eye(p.shape[1])[y] > 0, 1, SMALL) - p).mean())


def ece(p, y):
    """The top label's, in the bins of torchmetrics 1: closed on the left, one more for confidence 1."""
    confidence = torch.from_numpy(p.max(1))
    place = torch.bucketize(confidence, torch.linspace(0, 1, BINS + 1, dtype=torch.float64), right=True).numpy() - 1
    gaps = np.bincount(place, p.argmax(1) == y, BINS + 1) - np.bincount(place, confidence.numpy(), BINS + 1)
    return float(np.abs(gaps).sum() / len(y))


def figures(p, y):
    out = {"reference_mce": mce(p, y), "reference_brier": brier(p, y), "ece": ece(p, y),
           "accuracy": accuracy_score(y, p.argmax(1)),
           "macro_f1": f1_score(y, p.argmax(1), average="macro", zero_division=0)}
    label = p[np.arange(len(y)), y]
    if (label > 0).all():
        out["nll"] = float(-np.log(label).mean())
    if len(set(y)) == p.shape[1]:
        out["roc_auc"] = roc_auc_score(y, p[:, 1]) if p.shape[1] == 2 else roc_auc_score(y, p, multi_class="ovr")
    return out


def read(path):
    _, records = duq_stream.read(path, {"probs": "f8"})
    return np.array([r["probs"] for r in records]), np.array([r["label"] for r in records])


def record(folder):
    answers = {name: figures(*read(f"{folder}/metrics-{name}.mp")) for name in CASES}
    with open(f"{folder}/reference-metrics.json", "w") as f:
        json.dump(answers, f, indent=1)
        f.write("\n")


def check(program):
    worst, compared = 0.0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        classes = 2 + seed % 4
        p = softmax(rng.normal(0, 1 + seed % 3, (50 + seed, classes)), axis=1)
        if seed % 2:
            p = np.round(20 * p) + (np.arange(classes) == 0)
            p /= p.sum(1, keepdims=True)
        y = rng.integers(0, classes, len(p))
        with tempfile.TemporaryDirectory() as folder:
            duq_stream.write(f"{folder}/s.mp", {"schema": "prediction", "head": "softmax",
                                                "classes": [f"class {c}" for c in range(classes)]},
                             [{"id": f"t{i}", "label": int(y[i]), "probs": p[i], "total": 0.0, "aleatoric": None,
                               "epistemic": None} for i in range(len(p))])
            got = json.loads(subprocess.run([program, "--json", "--definitions", "reference", f"{folder}/s.mp"], check=True,
                                            capture_output=True).stdout)["sets"][0]["metrics"]
        for name, value in figures(p, y).items():
            worst = max(worst, abs(got[name]["value"] - value))
            compared += 1
    print(f"reference definitions: {compared} figures within {worst:.1e}")
    return 0 if worst < 1e-9 else 1


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(sys.argv[2])
    else:
        sys.exit(check(sys.argv[2]))
