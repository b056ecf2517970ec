"""Arrays of probabilities as NumPy writes them, and what is to come of them.

  npy.py record FOLDER STREAMS    writes FOLDER/*.npy, FOLDER/npy.json and, beside the Dirichlet teacher of STREAMS
                                  (tests/data/lora/streams), STREAMS/teacher.npy and teacher-weights.npy of its members
  npy.py check REC                arrays of every layout, reduced live by that program and by NumPy
"""
import json
import math
import subprocess
import sys
import tempfile

import numpy as np
from numpy.lib import format as npy_format
from scipy.special import softmax
from scipy.stats import entropy

import duq_stream

FLOOR = 1e-8


def reduced(p, w=None):
    """p: [texts, classes] or [texts, classes, members], as float64."""
    p = p.astype(np.float64)
    s = p.sum(1, keepdims=True)
    p = np.where(np.abs(s - 1) > 1e-9, p / s, p)
    if p.ndim == 2:
        return {"probs": p, "total": entropy(p, axis=1)}
    w = np.full(p.shape[2], 1 / p.shape[2]) if w is None else w.astype(np.float64)
    w = w / w.sum() if abs(w.sum() - 1) > 1e-9 else w
    mean = p @ w
    total, aleatoric = entropy(mean, axis=1), entropy(p, axis=1) @ w
    return {"probs": mean, "mean_log": np.log(p + FLOOR) @ w, "total": total, "aleatoric": aleatoric,
            "epistemic": total - aleatoric}


def save(path, a, version=None):
    with open(path, "wb") as f:
        npy_format.write_array(f, a, version=version)


def arrays(rng):
    """name -> (array, weights, format version)"""
    p = softmax(rng.normal(0, 2, (5, 3, 4)), axis=1)
    w = np.array([0.4, 0.3, 0.2, 0.1])
    return {"c-float32": (p.astype("<f4"), None, (1, 0)), "fortran-float64": (np.asfortranarray(p), w, (2, 0)),
            "big-endian": (p.astype(">f4"), w.astype("f4"), (3, 0)), "flat": (np.asfortranarray(p[:, :, 0]), None, (3, 0)),
            "one-member": (p[:, :, :1].astype(">f8"), None, (1, 0))}


def bad(folder, rng):
    p = softmax(rng.normal(0, 2, (3, 2, 4)), axis=1)
    nan, over, logits = p.copy(), p.copy(), rng.normal(0, 3, (3, 2, 4))
    nan[1, 0, 2] = math.nan
    over[2, :, 3] *= 0.99
    for name, a in {"nan": nan, "sum": over, "logits": logits, "four": p[None], "one": p[0, 0], "none": p[:0], "whole": p.astype(int),
                    "half": p.astype("f2"), "swapped": np.moveaxis(p, 1, 2)}.items():
        save(f"{folder}/bad-{name}.npy", a)
    np.save(f"{folder}/bad-object.npy", np.array([{}, None], object), allow_pickle=True)
    save(f"{folder}/bad-weights.npy", np.array([0.5, 0.6, 0.2, 0.1]))
    save(f"{folder}/three-weights.npy", np.full(3, 1 / 3))
    save(f"{folder}/good.npy", p)


def record(folder, streams):
    rng = np.random.default_rng(4)
    answers = {}
    for name, (a, w, version) in arrays(rng).items():
        save(f"{folder}/{name}.npy", a, version)
        if w is not None:
            save(f"{folder}/{name}-weights.npy", w)
        answers[name] = {k: v.tolist() for k, v in reduced(a, w).items()}
    bad(folder, rng)
    with open(f"{folder}/npy.json", "w") as f:
        json.dump(answers, f)
        f.write("\n")
    header, records = duq_stream.read(f"{streams}/teacher.mp", {"members": "f8"})
    members = np.array([r["members"] for r in records]).reshape(len(records), len(header["weights"]), -1)
    save(f"{streams}/teacher.npy", np.moveaxis(members, 1, 2))
    save(f"{streams}/teacher-weights.npy", np.array(header["weights"]))


def check(program):
    worst = 0.0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        cases = arrays(rng)
        many = softmax(rng.normal(0, 2, (20, 10, 10000)).astype("f4"), axis=1)
        cases["many"] = (many, None, (1, 0))
        with tempfile.TemporaryDirectory() as folder:
            for name, (a, w, version) in cases.items():
                save(f"{folder}/a.npy", a, version)
                command = [program, "from-npy", "-o", f"{folder}/p.mp", f"{folder}/a.npy"]
                if w is not None:
                    save(f"{folder}/w.npy", w)
                    command += ["--weights", f"{folder}/w.npy"]
                subprocess.run(command, check=True)
                _, records = duq_stream.read(f"{folder}/p.mp", {"probs": "f8", "mean_log": "f8"})
                for field, want in reduced(a, w).items():
                    worst = max(worst, np.abs(np.array([r[field] for r in records]) - want).max())
    print(f"from-npy: 18 arrays, one of 10,000 members, within {worst:.1e} of NumPy")
    # scipy's entropy divides by the sum, which may be off by 1e-9 here.
    return 0 if worst < 1e-9 else 1


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(*sys.argv[2:])
    else:
        sys.exit(check(sys.argv[2]))
