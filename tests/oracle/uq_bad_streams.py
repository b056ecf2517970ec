"""Writes small streams with one fault each, for tests/bats/bpe-fit.bats and tests/bats/dir-eval.bats: tests/data/uq/
scores-*.mp, weights-*.mp and predictions-*.mp."""
import sys

import numpy as np

import duq_stream

folder = sys.argv[1] if len(sys.argv) > 1 else "tests/data/uq"
HEADER = {"schema": "scores", "task": "oracle", "classes": ["no", "yes"], "prompts": 2, "model": "0123456789abcdef"}


def record(id, prompt, label=1, logits=(0.0, 1.0)):
    return {"id": id, "prompt": prompt, "logits": np.array(logits, np.float32), "label": label}


good = [record(id, prompt) for id in "abc" for prompt in range(2)]
faults = {
    "good": good,
    "interleaved": [good[i] for i in (0, 2, 4, 5, 3, 1)],
    "missing": good[:3] + good[4:],
    "twice": good[:4] + [good[2]] + good[4:],
    "unlabelled": [{**r, "label": None} for r in good],
    "labels-differ": good[:3] + [record("b", 1, 0)] + good[4:],
    "other-prompt": good[:-2] + good[-1:],
    "beyond": good + [record("d", 2)],
    "empty": [],
}
for name, records in faults.items():
    duq_stream.write(f"{folder}/scores-{name}.mp", HEADER, records)
duq_stream.write(f"{folder}/scores-other-model.mp", {**HEADER, "model": "another"}, good)
duq_stream.write(f"{folder}/scores-prompts-real.mp", {**HEADER, "prompts": 2.0}, good)
duq_stream.write(f"{folder}/scores-cut.mp", HEADER, good, close=False)

HEADER = {**HEADER, "schema": "weights"}


def weights(name, *calibrations, header=HEADER):
    duq_stream.write(f"{folder}/weights-{name}.mp", header,
                     [{"prompt": i, "weight": 0.5, **c} for i, c in enumerate(calibrations)])


PLAIN = {k: v for k, v in HEADER.items() if k != "classes"}
weights("good", {"scale": 2.0, "bias": np.array([-1.0, 1.0])}, {})
weights("scale-zero", {"scale": 0.0}, {})
weights("scale-inf", {}, {"scale": np.inf})
weights("scale-text", {}, {"scale": "two"})
weights("bias-nan", {"bias": np.array([0.0, np.nan])}, {})
weights("bias-three", {"bias": np.zeros(3)}, {})
weights("bias-differs", {"bias": np.zeros(3)}, {"bias": np.zeros(2)}, header=PLAIN)
weights("bias-unnamed", {"bias": np.zeros(3)}, {"bias": np.zeros(3)}, header=PLAIN)
duq_stream.write(f"{folder}/scores-unnamed.mp", {**PLAIN, "schema": "scores"}, good)


def prediction(id, probs, label=1):
    return {"id": id, "label": label, "probs": np.array(probs), "total": 0.5, "aleatoric": 0.4, "epistemic": 0.1}


def with_alpha(id, alpha):
    return {**prediction(id, [0.25, 0.75]), "alpha": np.array(alpha)}


HEADER = {"schema": "prediction", "task": "oracle", "classes": ["no", "yes"], "head": "dirichlet"}
first = prediction("a", [0.25, 0.75])
for name, records in {"nan": [first, prediction("b", [np.nan, 1])], "sum": [first, prediction("b", [0.2, 0.7])],
                      "twice": [first, first], "empty": [],
                      "infinite": [first, {**prediction("b", [0.25, 0.75]), "total": np.inf}],
                      "alpha-zero": [with_alpha("a", [1.0, 3.0]), with_alpha("b", [2.0, 0.0])],
                      "alpha-missing": [with_alpha("a", [1.0, 3.0]), prediction("b", [0.25, 0.75])]}.items():
    duq_stream.write(f"{folder}/predictions-{name}.mp", HEADER, records)
