"""Optimal prompt weights and an ensemble's predictions, computed by numpy and scipy alone.

  bpe_fit.py record FOLDER       writes score streams fit-*.mp and fit.json there: what make test compares with
  bpe_fit.py check BPE-FIT       fresh random scores, that program's weights and predictions against scipy's

The weights come from SLSQP on the simplex, started from several points, and are accepted only when the first-order
conditions of the optimum hold: for the paper's objective w is refined by root finding on w = softmax(grad / lambda).
"""
import json
import subprocess
import sys
import tempfile

import numpy as np
from scipy.optimize import minimize, root
from scipy.special import log_softmax, softmax

import duq_stream

LAMBDA = 0.1


def scores(folder, name, rng, texts, prompts, classes, make):
    labels = rng.integers(0, classes, texts)
    logits = np.stack([[make(n, i, labels[n]) for i in range(prompts)] for n in range(texts)]).astype(np.float32)
    header = {"schema": "scores", "task": "oracle", "classes": [f"class {c}" for c in range(classes)],
              "prompts": prompts, "model": "0123456789abcdef"}
    records = [{"id": f"t{n}", "prompt": i, "logits": logits[n, i], "label": int(labels[n])}
               for n in range(texts) for i in range(prompts)]
    duq_stream.write(f"{folder}/fit-{name}.mp", header, records)
    return logits.astype(np.float64), labels


def members(logits):
    with np.errstate(invalid="ignore"):
        p = softmax(logits, axis=-1)
    p[np.isnan(p).any(axis=-1)] = 1 / p.shape[-1]
    p += 1e-5
    return p / p.sum(axis=-1, keepdims=True)


def objective(kind, p, w):
    if kind == "paper":
        return np.log(p @ w).sum() - LAMBDA * (w * np.log(np.where(w > 0, w, 1))).sum()
    return np.log((p + 1e-4) @ w + 1e-4).sum() - LAMBDA * (w * np.exp(w)).sum()


def gradient(kind, p, w):
    if kind == "paper":
        return (p / (p @ w)[:, None]).sum(0) - LAMBDA * (np.log(np.maximum(w, 1e-300)) + 1)
    q = p + 1e-4
    return (q / (q @ w + 1e-4)[:, None]).sum(0) - LAMBDA * (1 + w) * np.exp(w)


def optimum(kind, p):
    k = p.shape[1]
    best = None
    for start in [np.full(k, 1 / k)] + [0.9 * np.eye(k)[i] + 0.1 / k for i in range(k)]:
        r = minimize(lambda w: -objective(kind, p, np.maximum(w, 0)), start, jac=lambda w: -gradient(kind, p, w),
                     bounds=[(1e-14, 1)] * k, constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
                     method="SLSQP", options={"ftol": 1e-16, "maxiter": 1000})
        w = np.maximum(r.x, 0) / np.maximum(r.x, 0).sum()
        if best is None or objective(kind, p, w) > objective(kind, p, best):
            best = w
    if kind == "paper":
        def residual(theta):
            w = softmax(theta)
            return log_softmax(theta) - log_softmax((p / (p @ w)[:, None]).sum(0) / LAMBDA)
        r = root(residual, np.log(np.maximum(best, 1e-30)), tol=1e-13)
        assert np.abs(residual(r.x)).max() < 1e-9, (kind, r.message)
        best = softmax(r.x)
    g = gradient(kind, p, best)
    assert g.max() - g @ best < 1e-6, (kind, g.max() - g @ best)
    return best


def cases(rng):
    """name -> texts, prompts, classes, logits of text n under prompt i with label y"""
    copy = {}

    def with_twin(n, i, y):
        if i != 2:
            copy[n, i] = rng.normal(0, 2, 2) + (np.arange(2) == y)
        if (n, i) == (3, 1):
            return np.array([np.nan, 1])
        if (n, i) == (4, 1):
            return np.array([np.inf, 1])
        return copy[n, 0 if i == 2 else i]

    return {
        "random": (30, 9, 2, lambda n, i, y: rng.normal(0, 2, 2) + 1.5 * (np.arange(2) == y)),
        "three": (40, 4, 3, lambda n, i, y: rng.normal(0, 1 + i, 3) + (2 - 0.5 * i) * (np.arange(3) == y)),
        # Prompt 0 is always right and sure, prompt 1 always wrong, prompts 2 and 3 know nothing.
        "hopeless": (20, 4, 2, lambda n, i, y: (np.arange(2) == y) * [30, -30, 0, 0][i] * 1.0),
        "one-text": (1, 5, 2, lambda n, i, y: rng.normal(0, 2, 2)),
        "one-prompt": (10, 1, 2, lambda n, i, y: rng.normal(0, 2, 2)),
        # Prompt 2 repeats prompt 0: they share their weight equally. Prompt 1 has logits that are not numbers.
        "twins": (12, 3, 2, with_twin),
    }


def predictions(m, w):
    mixture = np.einsum("i,nic->nc", w, m)
    total = -(mixture * np.log(mixture)).sum(-1)
    aleatoric = -np.einsum("i,nic->n", w, m * np.log(m))
    return {"probs": mixture, "members": m, "total": total, "aleatoric": aleatoric, "epistemic": total - aleatoric}


def solve(folder, rng):
    """name -> (members, probabilities of the labels, kind -> weights)"""
    out = {}
    for name, (texts, prompts, classes, make) in cases(rng).items():
        logits, labels = scores(folder, name, rng, texts, prompts, classes, make)
        m = members(logits)
        p = m[np.arange(texts), :, labels]
        out[name] = m, p, {kind: optimum(kind, p) for kind in ("paper", "published")}
    return out


def record(folder):
    answers = {}
    for name, (m, p, weights) in solve(folder, np.random.default_rng(7)).items():
        answers[name] = {kind: {"optimum": objective(kind, p, w), "weights": w.tolist()}
                         for kind, w in weights.items()}
        if name == "twins":
            answers[name]["predictions"] = {k: v.tolist() for k, v in predictions(m, weights["paper"]).items()}
    with open(f"{folder}/fit.json", "w") as f:
        json.dump(answers, f, indent=1)


def check(program):
    compared = 0
    worst = {"objective": 0.0, "prediction": 0.0}
    for seed in range(100, 105):
        with tempfile.TemporaryDirectory() as folder:
            for name, (m, p, weights) in solve(folder, np.random.default_rng(seed)).items():
                for kind, w in weights.items():
                    file = f"{folder}/fit-{name}.mp"
                    subprocess.run([program, "-q", "--objective", kind, "-o", "w.mp", file], check=True, cwd=folder)
                    header, records = duq_stream.read(f"{folder}/w.mp")
                    got = np.array([r["weight"] for r in records])
                    best = objective(kind, p, w)
                    assert header["fit"]["gap"] <= 1e-8 and abs(got.sum() - 1) < 1e-12
                    assert abs(header["fit"]["optimum"] - objective(kind, p, got)) < 1e-9
                    # scipy's point is feasible: ours may be better than it, and worse by no more than the gap.
                    worst["objective"] = max(worst["objective"], best - objective(kind, p, got))
                    subprocess.run([program, "-q", "--apply", "w.mp", "-o", "p.mp", file], check=True, cwd=folder)
                    _, records = duq_stream.read(f"{folder}/p.mp", {"probs": "f8", "members": "f8"})
                    want = predictions(m, got)
                    for field, values in want.items():
                        have = np.array([r[field] for r in records]).reshape(values.shape)
                        worst["prediction"] = max(worst["prediction"], np.abs(have - values).max())
                    compared += 1
    print(f"bpe-fit: {compared} fits, at most {worst['objective']:.1e} below scipy's optimum; "
          f"predictions within {worst['prediction']:.1e} of numpy's")
    return 0 if worst["objective"] <= 1e-8 and worst["prediction"] < 1e-12 else 1


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(sys.argv[2])
    else:
        sys.exit(check(sys.argv[2]))
