"""Calibrated ensembles computed by numpy, scipy and scikit-learn alone.

  calibration.py record FOLDER       writes score streams calibrate-*.mp and calibration.json there: what make test
                                     compares with
  calibration.py check BPE-FIT       fresh random scores, that program's calibrations against scipy's and scikit-learn's

A calibration is L-BFGS-B's point, bounded, from two starts, refined by root finding on the gradient; it is accepted
only where the gradient vanishes (or points out of the bound). Weights are those of bpe_fit.py.
"""
import json
import subprocess
import sys
import tempfile

import numpy as np
from scipy.optimize import minimize, root
from scipy.special import log_softmax, softmax

import bpe_fit
import duq_stream

BOUND = 1e-6
KINDS = ("scale", "bias", "scale+bias")
PENALTIES = (1e-4, 0.01, 1.0)
GRID = [10 ** (i / 2 - 4) for i in range(13)]


# ---- one prompt ----

def usable(z):
    return np.isfinite(z).all(axis=-1)


def unpack(kind, x, classes):
    scale = x[0] if "scale" in kind else 1.0
    bias = x[-classes:] if "bias" in kind else np.zeros(classes)
    return scale, bias


def loss(kind, x, z, y):
    scale, bias = unpack(kind, x, z.shape[1])
    return -log_softmax(scale * z + bias, axis=-1)[np.arange(len(y)), y].mean() if len(y) else 0.0


def neutral(kind, classes):
    return np.concatenate([[1.0] if "scale" in kind else [], np.zeros(classes) if "bias" in kind else []])


def objective(kind, x, z, y, s):
    return loss(kind, x, z, y) + s / 2 * ((x - neutral(kind, z.shape[1])) ** 2).sum()


def gradient(kind, x, z, y, s):
    n, classes = z.shape
    scale, bias = unpack(kind, x, classes)
    r = softmax(scale * z + bias, axis=-1) - np.eye(classes)[y]
    parts = ([[(r * z).sum() / max(n, 1)]] if "scale" in kind else []) + \
            ([r.sum(0) / max(n, 1)] if "bias" in kind else [])
    return np.concatenate(parts) + s * (x - neutral(kind, classes))


def calibrate(kind, z, y, s):
    """(scale, bias, objective, loss before, loss after) for logits [texts, classes]"""
    ok = usable(z)
    z, y = z[ok] - z[ok].mean(axis=-1, keepdims=True), y[ok]
    classes = z.shape[1]
    x0 = neutral(kind, classes)
    bounds = ([(BOUND, None)] if "scale" in kind else []) + ([(None, None)] * classes if "bias" in kind else [])
    size = max(1.0, np.abs(z).max() if len(z) else 1.0)
    best = None
    for start in (x0, np.where(np.arange(len(x0)) == 0, 1 / size, x0) if "scale" in kind else x0 + 0.1):
        r = minimize(lambda x: objective(kind, x, z, y, s), start, jac=lambda x: gradient(kind, x, z, y, s),
                     method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-17, "gtol": 1e-13, "maxiter": 20000})
        if best is None or r.fun < objective(kind, best, z, y, s):
            best = r.x
    free = np.arange(len(best)) >= (1 if "scale" in kind and best[0] <= BOUND * (1 + 1e-9) else 0)

    def at(v):
        x = best.copy()
        x[free] = v
        return x
    if free.any():
        r = root(lambda v: gradient(kind, at(v), z, y, s)[free], best[free], tol=1e-15)
        refined = at(r.x)
        if np.abs(gradient(kind, refined, z, y, s)[free]).max() <= np.abs(gradient(kind, best, z, y, s)[free]).max():
            best = refined
    g = gradient(kind, best, z, y, s)
    assert free.all() or g[0] >= 0
    error = np.abs(g[free]).max() / s if free.any() else 0
    assert error < 3e-7, (kind, s, error)  # strong convexity: how far from the optimum
    scale, bias = unpack(kind, best, classes)
    return scale, bias, objective(kind, best, z, y, s), loss(kind, x0, z, y), loss(kind, best, z, y)


# ---- scores ----

def quantised(x):
    return np.round(x * 64) / 64


def cases(rng):
    """name -> logits [texts, prompts, classes], labels"""
    def random(texts, prompts, classes, right, spread):
        y = rng.integers(0, classes, texts)
        z = rng.normal(0, spread, (texts, prompts, classes)) + right * np.eye(classes)[y][:, None]
        return quantised(z), y

    def real():  # as a small model's: about -12, one class preferred by each prompt, differences that are too small
        z, y = random(60, 5, 2, 0.6, 0.4)
        return quantised(z - 12 + rng.normal(0, 0.7, (1, 5, 1)) * np.array([1, -1])), y

    out = {"random": random(30, 3, 2, 1.5, 2.0), "classes": random(45, 2, 4, 2.0, 1.5), "real": real()}
    z, y = out["random"]
    out["shifted"] = z + rng.integers(-100, 100, (30, 3, 1)), y
    z, y = random(20, 2, 3, 0, 1)
    out["separable"] = quantised(3 * np.eye(3)[y][:, None] + 0 * z), y
    out["inverted"] = quantised(-2 * np.eye(3)[y][:, None] + 0.3 * z), y
    out["one-class"] = z, np.full(20, 2)
    out["equal"] = np.full((12, 2, 3), -7.0), y[:12]
    out["one-text"] = z[:1], y[:1]
    bad = z.copy()
    bad[3, 0] = [np.nan, 1, 2]
    bad[4, 0] = [1, np.inf, 2]
    bad[5, 0] = [1, -np.inf, 2]
    bad[:, 1] = np.nan
    out["not-finite"] = bad, y
    return {name: (z.astype(np.float32).astype(float), y) for name, (z, y) in out.items()}


def write(folder, name, z, y, prompts=None):
    header = {"schema": "scores", "task": "oracle", "classes": [f"class {c}" for c in range(z.shape[2])],
              "prompts": z.shape[1], "model": "0123456789abcdef"}
    duq_stream.write(f"{folder}/calibrate-{name}.mp", header,
                     [{"id": f"t{n}", "prompt": i, "logits": z[n, i].astype(np.float32), "label": int(y[n])}
                      for n in range(len(y)) for i in prompts or range(z.shape[1])])


def by_id(z, y):
    order = sorted(range(len(y)), key=lambda n: f"t{n}".encode())
    return z[order], y[order]


# ---- ensembles; texts are in the order of their ids ----

def folds(y):
    count, of = min(5, len(y)), np.zeros(len(y), int)
    of[np.argsort(y, kind="stable")] = np.arange(len(y)) % min(5, len(y))
    return count, of


def members(z, calibrations):
    m = np.empty(z.shape)
    for i in range(z.shape[1]):
        scale, bias = calibrations[i] if calibrations else (1.0, 0.0)
        x = scale * z[:, i] + bias
        p = np.full(x.shape, 1 / x.shape[1])
        good = ~np.isnan(x).any(axis=1) & np.isfinite(x.max(axis=1))
        p[good] = softmax(x[good], axis=-1)
        p[good] = (p[good] + 1e-5) / (1 + 1e-5 * x.shape[1])
        m[:, i] = p
    return m


def nll(p, y):
    return -np.log(p[np.arange(len(y)), y])


def choose(kind, z, y):
    """(strength, the curve); where there are no folds the strongest"""
    count, of = folds(y)
    if count < 2:
        return GRID[-1], None
    curve = []
    for s in GRID:
        total = 0
        for f in range(count):
            left, rest = of == f, of != f
            for i in range(z.shape[1]):
                c = calibrate(kind, z[rest, i], y[rest], s)[:2]
                total += nll(members(z[left][:, [i]], [c])[:, 0], y[left]).sum()
        curve.append(total / (len(y) * z.shape[1]))
    return max(s for s, v in zip(GRID, curve) if v == min(curve)), curve


def ensemble(kind, z, y, top=None, penalty=None):
    """(prompts, weights, calibrations, optimum)"""
    calibrations = None
    if kind:
        s = penalty or choose(kind, z, y)[0]
        calibrations = [calibrate(kind, z[:, i], y, s)[:2] for i in range(z.shape[1])]
    p = members(z, calibrations)[np.arange(len(y)), :, y]

    def value(prompts):
        w = bpe_fit.optimum("paper", p[:, prompts]) if len(prompts) > 1 else np.ones(1)
        return bpe_fit.objective("paper", p[:, prompts], w), w
    prompts = list(range(z.shape[1]))
    if top:
        taken = []
        while len(taken) < top:
            rest = [i for i in prompts if i not in taken]
            values = [value(taken + [i])[0] for i in rest]
            taken.append(rest[int(np.argmax(values))])
        prompts = sorted(taken)
    optimum, w = value(prompts)
    return prompts, w, calibrations, optimum


def held_out(kind, z, y, top):
    """name -> (mean loss, accuracy)"""
    count, of = folds(y)
    sums = {}

    def add(name, p, y, share=1.0):
        was = sums.get(name, (0.0, 0.0))
        sums[name] = was[0] + share * nll(p, y).sum(), was[1] + share * (p.argmax(-1) == y).sum()
    for f in range(count):
        left, rest = of == f, of != f
        m = members(z[left], None)
        for i in range(z.shape[1]):
            add("prompt", m[:, i], y[left], 1 / z.shape[1])
        add("uniform", m.mean(1), y[left])
        for name, which, k in (("weighted", None, None), ("calibrated", kind, None), ("top", kind, top)):
            prompts, w, calibrations, _ = ensemble(which, z[rest], y[rest], k)
            m = members(z[left], calibrations)
            add(name, np.einsum("i,nic->nc", w, m[:, prompts]), y[left])
    return {name: [v / len(y) for v in values] for name, values in sums.items()}


# ---- recording and checking ----

def fits(z, y):
    """kind -> penalty -> what each prompt's calibration is"""
    out = {}
    for kind in KINDS:
        out[kind] = []
        for s in PENALTIES:
            rows = [calibrate(kind, z[:, i], y, s) for i in range(z.shape[1])]
            out[kind].append({"penalty": s, "scale": [r[0] for r in rows], "bias": [list(r[1]) for r in rows],
                              "optimum": [r[2] for r in rows], "before": [r[3] for r in rows],
                              "after": [r[4] for r in rows]})
    return out


def record(folder):
    answers = {"fits": {}, "ensembles": {}}
    all_cases = cases(np.random.default_rng(11))
    for name, (z, y) in all_cases.items():
        write(folder, name, z, y)
        answers["fits"][name] = fits(*by_id(z, y))
    for name in ("random", "real"):
        z, y = by_id(*all_cases[name])
        strength, curve = choose("scale+bias", z, y)
        prompts, w, _, optimum = ensemble("scale+bias", z, y, None, strength)
        kept = ensemble("scale+bias", z, y, 2, strength)
        answers["ensembles"][name] = {
            "penalty": strength, "curve": curve, "weights": list(w), "optimum": optimum,
            "top": {"prompts": kept[0], "weights": list(kept[1]), "optimum": kept[3]},
            "held_out": held_out("scale+bias", z, y, 2)}
    # The scores of the two prompts that are best together, alone.
    write(folder, "real-kept", *all_cases["real"], answers["ensembles"]["real"]["top"]["prompts"])
    with open(f"{folder}/calibration.json", "w") as f:
        json.dump(answers, f, indent=1)


def run(program, folder, name, *options):
    subprocess.run([program, "-q", *options, "-o", "w.mp", f"calibrate-{name}.mp"], check=True, cwd=folder)
    return duq_stream.read(f"{folder}/w.mp", {"bias": "f8"})


def sklearn_temperature(z, y):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Logits(ClassifierMixin, BaseEstimator):
        def fit(self, x, y):
            self.classes_ = np.unique(y)
            return self

        def decision_function(self, x):
            return x if x.shape[1] > 1 else x[:, 0]

        def predict(self, x):
            return self.classes_[x.argmax(axis=1) if x.shape[1] > 1 else (x[:, 0] > 0).astype(int)]

    fitted = CalibratedClassifierCV(FrozenEstimator(Logits().fit(z, y)), method="temperature", cv=2).fit(z, y)
    return float(fitted.calibrated_classifiers_[0].calibrators[0].beta_)


def check(program):
    worst = {"parameter": 0.0, "objective": 0.0, "loss": 0.0, "prediction": 0.0, "scikit-learn": 0.0}
    compared = 0

    def differs(what, got, want):
        worst[what] = max(worst[what], float(np.max(np.abs(np.asarray(got) - np.asarray(want)))))
    for seed in range(200, 204):
        with tempfile.TemporaryDirectory() as folder:
            for name, (z, y) in cases(np.random.default_rng(seed)).items():
                write(folder, name, z, y)
                for kind, rows in fits(*by_id(z, y)).items():
                    for want in rows:
                        header, got = run(program, folder, name, "--calibrate", kind, "--penalty", str(want["penalty"]))
                        fit = header["fit"]["calibration"]["prompts"]
                        for i, r in enumerate(got):
                            assert ("scale" in r) == ("scale" in kind) and ("bias" in r) == ("bias" in kind)
                            assert fit[i]["gap"] <= 1e-10
                            differs("parameter", r.get("scale", 1.0), want["scale"][i])
                            differs("parameter", r.get("bias", 0.0), want["bias"][i])
                            differs("objective", fit[i]["optimum"] / max(want["optimum"][i], 1e-3),
                                    want["optimum"][i] / max(want["optimum"][i], 1e-3))
                            differs("loss", [fit[i]["nll_before"], fit[i]["nll_after"]],
                                    [want["before"][i], want["after"][i]])
                        subprocess.run([program, "-q", "--apply", "w.mp", "-o", "p.mp", f"calibrate-{name}.mp"],
                                       check=True, cwd=folder)
                        _, records = duq_stream.read(f"{folder}/p.mp", {"members": "f8"})
                        have = np.array([r["members"] for r in records]).reshape(z.shape)
                        differs("prediction", have, members(z, [(r.get("scale", 1.0), r.get("bias", 0.0)) for r in got]))
                        compared += 1
            for name in ("random", "classes"):
                z, y = cases(np.random.default_rng(seed))[name]
                _, got = run(program, folder, name, "--calibrate", "scale", "--penalty", "1e-12")
                for i, r in enumerate(got):
                    # Of two classes scikit-learn takes x and makes logits -x and x of it.
                    x = z[:, i] if z.shape[2] > 2 else (z[:, i, 1:] - z[:, i, :1]) / 2
                    differs("scikit-learn", r["scale"], sklearn_temperature(x, y))
    print(f"calibration: {compared} fits; parameters within {worst['parameter']:.1e} of scipy's, objectives within "
          f"{worst['objective']:.1e} (relative), losses {worst['loss']:.1e}, members {worst['prediction']:.1e} of "
          f"numpy's, temperatures {worst['scikit-learn']:.1e} of scikit-learn's")
    limits = {"parameter": 1e-6, "objective": 1e-10, "loss": 1e-8, "prediction": 1e-12, "scikit-learn": 1e-5}
    return 0 if all(worst[k] <= limits[k] for k in worst) else 1


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(sys.argv[2])
    else:
        sys.exit(check(sys.argv[2]))
