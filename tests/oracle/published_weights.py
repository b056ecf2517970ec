"""Prompt weights as the published code's procedure finds them (amzn/BayesPE), by PyTorch's own optimiser.

  published_weights.py record FOLDER     writes published.json there: weights for its score streams and for formulas
  published_weights.py check BPE-FIT     fresh random scores of several sizes: that program's weights against PyTorch's

This is our own rendering of the procedure: ten calls of torch.optim.LBFGS (rate 1e-5, 100 iterations, strong Wolfe line
search) on single-precision logits that start at one, whose gradient is never set to zero: every evaluation adds to it.
Where it ends depends on the last bits on the way: with another library's exponential, or the prompts in another order,
weights differ by up to some 0.01. To be comparable it is run with exponentials that are rounded correctly and with dot
products in one order; `check` says how far the weights of torch.exp and of reversed prompts are from these.
"""
import json
import os
import subprocess
import sys
import tempfile

os.environ["MKL_CBWR"] = "COMPATIBLE"  # dot products in one order, whatever the processor

import numpy as np
import torch

import bpe_fit
import duq_stream

CASES = ("fit-random", "fit-three", "fit-hopeless", "fit-one-text", "fit-one-prompt", "fit-twins", "calibrate-real",
         "calibrate-classes")
FORMULAS = ((25, 12), (10, 20), (40, 37))
SMALL = 1e-4
PASSES, RATE = 10, 1e-5


class Exponential(torch.autograd.Function):
    """torch.exp in single precision, correctly rounded: libraries and devices differ in its last bit."""

    @staticmethod
    def forward(ctx, x):
        e = torch.exp(x.double()).float()
        ctx.save_for_backward(e)
        return e

    @staticmethod
    def backward(ctx, slope):
        return slope * ctx.saved_tensors[0]


def loss(theta, p, entropy_weight, exp):
    w = exp(theta) / (exp(theta).sum() + SMALL)
    likelihood = torch.log(p @ w.double() + SMALL).sum()
    return -likelihood + entropy_weight * torch.dot(w.double(), exp(w).double())


def descend(p, entropy_weight, rate, exp):
    theta = torch.nn.Parameter(torch.ones(p.shape[1]))
    optimiser = torch.optim.LBFGS([theta], lr=rate, max_iter=100, line_search_fn="strong_wolfe")
    losses = []

    def closure():
        value = loss(theta, p, entropy_weight, exp)
        value.backward()
        losses.append(float(value.detach()))
        return value

    for _ in range(PASSES):
        optimiser.step(closure)
    e = np.exp(theta.detach().numpy())
    return e / e.sum(), losses


def published_weights(p, entropy_weight=0.1, exp=Exponential.apply):
    """p: [texts, prompts], smoothed probabilities of the labels."""
    p = torch.from_numpy(p + SMALL)
    rate = RATE
    while True:
        w, losses = descend(p, entropy_weight, rate, exp)
        if not np.isnan(losses[-1]):
            return w, losses, rate
        rate /= 2


def label_probabilities(path):
    header, records = duq_stream.read(path, {"logits": "f4"})
    prompts = header.get("prompts") or 1 + max(r["prompt"] for r in records)
    rows = {}
    for r in records:
        m = bpe_fit.members(np.asarray(r["logits"], np.float64))
        rows.setdefault(r["id"], np.zeros(prompts))[r["prompt"]] = m[r["label"]]
    return np.array(list(rows.values()))


def formula(texts, prompts):
    """Probabilities that a test in C can make by itself."""
    n, i = np.mgrid[:texts, :prompts]
    return (1 + (7 * n + 13 * i + n * i * i) % 31) / 33


def answer(p):
    w, losses, rate = published_weights(p)
    return {"weights": w.astype(float).tolist(), "evaluations": len(losses), "rate": rate}


def record(folder):
    answers = {"streams": {name: answer(label_probabilities(f"{folder}/{name}.mp")) for name in CASES},
               "formulas": [{"texts": n, "prompts": k, **answer(formula(n, k))} for n, k in FORMULAS]}
    with open(f"{folder}/published.json", "w") as f:
        json.dump(answers, f)
        f.write("\n")


def check(program):
    rng = np.random.default_rng(11)
    worst = other = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for prompts, texts, classes in ((2, 30, 2), (5, 60, 3), (9, 100, 2), (9, 100, 10), (13, 40, 4), (40, 50, 2)):
            bpe_fit.scores(folder, "fresh", rng, texts, prompts, classes,
                           lambda n, i, y: rng.normal(0, 2, classes) + (np.arange(classes) == y))
            p = label_probabilities(f"{folder}/fit-fresh.mp")
            want = published_weights(p)[0]
            subprocess.run([program, "-q", "--solver", "published", "-o", "w.mp", "fit-fresh.mp"], check=True, cwd=folder)
            header, records = duq_stream.read(f"{folder}/w.mp")
            got = np.array([r["weight"] for r in records])
            assert abs(header["fit"]["value"] - bpe_fit.objective("published", p, got / got.sum())) < 1e-5
            worst = max(worst, np.abs(got - want).max())
            if prompts == 9:
                for w in published_weights(p, exp=torch.exp)[0], published_weights(p[:, ::-1].copy())[0][::-1]:
                    other = max(other, np.abs(w - want).max())
    print(f"published weights: 6 sizes within {worst:.1e} of torch.optim.LBFGS's; these with torch.exp or reversed prompts "
          f"within {other:.1e}")
    return 0 if worst < 1e-5 else 1


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(sys.argv[2])
    else:
        sys.exit(check(sys.argv[2]))
