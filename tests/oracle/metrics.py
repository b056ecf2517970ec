"""What dir-eval must say, from scikit-learn, torchmetrics, scipy, relplot, netcal and torch-uncertainty.

  metrics.py record FOLDER          writes metrics-*.mp and metrics.json there: what make test compares with
  metrics.py check DIR-EVAL         fresh random sets, compared live with that program's --json

With FD_SHIFTS, the path of fd_shifts/analysis/rc_stats_utils.py (IML-DKFZ/fd-shifts, the reference code of AUGRC, which
is in no package index), areas are held against it too.
"""
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import relplot
import torch
from netcal.metrics import ECE
from scipy import integrate, special, stats
from sklearn.metrics import (accuracy_score, auc, average_precision_score, brier_score_loss, f1_score, log_loss,
                             precision_recall_curve, roc_auc_score, roc_curve)
from torch_uncertainty.metrics.classification.calibration.adaptive_calibration_error import _ace_compute
from torch_uncertainty.metrics.classification.risk_coverage import AUGRC, CovAtxRisk, RiskAtxCov
from torchmetrics.functional.classification import multiclass_calibration_error
from torchmetrics.functional.classification.calibration_error import _ce_compute

import duq_stream

warnings.filterwarnings("ignore")
KINDS = ("total", "aleatoric", "epistemic")
OF_ALPHA = ("vacuity", "differential_entropy", "pairwise_kl")
COVERAGES, RISKS = (0.5, 0.8, 0.95), (0.02, 0.1, 0.3)


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
    return {"p": p, "y": y, "u": u, "head": head, "members": members, "alpha": None,
            "labelled": np.full(len(p), y is not None)}


def make_dirichlet(rng, alpha):
    p = alpha / alpha.sum(1, keepdims=True)
    s = make(rng, p, labels_from(rng, p)) | {"alpha": alpha}
    s["u"] |= {"vacuity": len(alpha[0]) / alpha.sum(1),
               "differential_entropy": np.array([stats.dirichlet(a).entropy() for a in alpha]),
               "pairwise_kl": pairwise_kl(alpha)}
    return s


def pairwise_kl(alpha):
    """As Malinin's code for prior networks has it, in digammas; for two classes by integration too."""
    a0 = alpha.sum(1, keepdims=True)
    p = alpha / a0
    log_p = special.digamma(alpha) - special.digamma(a0)
    p_log_p = p * (special.digamma(alpha + 1) - special.digamma(a0 + 1))
    divergence = (p_log_p - p * log_p).sum(1)
    for a, d in zip(alpha, divergence):
        if len(a) == 2 and a.min() > 0.8 and a.max() < 50:
            beta = stats.beta(*a)
            e = integrate.quad(lambda x: (special.xlogy(x, x) + special.xlogy(1 - x, 1 - x)) * beta.pdf(x), 0, 1)[0]
            log_x = integrate.quad(lambda x: np.log(x) * beta.pdf(x), 0, 1)[0]
            log_rest = integrate.quad(lambda x: np.log1p(-x) * beta.pdf(x), 0, 1)[0]
            assert abs(d - (e - beta.mean() * log_x - (1 - beta.mean()) * log_rest)) < 1e-6 * max(1, d), (a, d)
    return divergence


def write(path, s):
    header = {"schema": "prediction", "classes": [f"class {c}" for c in range(s["p"].shape[1])], "head": s["head"]}
    records = []
    for i, row in enumerate(s["p"]):
        r = {"id": f"t{i}", "label": int(s["y"][i]) if s["labelled"][i] else None, "probs": row}
        if s["alpha"] is not None:
            r["alpha"] = s["alpha"][i]
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
    return out | later_cases(rng.spawn(1)[0])


def later_cases(rng):
    """With a generator of their own, so that the cases above stay as they were recorded."""
    two = rng.gamma(2, 3, (70, 2)) + 0.8
    three = rng.gamma(0.5, 20, (90, 3)) + 1e-3
    three[:3] = [[1e6, 2e6, 5], [1e-3, 1e-3, 1e-3], [1, 1, 1]]
    out = {"dirichlet": make_dirichlet(rng, two), "dirichlet-three": make_dirichlet(rng, three)}
    # Confidence 1, right and wrong, beside others of the last bin.
    sure = np.r_[np.tile([1.0, 0.0], (12, 1)), np.tile([0.0, 1.0], (9, 1)), softmax_rows(rng, 60, 2, 3)]
    out["with-ones"] = make(rng, sure, labels_from(rng, 0.8 * sure + 0.1))
    out["all-wrong"] = make(rng, softmax_rows(rng, 30, 3, 1), None)
    out["all-wrong"] |= {"y": (out["all-wrong"]["p"].argmax(1) + 1) % 3, "labelled": np.full(30, True)}
    out["one-class"] = make(rng, np.ones((10, 1)), np.zeros(10, int))
    # The same texts, as three models see them.
    p = softmax_rows(rng, 150, 2, 1.5)
    y = labels_from(rng, p)
    for name, noise in (("a", 0.3), ("b", 0.8), ("c", 1.5)):
        z = np.log(p) + rng.normal(0, noise, p.shape)
        out[f"paired-{name}"] = make(rng, special.softmax(z, axis=1), y)
    p = softmax_rows(rng, 80, 3, 1.5)
    out["some-labels"] = make(rng, p, labels_from(rng, p)) | {"labelled": rng.random(80) < 0.6}
    return out


# ---- what is expected ----

def none_if(condition, value):
    return None if condition or not math.isfinite(value) else float(value)


def tie_means(score, values):
    """Values, those of equal scores replaced by their mean."""
    values = np.asarray(values, float).copy()
    for s in np.unique(score):
        values[score == s] = values[score == s].mean()
    return values


def below_one(p):
    """1 falls into the last bin of torchmetrics, which has one more for it, when it is a little less."""
    return np.minimum(p, np.nextafter(1, 0))


def binned(claimed, true, bins, norm, own_bin):
    c = claimed if own_bin else below_one(claimed)
    error = float(_ce_compute(torch.from_numpy(c), torch.from_numpy(true.astype(float)), bins, norm=norm))
    edge = np.abs(claimed * bins - np.round(claimed * bins)) / bins
    inner = (claimed > 0) & (claimed < 1)
    usable = len(claimed) > 1 and 0 < true.sum() < len(true) and not (edge[inner] < 1e-9).any()
    if usable and norm == "l1" and not own_bin:
        assert abs(error - ECE(bins).measure(claimed, true.astype(int))) < 1e-9, (error, bins)
    return error


def equal_mass(claimed, true, bins):
    order = np.argsort(claimed, kind="stable")
    c, t = torch.from_numpy(claimed[order]), torch.from_numpy(tie_means(claimed, true)[order])
    return float(_ace_compute(c, t, min(bins, len(c))))


def classification(p, y, bins, own_bin=False):
    n, classes = p.shape
    t, ty = torch.from_numpy(p), torch.from_numpy(y)
    top = p.argmax(1)
    one_hot = np.eye(classes)[y]
    confidence, right = p.max(1), top == y
    with np.errstate(divide="ignore"):
        impossible = (p[np.arange(n), y] == 0).any()
        # scikit-learn wants two classes; of one, nothing is left to be wrong about.
        nll = math.inf if impossible else 0.0 if classes == 1 else log_loss(y, p / p.sum(1, keepdims=True),
                                                                            labels=range(classes))
    brier = 0.0 if classes == 1 else float(brier_score_loss(y, p, scale_by_half=False, labels=list(range(classes))))
    if classes == 1:
        auc = math.nan
    elif classes == 2:
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
        if classes > 1:
            public = float(multiclass_calibration_error(t, ty, num_classes=classes, n_bins=bins, norm=norm))
            assert abs(exact - public) < 1e-5, (exact, public, norm, bins)
        return exact if own_bin else binned(confidence, right, bins, norm, False)

    return {"accuracy": accuracy_score(y, top), "macro_f1": f1_score(y, top, average="macro", zero_division=0),
            "nll": none_if(False, nll), "ece": calibration("l1"), "mce": calibration("max"),
            "brier": brier,
            "roc_auc": none_if(False, auc),
            "ece_equal_mass": equal_mass(confidence, right, bins),
            "ece_class_wise": float(np.mean([binned(p[:, c], y == c, bins, "l1", own_bin) for c in range(classes)])),
            "smece": float(relplot.smECE(confidence, right.astype(float)))}


def of_torch_uncertainty(metric, u, wrong):
    metric.scores, metric.errors, metric._update_count = [torch.from_numpy(-u)], [torch.from_numpy(wrong).double()], 1
    return float(metric.compute())


def generalised_area(u, wrong):
    """By the identity of the paper (Traub et al. 2024, equation 6)."""
    n, error = len(u), float(np.mean(wrong))
    auroc = roc_auc_score(wrong, u) if 0 < error < 1 else 0.0
    area = (1 - auroc) * error * (1 - error) + error ** 2 / 2
    if len(np.unique(u)) == n > 2:
        # Its curve begins at a coverage of 1 / n and is divided by its length; in single precision.
        first = wrong[np.argmin(u)] / (2 * n * n)
        assert abs(of_torch_uncertainty(AUGRC(), u, wrong) * (1 - 1 / n) + first - area) < 1e-5, area
    if "FD_SHIFTS" in os.environ:
        spec = importlib.util.spec_from_file_location("rc_stats_utils", os.environ["FD_SHIFTS"])
        fd_shifts = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fd_shifts)
        curve = fd_shifts.generalized_risk_stats(confids=-u, residuals=wrong.astype(int))
        assert abs(auc(curve["coverages"], curve["risks"]) - area) < 1e-12
    return area


def selection(u, wrong):
    out = {"aurc": risk_area(u, wrong), "augrc": generalised_area(u, wrong),
           "error_auroc": float(roc_auc_score(wrong, u)) if 0 < wrong.mean() < 1 else None}
    # Precision among the texts above a threshold, where wrong answers are what is looked for, is their risk.
    risk, _, thresholds = precision_recall_curve(wrong, -u)
    risk, coverage = risk[:-1], np.array([np.mean(-u >= t) for t in thresholds])
    no_ties = len(np.unique(u)) == len(u)
    for x in COVERAGES:
        out[f"risk_at_coverage_{x:g}"] = float(risk[coverage >= x][-1])
        if no_ties:
            assert abs(of_torch_uncertainty(RiskAtxCov(x), u, wrong) - out[f"risk_at_coverage_{x:g}"]) < 1e-6
    for x in RISKS:
        out[f"coverage_at_risk_{x:g}"] = float(coverage[risk <= x].max(initial=0))
        if no_ties:
            other = of_torch_uncertainty(CovAtxRisk(x), u, wrong)
            assert abs((0 if math.isnan(other) else other) - out[f"coverage_at_risk_{x:g}"]) < 1e-6
    return out


def risk_area(u, wrong):
    """Mean over k of the risk of the k most certain; equally uncertain texts count as their mean."""
    order = np.argsort(u, kind="stable")
    u, wrong = u[order], wrong[order].astype(float)
    for value in np.unique(u):
        wrong[u == value] = wrong[u == value].mean()
    return float((np.cumsum(wrong) / np.arange(1, len(u) + 1)).mean())


def in_distribution(s, bins, own_bin=False):
    u, some = s["u"], s["labelled"]
    p, y = s["p"][some], s["y"][some] if some.any() else None
    out = {} if y is None else classification(p, y, bins, own_bin)
    for k in KINDS + tuple(k for k in OF_ALPHA if k in u):
        out[f"mean_{k}"] = float(np.mean(u[k])) if k in u else None
        if y is not None:
            wrong = p.argmax(1) != y
            values = selection(u.get(k, u["total"])[some], wrong)
            out |= {f"{name}_{k}": value if k in u else None for name, value in values.items()}
    return out


def of_members(s, bins):
    each = [classification(s["members"][:, m], s["y"], bins) for m in range(s["members"].shape[1])]
    out = {k: None if any(e[k] is None for e in each) else float(np.mean([e[k] for e in each])) for k in each[0]}
    out["mean_total"] = float(stats.entropy(s["members"], axis=-1).mean())
    return out


def detection(inside, outside):
    out = {}
    for k in KINDS + tuple(k for k in OF_ALPHA if k in inside["u"]):
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
         ("four", "no-labels"), ("softmax", "softmax"), ("binary", "softmax"),
         ("dirichlet", "dirichlet-three"), ("dirichlet", "binary"))


def expected(sets):
    out = {"bins": {}, "own_bin": {}, "members": {}, "detection": []}
    for bins in (10, 15):
        out["bins"][str(bins)] = {name: in_distribution(s, bins) for name, s in sets.items()}
    for name in ("with-ones", "certain", "edges", "edges-three"):
        out["own_bin"][name] = in_distribution(sets[name], 10, True)
    out["members"] = {"ensemble": of_members(sets["ensemble"], 10)}
    for inside, outside in PAIRS:
        out["detection"].append({"set": inside, "against": outside,
                                 "metrics": detection(sets[inside], sets[outside])})
    out["seeds"] = over_seeds(sets)
    return out


SEEDS, BASELINE = ("paired-a", "paired-b"), "paired-c"


def over_seeds(sets):
    """Means and deviations of two sets, and the mean's difference from a third."""
    each = [in_distribution(sets[name], 10) for name in SEEDS]
    baseline = in_distribution(sets[BASELINE], 10)
    values = {k: [e[k] for e in each] for k in baseline}
    return {"mean": {k: float(np.mean(v)) for k, v in values.items()},
            "deviation": {k: float(np.std(v, ddof=1)) for k, v in values.items()},
            "difference": {f"difference_{k}": float(np.mean(v)) - baseline[k] for k, v in values.items()}}


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


def differences(a, b, rng):
    """scipy's paired bootstrap of differences of means: ends of the interval, and the p value of its replicates."""
    def per_text(s):
        at = np.arange(len(s["y"]))
        return {"accuracy": (s["p"].argmax(1) == s["y"]).astype(float), "nll": -np.log(s["p"][at, s["y"]]),
                "brier": ((s["p"] - np.eye(s["p"].shape[1])[s["y"]]) ** 2).sum(1)}
    out = {}
    for name, of_a, of_b in ((k, per_text(a)[k], per_text(b)[k]) for k in per_text(a)):
        result = stats.bootstrap((of_a, of_b), lambda x, y, axis: x.mean(axis) - y.mean(axis), paired=True,
                                 method="percentile", n_resamples=20000, random_state=rng)
        replicates = result.bootstrap_distribution
        p = 2 * min((replicates <= 0).mean(), (replicates >= 0).mean())
        # A test of another kind agrees roughly.
        assert abs(p - stats.ttest_rel(of_a, of_b).pvalue) < 0.05, (name, p)
        out[f"difference_{name}"] = [*map(float, result.confidence_interval), float(min(1, p))]
    return out


# ---- the two uses ----

def record(folder):
    rng = np.random.default_rng(11)
    sets = cases(rng)
    for name, s in sets.items():
        write(f"{folder}/metrics-{name}.mp", s)
    answers = expected(sets) | {"bootstrap": {"binary": intervals(sets["binary"], rng)}}
    answers["paired_bootstrap"] = differences(sets["paired-b"], sets["paired-a"], rng)
    answers["levels"] = {"coverages": COVERAGES, "risks": RISKS}
    with open(f"{folder}/metrics.json", "w") as f:
        json.dump(answers, f, indent=1)


def compare(got, want, what, key="value"):
    bad = 0
    for metric, value in want.items():
        have = got[metric][key]
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
            levels = ("--at-coverage", ",".join(map(str, COVERAGES)), "--at-risk", ",".join(map(str, RISKS)))
            counts = []
            for bins, by_set in answers["bins"].items():
                for name, want in by_set.items():
                    if sets[name]["y"] is None:
                        continue
                    got = run("--bins", bins, *levels, f"{name}=metrics-{name}.mp")
                    counts.append(compare(got["sets"][0]["metrics"], want, f"seed {seed}, {name}, {bins} bins"))
            for name, want in answers["own_bin"].items():
                got = run("--own-bin-for-1", *levels, f"metrics-{name}.mp")
                counts.append(compare(got["sets"][0]["metrics"], want, f"seed {seed}, {name}, own bin for 1"))
            got = run("--members", "metrics-ensemble.mp")
            counts.append(compare(got["sets"][1]["metrics"], answers["members"]["ensemble"], f"seed {seed}, members"))
            for pair in answers["detection"]:
                got = run(f"in=metrics-{pair['set']}.mp", "--ood", f"in:out=metrics-{pair['against']}.mp")
                counts.append(compare(got["detection"][0]["metrics"], pair["metrics"],
                                      f"seed {seed}, {pair['set']} against {pair['against']}"))
            got = run("--seeds", "--baseline", "base", "--bootstrap", "20", *levels,
                      *(f"s=metrics-{name}.mp" for name in SEEDS), f"base=metrics-{BASELINE}.mp")
            mean = next(s["metrics"] for s in got["sets"] if s["name"] == "s")
            want = answers["seeds"]
            counts.append(compare(mean, want["mean"], f"seed {seed}, mean over seeds"))
            counts.append(compare(mean, want["deviation"], f"seed {seed}, deviation over seeds", "deviation"))
            counts.append(compare(got["differences"][0]["metrics"], want["difference"], f"seed {seed}, differences"))
            total += sum(c for c, _ in counts)
            wrong += sum(b for _, b in counts)
    print(f"metrics: {total - wrong} of {total} values agree to 1e-9")
    return 1 if wrong or not total else 0


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(sys.argv[2])
    else:
        sys.exit(check(sys.argv[2]))
