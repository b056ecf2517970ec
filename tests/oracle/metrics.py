"""What dir-eval must say, from scikit-learn, torchmetrics and scipy.

  metrics.py record FOLDER          writes metrics-*.mp and metrics.json there: what make test compares with
  metrics.py check DIR-EVAL         fresh random sets, compared live with that program's --json
"""
import json
import math
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
from scipy import stats
from sklearn.metrics import (accuracy_score, average_precision_score, brier_score_loss, f1_score, log_loss,
                             roc_auc_score, roc_curve)
from torchmetrics.functional.classification import multiclass_calibration_error
from torchmetrics.functional.classification.calibration_error import _ce_compute

import duq_stream

warnings.filterwarnings("ignore")
KINDS = ("total", "aleatoric", "epistemic")


# ---- sets ----

def softmax_rows(rng, n, classes, sharpness):
    z = rng.normal(0, sharpness, (n, classes))
    p = np.exp(z - z.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def labels_from(rng, p):
    return np.array([rng.choice(p.shape[1], p=row) for row in p])


def make(rng, p, y, decimals=None, head="dirichlet", members=None, kinds=KINDS):
    u = {k: np.abs(rng.normal(0.3, 0.2, len(p))) for k in kinds}
    if decimals is not None:
        u = {k: np.round(v, decimals) for k, v in u.items()}
    return {"p": p, "y": y, "u": u, "head": head, "members": members}


def write(path, s):
    header = {"schema": "prediction", "classes": [f"class {c}" for c in range(s["p"].shape[1])], "head": s["head"]}
    records = []
    for i, row in enumerate(s["p"]):
        r = {"id": f"t{i}", "label": None if s["y"] is None else int(s["y"][i]), "probs": row}
        if s["members"] is not None:
            r["members"] = s["members"][i]
        records.append({**r, **{k: float(s["u"][k][i]) if k in s["u"] else None for k in KINDS}})
    duq_stream.write(path, header, records)


def cases(rng):
    p2, p4 = softmax_rows(rng, 120, 2, 1.5), softmax_rows(rng, 150, 4, 1.5)
    p3 = softmax_rows(rng, 60, 3, 1)
    out = {"binary": make(rng, p2, labels_from(rng, p2)), "four": make(rng, p4, labels_from(rng, p4))}
    # Class 2 is never a label, but is predicted; class 2 is neither.
    out["absent-label"] = make(rng, p3, rng.integers(0, 2, 60))
    q = np.c_[p2[:50], np.zeros(50)]
    out["absent-class"] = make(rng, q, rng.integers(0, 2, 50))
    # Certain and right, certain and wrong.
    sure = np.eye(2)[rng.integers(0, 2, 40)]
    out["certain"] = make(rng, sure, np.where(np.arange(40) < 30, sure.argmax(1), 1 - sure.argmax(1)))
    out["certain-right"] = make(rng, sure, sure.argmax(1))
    # Ties, and confidences on the edges of the bins.
    grid = rng.integers(0, 11, 110) / 10
    out["edges"] = make(rng, np.c_[grid, 1 - grid], rng.integers(0, 2, 110), decimals=1)
    third = np.array([[a / 10, b / 10, (10 - a - b) / 10] for a in range(11) for b in range(11 - a)])
    out["edges-three"] = make(rng, third, rng.integers(0, 3, len(third)), decimals=1)
    out["one-row"] = make(rng, np.array([[0.3, 0.7]]), np.array([1]))
    out["one-label"] = make(rng, p2[:20], np.zeros(20, int))
    out["softmax"] = make(rng, p2[:30], rng.integers(0, 2, 30), head="softmax", kinds=("total",))
    members = np.stack([softmax_rows(rng, 40, 3, s) for s in (0.5, 1, 2)], axis=1)
    mixture = members.mean(1)
    out["ensemble"] = make(rng, mixture, labels_from(rng, mixture), head="ensemble", members=members)
    out["no-labels"] = make(rng, p2[:25], None)
    return out


# ---- what is expected ----

def none_if(condition, value):
    return None if condition or not math.isfinite(value) else float(value)


def classification(p, y, bins):
    n, classes = p.shape
    t, ty = torch.from_numpy(p), torch.from_numpy(y)
    top = p.argmax(1)
    one_hot = np.eye(classes)[y]
    with np.errstate(divide="ignore"):
        impossible = (p[np.arange(n), y] == 0).any()
        nll = math.inf if impossible else log_loss(y, p / p.sum(1, keepdims=True), labels=range(classes))
    if classes == 2:
        auc = roc_auc_score(y, p[:, 1]) if 0 < y.sum() < n else math.nan
    else:
        per_class = [roc_auc_score(one_hot[:, c], p[:, c]) if 0 < one_hot[:, c].sum() < n else math.nan
                     for c in range(classes)]
        auc = float(np.mean(per_class))
        if math.isfinite(auc):
            assert abs(auc - roc_auc_score(y, p, multi_class="ovr", labels=range(classes))) < 1e-12

    def calibration(norm):
        # torchmetrics' public function rounds to float32 first, its inner one takes doubles as they are.
        exact = float(_ce_compute(t.amax(1), (t.argmax(1) == ty).double(), bins, norm=norm))
        public = float(multiclass_calibration_error(t, ty, num_classes=classes, n_bins=bins, norm=norm))
        assert abs(exact - public) < 1e-5, (exact, public, norm, bins)
        return exact

    return {"accuracy": accuracy_score(y, top), "macro_f1": f1_score(y, top, average="macro", zero_division=0),
            "nll": none_if(False, nll), "ece": calibration("l1"), "mce": calibration("max"),
            "brier": float(brier_score_loss(y, p, scale_by_half=False, labels=list(range(classes)))),
            "roc_auc": none_if(False, auc)}


def risk_area(u, wrong):
    """Mean over k of the risk of the k most certain; equally uncertain texts count as their mean."""
    order = np.argsort(u, kind="stable")
    u, wrong = u[order], wrong[order].astype(float)
    for value in np.unique(u):
        wrong[u == value] = wrong[u == value].mean()
    return float((np.cumsum(wrong) / np.arange(1, len(u) + 1)).mean())


def in_distribution(s, bins):
    p, y, u = s["p"], s["y"], s["u"]
    out = {} if y is None else classification(p, y, bins)
    for k in KINDS:
        out[f"mean_{k}"] = float(np.mean(u[k])) if k in u else None
        if y is not None:
            out[f"aurc_{k}"] = risk_area(u[k], p.argmax(1) != y) if k in u else None
    return out


def of_members(s, bins):
    each = [classification(s["members"][:, m], s["y"], bins) for m in range(s["members"].shape[1])]
    out = {k: None if any(e[k] is None for e in each) else float(np.mean([e[k] for e in each])) for k in each[0]}
    out["mean_total"] = float(stats.entropy(s["members"], axis=-1).mean())
    return out


def detection(inside, outside):
    out = {}
    for k in KINDS:
        if k not in inside["u"] or k not in outside["u"]:
            out |= {f"{d}_{k}": None for d in ("auroc", "aupr", "fpr95", "wasserstein")}
            continue
        a, b = inside["u"][k], outside["u"][k]
        truth, score = np.r_[np.zeros(len(a)), np.ones(len(b))], np.r_[a, b]
        fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
        out[f"auroc_{k}"] = float(roc_auc_score(truth, score))
        out[f"aupr_{k}"] = float(average_precision_score(truth, score))
        out[f"fpr95_{k}"] = float(fpr[np.argmax(tpr >= 0.95)])
        out[f"wasserstein_{k}"] = float(stats.wasserstein_distance(a, b))
    return out


PAIRS = (("binary", "binary"), ("binary", "edges"), ("edges", "edges-three"), ("one-row", "certain"),
         ("four", "no-labels"), ("softmax", "softmax"), ("binary", "softmax"))


def expected(sets):
    out = {"bins": {}, "members": {}, "detection": []}
    for bins in (10, 15):
        out["bins"][str(bins)] = {name: in_distribution(s, bins) for name, s in sets.items()}
    out["members"] = {"ensemble": of_members(sets["ensemble"], 10)}
    for inside, outside in PAIRS:
        out["detection"].append({"set": inside, "against": outside,
                                 "metrics": detection(sets[inside], sets[outside])})
    return out


def intervals(s, rng):
    """scipy's percentile bootstrap of two means."""
    right = (s["p"].argmax(1) == s["y"]).astype(float)
    nll = -np.log(s["p"][np.arange(len(right)), s["y"]])
    out = {}
    for name, values in (("accuracy", right), ("nll", nll)):
        ci = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000,
                             random_state=rng).confidence_interval
        out[name] = [float(ci.low), float(ci.high)]
    return out


# ---- the two uses ----

def record(folder):
    rng = np.random.default_rng(11)
    sets = cases(rng)
    for name, s in sets.items():
        write(f"{folder}/metrics-{name}.mp", s)
    answers = expected(sets) | {"bootstrap": {"binary": intervals(sets["binary"], rng)}}
    with open(f"{folder}/metrics.json", "w") as f:
        json.dump(answers, f, indent=1)


def compare(got, want, what):
    bad = 0
    for metric, value in want.items():
        have = got[metric]["value"]
        if (have is None) != (value is None) or (value is not None and abs(have - value) > 1e-9 * max(1, abs(value))):
            print(f"{what}: {metric} is {have}, not {value}")
            bad += 1
    return len(want), bad


def check(program):
    total = wrong = 0
    for seed in range(8):
        with tempfile.TemporaryDirectory() as folder:
            sets = cases(np.random.default_rng(1000 + seed))
            for name, s in sets.items():
                write(f"{folder}/metrics-{name}.mp", s)
            answers = expected(sets)

            def run(*args):
                return json.loads(subprocess.run([program, "-q", "--json", *args], check=True, cwd=folder,
                                                 capture_output=True).stdout)
            counts = []
            for bins, by_set in answers["bins"].items():
                for name, want in by_set.items():
                    if sets[name]["y"] is None:
                        continue
                    got = run("--bins", bins, f"{name}=metrics-{name}.mp")
                    counts.append(compare(got["sets"][0]["metrics"], want, f"seed {seed}, {name}, {bins} bins"))
            got = run("--members", "metrics-ensemble.mp")
            counts.append(compare(got["sets"][1]["metrics"], answers["members"]["ensemble"], f"seed {seed}, members"))
            for pair in answers["detection"]:
                got = run(f"in=metrics-{pair['set']}.mp", "--ood", f"in:out=metrics-{pair['against']}.mp")
                counts.append(compare(got["detection"][0]["metrics"], pair["metrics"],
                                      f"seed {seed}, {pair['set']} against {pair['against']}"))
            total += sum(c for c, _ in counts)
            wrong += sum(b for _, b in counts)
    print(f"metrics: {total - wrong} of {total} values agree with scikit-learn, torchmetrics and scipy to 1e-9")
    return 1 if wrong or not total else 0


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(sys.argv[2])
    else:
        sys.exit(check(sys.argv[2]))
