"""What decide must find, from MAPIE, TorchCP, scikit-learn and scipy.

  decide.py record FOLDER      writes fit.mp, test.mp, temperature.mp and decide.json there, what make test compares
                               with, and rule-*.mp, rules with one fault each
  decide.py check DECIDE       fresh random predictions, that program's rules and decisions against theirs; then its
                               promises, over 1,000 draws from a random set of predictions
  decide.py promises DECIDE PREDICTIONS...    those promises on labelled predictions of a model

MAPIE draws for its APS scores, sum - U p; with U = 0 they are decide's and TorchCP's. Its sets without the last label
are {c: sum up to c <= q}, as theirs, but never empty.
scikit-learn's temperature is one over TemperatureScaling's beta.
"""
import json
import subprocess
import sys
import tempfile
import types
import warnings

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import binom

import duq_stream

warnings.filterwarnings("ignore")
ALPHAS = (0.05, 0.1, 0.3)
CLASSES = 4
HEADER = {"schema": "prediction", "task": "oracle", "classes": [f"class {c}" for c in range(CLASSES)],
          "model": "0123456789abcdef", "head": "dirichlet"}


# ---- predictions ----

def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def draw(rng, n, too_sure=1.8):
    """Labels come of softmax(z), predictions are softmax(too_sure z)."""
    z = rng.normal(0, 1.5, (n, CLASSES))
    y = np.array([rng.choice(CLASSES, p=row) for row in softmax(z)])
    return softmax(too_sure * z), y


def entropy(p):
    return -(p * np.log(np.where(p > 0, p, 1))).sum(1)


def write(path, prefix, p, y):
    total = entropy(p)
    duq_stream.write(path, HEADER, [
        {"id": f"{prefix}{i}", "label": int(y[i]), "probs": p[i], "total": float(total[i]),
         "aleatoric": float(0.7 * total[i]), "epistemic": float(0.3 * total[i])} for i in range(len(p))])


# ---- MAPIE and TorchCP ----

class Zero(np.random.RandomState):
    def uniform(self, *args, size=None, **kwargs):
        return np.zeros(size)


def mapie_sets(score, p, y, q, alpha):
    from mapie.classification import SplitConformalClassifier
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        """The probabilities are the inputs."""
        def fit(self, x, y):
            self.classes_, self.is_fitted_ = np.arange(CLASSES), True
            return self

        def predict_proba(self, x):
            return x

        def predict(self, x):
            return x.argmax(1)

        def __sklearn_is_fitted__(self):
            return True

    c = SplitConformalClassifier(Given().fit(p, y), confidence_level=1 - alpha, conformity_score=score, prefit=True,
                                 random_state=Zero())
    c.conformalize(p, y)
    more = {"conformity_score_params": {"include_last_label": False}} if score == "aps" else {}
    sets = c.predict_set(q, **more)[1][:, :, 0]
    return sets.astype(bool), float(np.ravel(c._mapie_classifier.conformity_score_function_.quantiles_)[0])


def torchcp_sets(score, p, y, q, alpha, conditional):
    import torch
    # What its training losses and graphs import has to be compiled or is large; the predictors do not use it.
    for name in ("torchsort", "torchcp.graph", "torchcp.llm"):
        sys.modules.setdefault(name, types.SimpleNamespace(soft_rank=None, soft_sort=None))
    from torchcp.classification.predictor import ClassConditionalPredictor, SplitPredictor
    from torchcp.classification.score import APS, LAC
    of = LAC(score_type="identity") if score == "lac" else APS(score_type="identity", randomized=False)
    predictor = (ClassConditionalPredictor if conditional else SplitPredictor)(of)
    torch.set_default_dtype(torch.float64)  # of the thresholds for each class
    logits, labels = torch.tensor(p, dtype=torch.float64), torch.tensor(y)
    predictor.calculate_threshold(logits, labels, alpha)
    sets = predictor.predict_with_logits(torch.tensor(q, dtype=torch.float64)).numpy().astype(bool)
    return sets, np.atleast_1d(np.asarray(predictor.q_hat, float)).tolist()


def edges(score, q, thresholds):
    """Where a class is in the set or not by the rounding of sums: its score is the threshold, to 1e-12."""
    order = np.argsort(-q, 1)
    sums = np.take_along_axis(np.take_along_axis(q, order, 1).cumsum(1), np.argsort(order, 1), 1)
    return (np.abs((1 - q if score == "lac" else sums) - np.array(thresholds)) < 1e-12).astype(int).tolist()


# ---- temperature ----

def sklearn_temperature(p, y):
    from sklearn.calibration import _TemperatureScaling
    t = _TemperatureScaling().fit(np.log(p), y)
    return 1 / float(t.beta_)


def nll(p, y, temperature):
    z = np.log(p) / temperature
    z -= z.max(1, keepdims=True)
    return float((np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]).mean())


def scipy_temperature(p, y):
    r = minimize_scalar(lambda b: nll(p, y, 1 / b), bounds=(1e-3, 50), method="bounded", options={"xatol": 1e-13})
    return 1 / float(r.x), float(r.fun)


# ---- limits on the uncertainty ----

def uncertainties(p, by):
    top = np.sort(p, 1)[:, ::-1]
    return {"confidence": 1 - top[:, 0], "margin": 1 - (top[:, 0] - top[:, 1]), "total": entropy(p)}[by]


def sequence(p, y, by, risk, confidence, start, tests):
    """Fixed-sequence testing at evenly spaced numbers of answers, predictions without ties."""
    u, wrong = uncertainties(p, by), p.argmax(1) != y
    order = np.argsort(u)
    u, wrong, n, limit, trace = u[order], np.cumsum(wrong[order]), len(u), None, []
    for i in range(tests):
        j = start + i * (n - start) // (tests - 1)
        value = binom.cdf(wrong[j - 1], j, risk)
        trace.append({"answered": j, "wrong": int(wrong[j - 1]), "p": float(value)})
        if value > 1 - confidence:
            break
        limit = float(u[j]) if j < n else None
    return {"limit": limit, "tests": trace}


def expected(p, y, by, risk):
    u, wrong = uncertainties(p, by), p.argmax(1) != y
    for limit in np.r_[np.inf, np.sort(u)[::-1]]:
        if (1 + (wrong & (u < limit)).sum()) / (len(u) + 1) <= risk:
            return float(limit) if np.isfinite(limit) else None


# ---- recording ----

LIMITS = [("confidence", 0.15, 0.9, 20, 25), ("margin", 0.2, 0.8, 30, 12), ("total", 0.25, 0.95, 25, 40)]


def answers(p, y, q, t, ty):
    out = {"sets": [], "limits": [], "expected": []}
    for score in ("lac", "aps"):
        for alpha in ALPHAS:
            sets, threshold = mapie_sets(score, p, y, q, alpha)
            out["sets"].append({"of": "mapie", "score": score, "alpha": alpha, "conditional": False,
                                "thresholds": [threshold], "sets": sets.astype(int).tolist(),
                                "edges": edges(score, q, threshold)})
            for conditional in (False, True):
                sets, thresholds = torchcp_sets(score, p, y, q, alpha, conditional)
                out["sets"].append({"of": "torchcp", "score": score, "alpha": alpha, "conditional": conditional,
                                    "thresholds": thresholds, "sets": sets.astype(int).tolist(),
                                    "edges": edges(score, q, thresholds)})
    for by, risk, confidence, start, tests in LIMITS:
        out["limits"].append({"by": by, "risk": risk, "confidence": confidence, "start": start, "thresholds": tests,
                              **sequence(p, y, by, risk, confidence, start, tests)})
    for by in ("confidence", "margin", "total"):
        for risk in (0.05, 0.1, 0.9):
            out["expected"].append({"by": by, "risk": risk, "limit": expected(p, y, by, risk)})
    best, least = scipy_temperature(t, ty)
    out["temperature"] = {"scipy": best, "nll": least, "sklearn": sklearn_temperature(t, ty)}
    return out


def make(folder, rng, sizes=(150, 60, 120)):
    parts = [draw(rng, n) for n in sizes]
    for name, (p, y) in zip(("fit", "test", "temperature"), parts):
        write(f"{folder}/{name}.mp", name[0] + name[1], p, y)
    (p, y), (q, _), (t, ty) = parts
    return answers(p, y, q, t, ty)


ALL = {"class": None, "take": "all", "threshold": None, "n": 9}
RISK, SET = {"kind": "risk", "by": "confidence"}, {"kind": "set", "score": "lac"}
BAD_RULES = {  # name: (fit, limits)
    "kind": ({**RISK, "kind": "luck"}, [ALL]),
    "by": ({**RISK, "by": "feeling"}, [ALL]),
    "no-fit": (None, [ALL]),
    "no-limit": (RISK, []),
    "two-limits": (SET, [ALL, {**ALL, "class": 1}]),
    "class": (RISK, [{**ALL, "class": 0}]),
    "class-order": (SET, [{**ALL, "class": c} for c in (0, 2, 1, 3)]),
    "class-missing": (SET, [{**ALL, "class": c} for c in (0, 1, 2)]),
    "side": (SET, [{**ALL, "take": "below", "threshold": 0.5}]),
    "take": (RISK, [{**ALL, "take": "above", "threshold": 0.5}]),
    "threshold": (RISK, [{**ALL, "take": "below"}]),
    "temperature": ({**RISK, "temperature": {"value": -1.0}}, [ALL]),
    "tempered": ({**RISK, "by": "epistemic", "temperature": {"value": 2.0}}, [ALL]),
}


def record(folder):
    for name, (fit, limits) in BAD_RULES.items():
        duq_stream.write(f"{folder}/rule-{name}.mp", {**HEADER, "schema": "rule", "fit": fit}, limits)
    with open(f"{folder}/decide.json", "w") as f:
        json.dump(make(folder, np.random.default_rng(11)), f)
        f.write("\n")


# ---- comparing ----

class Program:
    def __init__(self, path, folder):
        self.path, self.folder = path, folder

    def fit(self, *options, file="fit.mp"):
        subprocess.run([self.path, "-q", "-o", "rule.mp", *map(str, options), file], check=True, cwd=self.folder)
        header, limits = duq_stream.read(f"{self.folder}/rule.mp")
        return header["fit"], limits

    def decisions(self, file="test.mp"):
        subprocess.run([self.path, "-q", "--apply", "rule.mp", "-o", "decisions.mp", file], check=True, cwd=self.folder)
        return duq_stream.read(f"{self.folder}/decisions.mp", {"set": np.int32})[1]


def compare(program, want, worst):
    def near(what, got, expected):
        worst[what] = max(worst.get(what, 0.0), abs(got - expected))

    for s in want["sets"]:
        options = ["--set", s["alpha"], "--score", s["score"]] + ["--class-conditional"] * s["conditional"]
        limits = program.fit(*options)[1]
        for got, threshold in zip(limits, s["thresholds"], strict=True):
            near(f"threshold of {s['of']}, {s['score']}", got["threshold"], threshold)
        for got, row, edge in zip(program.decisions(), s["sets"], s["edges"], strict=True):
            have = np.isin(np.arange(CLASSES), got["set"]).astype(int)
            if s["of"] == "mapie" and s["score"] == "aps" and not have.any():
                worst["MAPIE's APS sets that are empty here"] = worst.get("MAPIE's APS sets that are empty here", 0) + 1
                assert sum(row) == 1
                continue
            differs = have != row
            assert not (differs & ~np.array(edge, bool)).any(), (s["of"], s["score"], s["alpha"], have, row)
            worst["sets that differ in a score at the threshold"] = \
                worst.get("sets that differ in a score at the threshold", 0) + differs.any()
            worst["sets compared"] = worst.get("sets compared", 0) + 1
    for s in want["limits"]:
        fit, limits = program.fit("--risk", s["risk"], "--confidence", s["confidence"], "--by", s["by"], "--start",
                                  s["start"], "--thresholds", s["thresholds"], "--or-abstain")
        assert [(t["answered"], t["wrong"]) for t in fit["tests"]] == [(t["answered"], t["wrong"]) for t in s["tests"]]
        for got, t in zip(fit["tests"], s["tests"]):
            near("p value", got["p"], t["p"])
        if s["limit"] is not None:
            near("limit", limits[0]["threshold"], s["limit"])
        else:
            assert limits[0]["threshold"] is None
    for s in want["expected"]:
        limit = program.fit("--expected-risk", s["risk"], "--by", s["by"])[1][0]
        assert (limit["threshold"] is None) == (s["limit"] is None)
        if s["limit"] is not None:
            near("limit of expected risk", limit["threshold"], s["limit"])
    t = want["temperature"]
    fit = program.fit("--set", 0.1, "--temperature", "temperature.mp")[0]["temperature"]
    near("temperature, scipy", fit["value"], t["scipy"])
    near("temperature, scikit-learn", fit["value"], t["sklearn"])
    near("nll", fit["nll"], t["nll"])


def read_pool(paths):
    parts = [duq_stream.read(path, {"probs": np.float64})[1] for path in paths]
    records = [r for part in parts for r in part]
    return np.stack([r["probs"] for r in records]), np.array([r["label"] for r in records])


def most(n, chance):
    return n * chance + 3 * np.sqrt(n * chance * (1 - chance))


def promises(program, p, y, draws, n, rng, risk=0.2):
    """The pool is the distribution: fitting texts are drawn from it, with replacement, and what is true of it counts.
    Says how often promises were broken; whether less often than they may be, but for 3 standard deviations."""
    u, wrong = uncertainties(p, "confidence"), p.argmax(1) != y
    lac = 1 - p[np.arange(len(y)), y]
    broken, answered = {"sequence": 0, "bonferroni": 0, "naive": 0}, {"sequence": [], "bonferroni": []}
    harmed, covered = [], []

    def is_broken(limit):
        return (u < limit).any() and wrong[u < limit].mean() > risk

    for _ in range(draws):
        rows = rng.integers(0, len(y), n)
        write(f"{program.folder}/draw.mp", "d", p[rows], y[rows])
        for testing in answered:
            limit = program.fit("--risk", risk, "--testing", testing, "--or-abstain", file="draw.mp")[1][0]
            limit = {"all": np.inf, "none": -np.inf}.get(limit["take"], limit["threshold"])
            answered[testing].append((u < limit).mean())
            broken[testing] += is_broken(limit)
        order = np.argsort(u[rows], kind="stable")
        kept = np.flatnonzero(np.cumsum(wrong[rows][order]) <= risk * np.arange(1, n + 1))
        broken["naive"] += len(kept) > 0 and is_broken(np.nextafter(u[rows][order][kept[-1]], 2))
        limit = program.fit("--expected-risk", 0.1, "--or-abstain", file="draw.mp")[1][0]
        limit = {"all": np.inf, "none": -np.inf}.get(limit["take"], limit["threshold"])
        harmed.append((wrong & (u < limit)).mean())
        covered.append((lac <= program.fit("--set", 0.1, file="draw.mp")[1][0]["threshold"]).mean())
    allowed = most(draws, 0.1)
    print(f"{draws} draws of {n} texts from {len(y)}: risk above {risk} (promised with confidence 0.9) in "
          f"{broken['sequence']} by sequence, {broken['bonferroni']} by bonferroni, at most {allowed:.0f}; without "
          f"statistics in {broken['naive']}; answered {np.mean(answered['sequence']):.3f} and "
          f"{np.mean(answered['bonferroni']):.3f}; wrongly answered {np.mean(harmed):.4f} of 0.1, covered "
          f"{np.mean(covered):.4f} of 0.9")
    return (max(broken["sequence"], broken["bonferroni"]) <= allowed
            and np.mean(harmed) <= 0.1 + 3 * np.std(harmed) / np.sqrt(draws)
            and np.mean(covered) >= 0.9 - 3 * np.std(covered) / np.sqrt(draws))


def promise_on(path, pools):
    rng = np.random.default_rng(7)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for p, y in pools:
            HEADER["classes"] = [f"class {c}" for c in range(p.shape[1])]
            good &= promises(Program(path, folder), p, y, 1000, 300, rng)
    return 0 if good else 1


def check(path):
    worst = {}
    for seed in range(20, 25):
        with tempfile.TemporaryDirectory() as folder:
            compare(Program(path, folder), make(folder, np.random.default_rng(seed)), worst)
    for what, value in worst.items():
        print(f"{what}: {value:.3g}")
    exact = [v for k, v in worst.items() if "sets" not in k and "temperature" not in k and k != "nll"]
    assert max(exact) < 1e-12 and worst["nll"] < 1e-12
    assert worst["temperature, scipy"] < 1e-6 and worst["temperature, scikit-learn"] < 1e-6
    return promise_on(path, [draw(np.random.default_rng(1), 2000)])


if __name__ == "__main__":
    if sys.argv[1] == "record":
        sys.exit(record(sys.argv[2]))
    sys.exit(check(sys.argv[2]) if sys.argv[1] == "check" else promise_on(sys.argv[2], [read_pool(sys.argv[3:])]))
