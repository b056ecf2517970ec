"""Students as the published code (Harsha1969/BPE-KD) trains and evaluates them, in our own rendering of its procedure.

usage: published_students.py record LORA-TRAIN MODELS FOLDER   writes FOLDER/published.json (tests/data/lora/streams)
       published_students.py check BIN MODELS FOLDER           these again, live, and detection; with SMOLLM2, the path of
                                                               SmolLM2-135M-Instruct's folder, ten steps on that too

Prompts are an instruction, a newline and the content that ends in an open phrase, without a list of classes; a class
is read at the first token of its name; texts pass the model one by one, in file order; torch.optim.AdamW as it comes, at
one rate; losses in single precision, alphas not below 0.001. A student with a fixed alpha0 is evaluated without it.
Dropout is left out, for its draws are another generator's, and the adapter's first values are those that lora-train
draws.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

import duq_stream

MODES = {"softmax": ["--loss", "softmax", "--rank", "8", "--alpha", "16"],
         "standard": ["--loss", "dirichlet", "--rank", "16", "--alpha", "32"],
         "fixed": ["--loss", "dirichlet", "--rank", "16", "--alpha", "32", "--alpha0", "fixed:10"],
         "learnable": ["--loss", "dirichlet", "--rank", "16", "--alpha", "32", "--alpha0", "learned"]}
FIXED_ALPHA0, ALPHA0_RATE, BETA = 10.0, 1e-3, 1.0
STEPS = 10
# The published rate, and one at which ten steps show, for the small model.
PUBLISHED_RATE, RATE = 1e-5, 1e-3


# ---- the published procedure ----

def outputs(mode, logits):
    if mode == "softmax":
        return F.softmax(logits, dim=1)
    return torch.clamp(F.softplus(logits) + 1, min=1e-3)


def softmax_loss(probs, teacher, weights):
    return F.kl_div(probs.log(), (teacher * weights).sum(2), reduction="batchmean")


def dirichlet_loss(alpha, teacher, weights):
    """teacher: [texts, classes, members]"""
    likelihood = ((alpha.unsqueeze(2) - 1) * torch.log(teacher + 1e-8)).sum(1) @ weights
    return -(torch.lgamma(alpha.sum(1)) - torch.lgamma(alpha).sum(1) + likelihood).mean()


def loss_of(mode, out, teacher, weights, log_alpha0):
    if mode == "softmax":
        return softmax_loss(out, teacher, weights)
    if mode == "fixed":
        out = out * (FIXED_ALPHA0 / out.sum(1, keepdim=True))
    loss = dirichlet_loss(out, teacher, weights)
    if mode == "learnable":
        loss = loss + BETA * ((out.sum(1) - torch.exp(log_alpha0)) ** 2).mean()
    return loss


def train(mode, model, texts, class_tokens, teacher, weights, batch, rate):
    """Losses of STEPS steps, and what the student then gives for all texts."""
    def logits(some):
        return torch.stack([model(torch.tensor([t]), logits_to_keep=1).logits[0, -1, class_tokens].float() for t in some])

    log_alpha0 = torch.nn.Parameter(torch.tensor(2.3025851))
    groups = [{"params": [q for q in model.parameters() if q.requires_grad], "lr": rate}]
    if mode == "learnable":
        groups.append({"params": [log_alpha0], "lr": ALPHA0_RATE})
    optimizer = torch.optim.AdamW(groups)
    losses = []
    while len(losses) < STEPS:
        for first in range(0, len(texts), batch):
            rows = slice(first, first + batch)
            optimizer.zero_grad()
            loss = loss_of(mode, outputs(mode, logits(texts[rows])), teacher[rows], weights, log_alpha0)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with torch.no_grad():
        out = outputs(mode, logits(texts))
    assert len(losses) == STEPS
    return {"losses": losses, "outputs": out.tolist(), "alpha0": log_alpha0.exp().item()}


# ---- beside lora-train ----

def options(mode, model_folder, teacher, batch, rate, n):
    return ["--model", model_folder, "--teacher", teacher, *MODES[mode], "--lr", str(rate), "--dropout", "0", "--batch",
            str(batch), "--epochs", str(STEPS * batch // n), "--compute", "f32"]


def student(lora_train, mode, model_folder, data, batch, rate, n, *more):
    subprocess.run([lora_train, "-q", *options(mode, model_folder, data["teacher"], batch, rate, n), *more, data["tokens"]],
                   check=True)


def untrained(lora_train, mode, model_folder, data, batch):
    """A peft model with the values that lora-train begins with."""
    import peft
    from transformers import AutoModelForCausalLM
    n = len(duq_stream.read(data["tokens"])[1])
    with tempfile.TemporaryDirectory() as work:
        start = os.path.join(work, "start")
        # So small a rate leaves the initial values as they are.
        student(lora_train, mode, model_folder, data, batch, 1e-30, n, "-o", start)
        base = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
        return peft.PeftModel.from_pretrained(base, start, is_trainable=True)


def theirs(lora_train, mode, model_folder, data, batch, rate):
    header, records = duq_stream.read(data["tokens"], {"tokens": "<i4"})
    teacher_header, teacher = duq_stream.read(data["teacher"], {"members": "<f8"})
    p = np.array([r["members"].reshape(len(teacher_header["weights"]), -1).T for r in teacher])
    return train(mode, untrained(lora_train, mode, model_folder, data, batch), [r["tokens"].tolist() for r in records],
                 header["class_tokens"], torch.tensor(p, dtype=torch.float32),
                 torch.tensor(teacher_header["weights"], dtype=torch.float32), batch, rate)


def compare(binaries, mode, model_folder, data, batch, rate, want):
    """The worst relative difference of a loss, and difference of a probability and of an alpha."""
    n = len(duq_stream.read(data["tokens"])[1])
    with tempfile.TemporaryDirectory() as work:
        log, adapter, out = (os.path.join(work, name) for name in ("log.tsv", "a.lora", "out.mp"))
        student(f"{binaries}/lora-train", mode, model_folder, data, batch, rate, n, "--log", log, "-o", adapter)
        unscaled = ["--alphas", "unscaled"] if mode == "fixed" else []
        subprocess.run([f"{binaries}/lm-score", "-q", "--model", model_folder, "--adapter", adapter, "--compute", "f32",
                        *unscaled, "-o", out, data["tokens"]], check=True)
        losses = np.loadtxt(log, skiprows=1, usecols=1)
        _, records = duq_stream.read(out, {"probs": "<f8", "alpha": "<f8"})
    given = np.array(want["outputs"])
    probs = np.abs(np.array([r["probs"] for r in records]) - given / given.sum(1, keepdims=True)).max()
    alphas = 0.0 if mode == "softmax" else np.abs(np.array([r["alpha"] for r in records]) / given - 1).max()
    return np.abs(losses / want["losses"] - 1).max(), probs, alphas


def recorded(folder):
    return {"tokens": os.path.join(folder, "tokens.mp"), "teacher": os.path.join(folder, "teacher.mp")}


BATCH = 12  # of 24 texts


def record(lora_train, models, folder):
    answers = {mode: theirs(lora_train, mode, f"{models}/llama-tied", recorded(folder), BATCH, RATE) for mode in MODES}
    with open(f"{folder}/published.json", "w") as f:
        json.dump(answers, f)
        f.write("\n")


# ---- live ----

def text_streams(model_folder, folder):
    """Tokens and a teacher of a few texts in the published layout."""
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    classes = ["dull", "bright"]
    contents = ["a slow evening", "nothing but joy", "the lamp hums", "it rains again", "such a fine walk", "grey, all grey",
                "we laughed a lot", "no one came"]
    prompts = [f"Say what mood the note is in.\nnote: {c}\nthe note is " for c in contents]
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (len(prompts), 1, 2)) + rng.normal(size=(len(prompts), 3, 2))
    members = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    weights = [0.5, 0.3, 0.2]
    data = {"tokens": os.path.join(folder, "tokens.mp"), "teacher": os.path.join(folder, "teacher.mp")}
    duq_stream.write(data["tokens"], {"schema": "tokens", "classes": classes, "prompts": 1,
                                      "class_tokens": [tokenizer.encode(c)[0] for c in classes]},
                     [{"id": f"t{i}", "prompt": 0, "tokens": np.array(tokenizer.encode(p), "<i4"), "label": None}
                      for i, p in enumerate(prompts)])
    duq_stream.write(data["teacher"], {"schema": "prediction", "classes": classes, "head": "ensemble", "weights": weights},
                     [{"id": f"t{i}", "label": None, "probs": np.einsum("m,mc->c", weights, m), "members": m, "total": 0.5,
                       "aleatoric": 0.4, "epistemic": 0.1} for i, m in enumerate(members)])
    return data


def check_students(binaries, model_folder, data, batch, rate):
    worst = np.zeros(3)
    for mode in MODES:
        want = theirs(f"{binaries}/lora-train", mode, model_folder, data, batch, rate)
        worst = np.maximum(worst, compare(binaries, mode, model_folder, data, batch, rate, want))
    print(f"{os.path.basename(model_folder)}: ten steps of {', '.join(MODES)} students: losses within {worst[0]:.1e} of the "
          f"published procedure's, then probabilities within {worst[1]:.1e} and alphas within {worst[2]:.1e} of themselves")
    return worst[0] < 1e-4 and worst[1] < 1e-4 and worst[2] < 1e-4


def check_detection(binaries):
    """AUROC and Wasserstein distance of the total entropies, of sets of two and of ten classes."""
    from scipy.stats import entropy, wasserstein_distance
    from sklearn.metrics import roc_auc_score
    rng = np.random.default_rng(5)
    worst = 0.0
    with tempfile.TemporaryDirectory() as work:
        sets = {}
        for name, classes, n in (("own", 2, 400), ("other", 2, 300), ("ten", 10, 300)):
            alpha = 1 + rng.gamma(1, 6, (n, classes))
            p = alpha / alpha.sum(1, keepdims=True)
            sets[name] = entropy(p, axis=1)
            np.save(f"{work}/{name}.npy", p)
            subprocess.run([f"{binaries}/rec", "from-npy", "-o", f"{work}/{name}.mp", f"{work}/{name}.npy"], check=True)
        for other in ("other", "ten"):
            out = subprocess.run([f"{binaries}/dir-eval", "--json", f"own={work}/own.mp", "--ood",
                                  f"other={work}/{other}.mp"], check=True, capture_output=True).stdout
            got = json.loads(out)["detection"][0]["metrics"]
            truth = np.r_[np.zeros(len(sets["own"])), np.ones(len(sets[other]))]
            worst = max(worst,
                        abs(got["auroc_total"]["value"] - roc_auc_score(truth, np.r_[sets["own"], sets[other]])),
                        abs(got["wasserstein_total"]["value"] - wasserstein_distance(sets["own"], sets[other])))
    print(f"detection by total entropy: AUROC and W1 within {worst:.1e} of scikit-learn's and scipy's")
    return worst < 1e-9


def check(binaries, models, folder):
    good = check_students(binaries, f"{models}/llama-tied", recorded(folder), BATCH, RATE)
    good &= check_detection(binaries)
    if "SMOLLM2" in os.environ:
        with tempfile.TemporaryDirectory() as work:
            good &= check_students(binaries, os.environ["SMOLLM2"], text_streams(os.environ["SMOLLM2"], work), 4,
                                   PUBLISHED_RATE)
    return 0 if good else 1


if __name__ == "__main__":
    torch.manual_seed(0)
    if sys.argv[1] == "record":
        record(*sys.argv[2:])
    else:
        sys.exit(check(*sys.argv[2:]))
