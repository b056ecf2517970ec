#!/usr/bin/env python3
"""What the tests of lora-train read, and PyTorch's answers.

usage: lora_streams.py streams FOLDER                  token streams, teachers, and bad ones
       lora_streams.py curves LORA-TRAIN MODEL FOLDER  losses of 50 steps by transformers + PEFT + torch.optim.AdamW,
                                                       and after each epoch what PyTorch, scikit-learn and
                                                       torchmetrics say of texts held out
       lora_streams.py check BIN MODELS FOLDER         live: these again; adapters to and from PEFT; optimizer state
                                                       after three steps; what merging changes

The streams' texts are random tokens of the small models of tests/data/engine; half of them begin alike.
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

CLASSES, CLASS_TOKENS, N, MEMBERS = ["bad", "fair", "good"], [3, 50, 95], 24, 4
FLOOR = 1e-8


N_HELD_OUT, HELD_OUT = 19, {"seed": 17, "n": 19, "letter": "v"}


def texts(seed=7, n=N, **_):
    rng = np.random.default_rng(seed)
    shared = [1, *rng.integers(3, 96, 12).tolist()]
    return [(shared if i % 2 else [1]) + rng.integers(3, 96, 2 + i % 5).tolist() for i in range(n)]


def members(seed=7, n=N, **_):
    rng = np.random.default_rng(seed + 1)
    logits = rng.normal(size=(n, 1, 3)) * 2 + rng.normal(size=(n, MEMBERS, 3))
    p = np.exp(logits)
    return p / p.sum(2, keepdims=True)


WEIGHTS = [0.4, 0.3, 0.2, 0.1]
LABELS = [i * 7 % 3 for i in range(N)]


def token_records(labels=LABELS, letter="t", **which):
    return [{"id": f"{letter}{i}", "prompt": 0, "tokens": np.array(t, "<i4"), "label": labels[i]}
            for i, t in enumerate(texts(**which))]


def token_header(**more):
    return {"schema": "tokens", "classes": CLASSES, "class_tokens": CLASS_TOKENS, "prompts": 1, "made": [], **more}


def teacher_header(**more):
    return {"schema": "prediction", "classes": CLASSES, "head": "ensemble", "weights": WEIGHTS, "made": [], **more}


def teacher_records(letter="t", **which):
    return [{"id": f"{letter}{i}", "label": LABELS[i], "probs": np.einsum("m,mc->c", WEIGHTS, m), "members": m,
             "total": 0.5, "aleatoric": 0.4, "epistemic": 0.1} for i, m in enumerate(members(**which))]


def streams(folder):
    def tokens(name, header, records, close=True):
        duq_stream.write(os.path.join(folder, f"tokens{name}.mp"), header, records, close)

    def teacher(name, header, records):
        duq_stream.write(os.path.join(folder, f"teacher{name}.mp"), header, records)

    tokens("", token_header(), token_records())
    tokens("-unlabelled", token_header(), token_records([None] * N))
    tokens("-cut", token_header(), token_records(), close=False)
    tokens("-empty", token_header(), [])
    tokens("-strange", token_header(), token_records() + [
        {"id": "x", "prompt": 0, "tokens": np.array([1, 96], "<i4"), "label": 0}])
    tokens("-long", token_header(), [{"id": "x", "prompt": 0, "tokens": np.ones(513, "<i4"), "label": 0}])
    tokens("-other-classes", token_header(class_tokens=[3, 50, 94]), token_records())
    tokens("-inner", token_header(class_tokens=INNER_TOKENS), token_records())
    tokens("-held-out", token_header(), token_records(**HELD_OUT))
    tokens("-held-out-inner", token_header(class_tokens=INNER_TOKENS), token_records(**HELD_OUT))
    # All but three without a label, and these three.
    few = [LABELS[i] if i < 3 else None for i in range(N_HELD_OUT)]
    tokens("-held-out-few", token_header(), token_records(few, **HELD_OUT))
    teacher("-held-out", teacher_header(), teacher_records(**HELD_OUT))
    tokens("-no-classes", {"schema": "tokens", "made": []}, token_records())
    good = teacher_records()
    teacher("", teacher_header(), good)
    teacher("-more", teacher_header(), good + [dict(good[0], id="u")])
    teacher("-less", teacher_header(), good[:-1])
    teacher("-twice", teacher_header(), good + good[:1])
    teacher("-no-weights", {k: v for k, v in teacher_header().items() if k != "weights"}, good)
    teacher("-few-weights", teacher_header(weights=[0.5, 0.5]), good)
    teacher("-no-members", teacher_header(), [{k: v for k, v in r.items() if k != "members"} for r in good])
    teacher("-classes", teacher_header(classes=["a", "b", "c"]), good)
    teacher("-labels", teacher_header(), [dict(r, label=0) for r in good])
    teacher("-sum", teacher_header(), good[:3] + [dict(good[3], probs=np.array([0.5, 0.2, 0.2]))])


# Class tokens none of which is among the last of the vocabulary of 96, where ib-edl has its deviations.
INNER_TOKENS, DEVIATION_TOKENS = [3, 50, 60], [93, 94, 95]
IB_BETA, IB_SAMPLES = 1e-3, 20


def philox4x32(counter, seed):
    """Salmon et al. 2011, ten rounds."""
    key = [seed & 0xffffffff, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [b >> 32 ^ counter[1] ^ key[0], b & 0xffffffff, a >> 32 ^ counter[3] ^ key[1], a & 0xffffffff]
        key = [(key[0] + 0x9E3779B9) & 0xffffffff, (key[1] + 0xBB67AE85) & 0xffffffff]
    return counter


def draws(step, row):
    """The draws of a row of a step (one pass each), with the seed 0."""
    x = []
    for i in range(len(CLASSES) * IB_SAMPLES // 2):
        u, v = ((w + 0.5) / 2 ** 32 for w in philox4x32([i, row, 0x7ffffffe, step], 0)[:2])
        x += [np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v), np.sqrt(-2 * np.log(u)) * np.sin(2 * np.pi * v)]
    return np.reshape(x, (IB_SAMPLES, len(CLASSES)))


def bottleneck(logits, labels, step):
    mean, deviation = logits[:, :3], F.softplus(logits[:, 3:])
    noise = torch.tensor(np.array([draws(step, row) for row in range(len(logits))]), dtype=logits.dtype)
    given = torch.distributions.Dirichlet(1 + F.softplus(mean[:, None] + deviation[:, None] * noise))
    y = F.one_hot(labels, 3).to(logits.dtype)[:, None]
    risk = ((y - given.mean) ** 2 + given.variance).sum(2).mean()
    return risk + IB_BETA * 0.5 * (mean ** 2 + deviation ** 2 - 2 * deviation.log() - 1).sum(1).mean()


EDL_ANNEALING = 4  # epochs: the weight of the KL grows, and is 1 in most of the epochs
ON_LABELS = ("labels", "edl", "ib-edl", "weighted", "weighted-edl")
CLASS_WEIGHTS = [0.5, 2, 1.25]


def evidential(logits, labels, epoch, weights=(1, 1, 1)):
    y = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    alpha = 1 + F.softplus(logits)
    given, flat = torch.distributions.Dirichlet(alpha), torch.distributions.Dirichlet(torch.ones_like(alpha))
    risk = ((y - given.mean) ** 2 + given.variance).sum(1)
    misleading = torch.distributions.Dirichlet(y + (1 - y) * alpha)
    loss = risk + min(1, epoch / EDL_ANNEALING) * torch.distributions.kl_divergence(misleading, flat)
    weights = torch.tensor(weights, dtype=logits.dtype)[labels]
    return (weights * loss).sum() / weights.sum()


def loss_of(kind, logits, p, labels, s, epoch=0, step=0):
    if kind == "labels":
        return F.cross_entropy(logits, labels)
    if kind == "weighted":
        return F.cross_entropy(logits, labels, weight=torch.tensor(CLASS_WEIGHTS, dtype=logits.dtype))
    if kind == "edl":
        return evidential(logits, labels, epoch)
    if kind == "weighted-edl":
        return evidential(logits, labels, epoch, CLASS_WEIGHTS)
    if kind == "ib-edl":
        return bottleneck(logits, labels, step)
    mixture = torch.einsum("m,bmc->bc", torch.tensor(WEIGHTS, dtype=p.dtype), p)
    if kind == "softmax":
        return F.kl_div(F.log_softmax(logits, 1), mixture, reduction="batchmean")
    alpha = 1 + F.softplus(logits)
    if kind == "fixed":
        alpha = alpha * (10 / alpha.sum(1, keepdim=True))
    density = (torch.lgamma(alpha.sum(1)) - torch.lgamma(alpha).sum(1)
               + torch.einsum("m,bmc,bc->b", torch.tensor(WEIGHTS, dtype=p.dtype), (p + FLOOR).log(), alpha - 1))
    loss = -density.mean()
    if kind == "learned":
        loss = loss + ((alpha.sum(1) - s.exp()) ** 2).mean()
    return loss


OPTIONS = {"softmax": ["--loss", "softmax"], "labels": ["--loss", "labels"],
           "standard": ["--loss", "dirichlet"], "fixed": ["--loss", "dirichlet", "--alpha0", "fixed:10"],
           "learned": ["--loss", "dirichlet", "--alpha0", "learned"],
           "edl": ["--loss", "edl", "--edl-annealing", str(EDL_ANNEALING)],
           "ib-edl": ["--loss", "ib-edl", "--ib-beta", str(IB_BETA)],
           "weighted": ["--loss", "labels", "--class-weights", ",".join(map(str, CLASS_WEIGHTS))],
           "weighted-edl": ["--loss", "edl", "--edl-annealing", str(EDL_ANNEALING),
                            "--class-weights", ",".join(map(str, CLASS_WEIGHTS))]}
# 10 epochs of 5 batches, the last of them smaller.
COMMON = ["--lr", "3e-3", "--dropout", "0", "--rank", "4", "--alpha", "8", "--batch", "5", "--epochs", "10",
          "--compute", "f32", "--clip", "1", "--schedule", "cosine", "--warmup", "5"]


def mean_alpha(mean, raw):
    """Of an ib-edl student's class, by quadrature."""
    import scipy.integrate
    deviation = np.logaddexp(0, raw)
    return 1 + scipy.integrate.quad(lambda e: np.logaddexp(0, mean + deviation * e) * np.exp(-e * e / 2)
                                    / np.sqrt(2 * np.pi), -12, 12, epsabs=1e-11, limit=500)[0]


def probabilities(kind, logits):
    if kind in ("softmax", "labels", "weighted"):
        return torch.softmax(logits, 1)
    if kind == "ib-edl":
        alpha = torch.tensor([[mean_alpha(row[c], row[3 + c]) for c in range(3)] for row in logits.tolist()])
    else:
        alpha = 1 + F.softplus(logits)
    return alpha / alpha.sum(1, keepdim=True)


# The number of the pass that ib-edl's draws are of in validation, and an epoch in which edl's KL has all its weight.
VALIDATION_PASS, LAST_EPOCH = 0x7fffffff, 10 ** 9


def validate(kind, model, classes, s):
    """Loss, negative log-likelihood, accuracy and expected calibration error on the texts held out."""
    from sklearn.metrics import accuracy_score, log_loss
    from torchmetrics.functional.classification import multiclass_calibration_error
    with torch.no_grad():
        logits = torch.stack([model(torch.tensor([t]), logits_to_keep=1).logits[0, -1, classes]
                              for t in texts(**HELD_OUT)]).double()
        labels = torch.tensor(LABELS[:N_HELD_OUT])
        loss = loss_of(kind, logits, torch.tensor(members(**HELD_OUT)), labels, s.double(), LAST_EPOCH, VALIDATION_PASS)
        probs = probabilities(kind, logits)
    ece = multiclass_calibration_error(probs, labels, num_classes=3, n_bins=10, norm="l1")
    return [loss.item(), log_loss(labels, probs), accuracy_score(labels, probs.argmax(1)), ece.item()]


def curve(lora_train, model_folder, data, kind, texts, p, labels, classes, epochs=10, batch=5, rate=3e-3,
          dtype=torch.float32):
    """Losses of PyTorch's run from the initial adapter that lora-train draws, and validate() after each epoch. dtype: of
    the base model; the adapter's values are f32, as PEFT has them."""
    import peft
    from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup
    tokens = "tokens.mp"
    if kind == "ib-edl":
        tokens, classes = "tokens-inner.mp", INNER_TOKENS + DEVIATION_TOKENS
    with tempfile.TemporaryDirectory() as work:
        # So small a rate leaves the initial values as they are.
        start = os.path.join(work, "start")
        teacher = [] if kind in ON_LABELS else ["--teacher", os.path.join(data, "teacher.mp")]
        subprocess.run([lora_train, "--model", model_folder, *teacher, *OPTIONS[kind], *COMMON, "--lr", "1e-30",
                        "--epochs", "1", "-o", start, os.path.join(data, tokens)], check=True)
        base = AutoModelForCausalLM.from_pretrained(model_folder, dtype=dtype)
        model = peft.PeftModel.from_pretrained(base, start, is_trainable=True)
    parameters = [q for q in model.parameters() if q.requires_grad]
    s = torch.nn.Parameter(torch.tensor(2.3025851))
    groups = [{"params": parameters, "lr": rate}] + ([{"params": [s], "lr": 1e-3}] if kind == "learned" else [])
    optimizer = torch.optim.AdamW(groups)
    per_epoch = -(-len(texts) // batch)
    schedule = get_cosine_schedule_with_warmup(optimizer, 5, epochs * per_epoch)
    everything = [q for g in groups for q in g["params"]]
    losses, validations = [], []
    for epoch in range(epochs):
        for first in range(0, len(texts), batch):
            rows = slice(first, first + batch)
            logits = torch.stack([model(torch.tensor([t]), logits_to_keep=1).logits[0, -1, classes].float()
                                  for t in texts[rows]])
            loss = loss_of(kind, logits, p[rows], labels[rows], s, epoch, len(losses))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(everything, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        validations.append(validate(kind, model, classes, s))
    return losses, validations


# Students whose losses with a bf16 base are recorded as well, and do not come near 0 on the way.
IN_BF16 = ("softmax", "labels")


def small_curve(lora_train, model_folder, folder, kind, dtype=torch.float32):
    return curve(lora_train, model_folder, folder, kind, texts(), torch.tensor(members(), dtype=torch.float32),
                 torch.tensor(LABELS), CLASS_TOKENS, dtype=dtype)


def curves(lora_train, model_folder, folder):
    answers = {kind: small_curve(lora_train, model_folder, folder, kind) for kind in OPTIONS}
    columns = {kind: losses for kind, (losses, _) in answers.items()}
    for kind in IN_BF16:
        columns[kind + "-bf16"] = small_curve(lora_train, model_folder, folder, kind, torch.bfloat16)[0]
    with open(os.path.join(folder, "curves.tsv"), "w") as f:
        print("step", *columns, sep="\t", file=f)
        for i, row in enumerate(zip(*columns.values())):
            print(i + 1, *(f"{v:.8g}" for v in row), sep="\t", file=f)
    with open(os.path.join(folder, "validation.tsv"), "w") as f:
        print("student", "epoch", "loss", "nll", "accuracy", "ece", sep="\t", file=f)
        for kind, (_, validations) in answers.items():
            for i, figures in enumerate(validations):
                print(kind, i + 1, *(f"{v:.8g}" for v in figures), sep="\t", file=f)


# ---- live ----

def state_after(model_folder, start, options, steps, kind, rate):
    """PyTorch's exp_avg of every adapter tensor after some steps on the whole set as one batch."""
    import peft
    from transformers import AutoModelForCausalLM
    base = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, start, is_trainable=True)
    named = {n.replace(".default.", "."): q for n, q in model.named_parameters() if q.requires_grad}
    optimizer = torch.optim.AdamW(named.values(), lr=rate)
    p = torch.tensor(members(), dtype=torch.float32)
    for _ in range(steps):
        logits = torch.stack([model(torch.tensor([t]), logits_to_keep=1).logits[0, -1, CLASS_TOKENS] for t in texts()])
        loss = loss_of(kind, logits, p, torch.tensor(LABELS), None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {n: optimizer.state[q]["exp_avg"] for n, q in named.items()}


def compare_state(binaries, model_folder, folder, work):
    """The checkpoint of a killed run holds AdamW's averages of the gradients: every tensor's worst error over its
    largest element, against PyTorch's."""
    import signal
    import time

    from safetensors.torch import load_file
    rate, checkpoint = 1e-4, os.path.join(work, "a.lora.checkpoint")
    options = ["--model", model_folder, "--teacher", os.path.join(folder, "teacher.mp"), "--loss", "dirichlet",
               "--dropout", "0", "--rank", "4", "--batch", str(N), "--targets", "q,k,v,o,gate,up,down,lm_head",
               "--compute", "f32", os.path.join(folder, "tokens.mp")]
    start = os.path.join(work, "start")
    subprocess.run([binaries + "/lora-train", *options, "--lr", "1e-30", "--epochs", "1", "-o", start], check=True)
    run = subprocess.Popen([binaries + "/lora-train", *options, "--lr", str(rate), "--epochs", "1000000",
                            "--checkpoint-every", "3", "-o", os.path.join(work, "a.lora")])
    while not os.path.exists(checkpoint):
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    run.wait()
    ours = load_file(checkpoint)
    with open(checkpoint, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        steps = int(json.loads(f.read(size))["__metadata__"]["step"])
    worst = 0
    theirs = state_after(model_folder, start, options, steps, "standard", rate)
    for name, want in theirs.items():
        name = name.removeprefix("base_model.model.").removesuffix(".weight") + ".adamw_m"
        if name.startswith("lm_head.lora_B"):  # ours are the classes' rows; the others see no gradient
            others = [row for row in range(len(want)) if row not in CLASS_TOKENS]
            assert not want[others].any()
            want = want[CLASS_TOKENS]
        got = ours[name].reshape(want.shape)
        worst = max(worst, ((got - want).abs().max() / want.abs().max()).item())
    print(f"{os.path.basename(model_folder)}: AdamW's averages of {len(theirs)} gradients after {steps} steps within "
          f"{worst:.2g} of PyTorch's", flush=True)
    return worst < 1e-3


def our_logits(binaries, model_folder, folder, *options):
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([binaries + "/lm-score", "--model", model_folder, "--head", "none", *options,
                        os.path.join(folder, "tokens.mp")], stdout=out, check=True)
        _, records = duq_stream.read(out.name, {"logits": "<f4"})
    return np.array([r["logits"] for r in records], dtype=np.float64)


def their_logits(model):
    with torch.no_grad():
        return np.array([model(torch.tensor([t]), logits_to_keep=1).logits[0, -1, CLASS_TOKENS].double().numpy()
                         for t in texts()])


def compare_adapters(binaries, model_folder, folder, work):
    """An adapter of ours in PEFT, the same saved by PEFT here, and merged ones."""
    import warnings

    import peft
    from transformers import AutoModelForCausalLM
    ours, theirs = os.path.join(work, "ours"), os.path.join(work, "theirs")
    subprocess.run([binaries + "/lora-train", "--model", model_folder, "--teacher", os.path.join(folder, "teacher.mp"),
                    "--loss", "dirichlet", "--lr", "3e-3", "--epochs", "20", "--rslora", "--rank", "6", "-o", ours,
                    "--targets", "q,v,o,up,down,lm_head", os.path.join(folder, "tokens.mp")], check=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = peft.AutoPeftModelForCausalLM.from_pretrained(ours, dtype=torch.float32)
    complaints = [str(w.message) for w in said if "adapter keys" in str(w.message)]
    want = their_logits(model)
    base = our_logits(binaries, model_folder, folder, "--compute", "f32")
    read = np.abs(our_logits(binaries, model_folder, folder, "--adapter", ours, "--compute", "f32") - want).max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(theirs)
    back = np.abs(our_logits(binaries, model_folder, folder, "--adapter", theirs, "--compute", "f32") - want).max()
    # Merged in the type that the weights are stored in, as PEFT merges a model loaded in it.
    stored = AutoModelForCausalLM.from_pretrained(model_folder, dtype="auto")
    dtype, tied = stored.dtype, stored.config.tie_word_embeddings
    merge = our_logits(binaries, model_folder, folder, "--adapter", ours, "--merge", "--compute", "f32")
    if tied:  # PEFT's merge would change the embedding too: hold ours against the unmerged logits
        against = np.abs(merge - want).max()
    else:
        against = np.abs(merge - their_logits(peft.PeftModel.from_pretrained(stored, ours).merge_and_unload().float())).max()
    print(f"{os.path.basename(model_folder)}: the adapter moves logits by up to {np.abs(want - base).max():.3g}; read by "
          f"PEFT ({len(complaints)} complaints about keys) they are within {read:.2g}, saved by PEFT and read here "
          f"within {back:.2g}; merged as {dtype} they move by up to {np.abs(merge - want).max():.2g}, within "
          f"{against:.2g} of {'the unmerged' if tied else 'PEFT merged'}", flush=True)
    rounding = 1e-4 if not tied or dtype == torch.float32 else 0.1
    return not complaints and read < 1e-4 and back < 1e-4 and against < rounding


def compare_bottleneck(binaries, model_folder, folder, work):
    """The mean alphas of an ib-edl student, by scipy's quadrature from the logits of its adapter in PEFT."""
    import peft
    ours, tokens = os.path.join(work, "ours"), os.path.join(folder, "tokens-inner.mp")
    subprocess.run([binaries + "/lora-train", "--model", model_folder, *OPTIONS["ib-edl"], "--lr", "3e-3", "--epochs", "20",
                    "--compute", "f32", "-o", ours, tokens], check=True)
    model = peft.AutoPeftModelForCausalLM.from_pretrained(ours, dtype=torch.float32)
    with torch.no_grad():
        logits = np.array([model(torch.tensor([t]), logits_to_keep=1).logits[0, -1, INNER_TOKENS + DEVIATION_TOKENS]
                           .double().numpy() for t in texts()])

    want = np.array([[mean_alpha(row[c], row[3 + c]) for c in range(3)] for row in logits])
    off = []
    for merged in ([], ["--merge"]):
        with tempfile.NamedTemporaryFile() as out:
            subprocess.run([binaries + "/lm-score", "--model", model_folder, "--adapter", ours, *merged, "--compute", "f32",
                            tokens], stdout=out, check=True)
            _, records = duq_stream.read(out.name, {"alpha": "<f8"})
        off.append(np.abs(np.array([r["alpha"] for r in records]) / want - 1).max())
    plain = np.abs((1 + np.logaddexp(0, logits[:, :3])) / want - 1).max()
    print(f"ib-edl: mean alphas within {off[0]:.2g}, merged {off[1]:.2g} of scipy's from PEFT's logits; those without "
          f"deviations are {plain:.2g} off", flush=True)
    return max(off) < 1e-4 and plain > 1e-2


def compare_balanced(binaries, model_folder, folder, work):
    """--class-weights balanced against scikit-learn's, on labels of which there are not equally many."""
    from sklearn.utils.class_weight import compute_class_weight
    labels, tokens, adapter = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2], os.path.join(work, "some.mp"), os.path.join(work, "some")
    duq_stream.write(tokens, token_header(), token_records(labels, n=len(labels)))
    subprocess.run([binaries + "/lora-train", "--model", model_folder, "--loss", "labels", "--class-weights", "balanced",
                    "--epochs", "1", "-o", adapter, tokens], check=True)
    with open(os.path.join(adapter, "duq.json")) as f:
        ours = json.load(f)["training"]["class_weights"]
    off = np.abs(ours / compute_class_weight("balanced", classes=np.arange(3), y=np.array(labels)) - 1).max()
    print(f"balanced class weights within {off:.2g} of scikit-learn's", flush=True)
    return off < 1e-12


def compare_curves(binaries, model_folder, folder, work):
    good = True
    with open(os.path.join(folder, "curves.tsv")) as f:
        recorded = np.loadtxt(f, skiprows=1)[:, 1:]
    with open(os.path.join(folder, "validation.tsv")) as f:
        held_out = np.loadtxt(f, skiprows=1, usecols=(2, 3, 4, 5)).reshape(len(OPTIONS), -1, 4)
    for column, kind in enumerate(OPTIONS):
        losses, validations = small_curve(binaries + "/lora-train", model_folder, folder, kind)
        off = np.abs(recorded[:, column] / np.array(losses) - 1).max()
        apart = np.abs(held_out[column] - np.array(validations)).max()
        print(f"{kind}: 50 recorded losses within {off:.2g} of PyTorch's now, figures of the texts held out within "
              f"{apart:.2g}", flush=True)
        good &= off < 1e-4 and apart < 1e-4
    return good


def compare_bf16(binaries, model_folder, folder, work):
    """50 losses with what multiplies bf16: PEFT's and ours beside PEFT's in f32."""
    good, log = True, os.path.join(work, "log.tsv")
    for kind in IN_BF16:
        single, _ = small_curve(binaries + "/lora-train", model_folder, folder, kind)
        theirs, _ = small_curve(binaries + "/lora-train", model_folder, folder, kind, torch.bfloat16)
        teacher = [] if kind in ON_LABELS else ["--teacher", os.path.join(folder, "teacher.mp")]
        subprocess.run([binaries + "/lora-train", "--model", model_folder, *teacher, *OPTIONS[kind], *COMMON,
                        "--compute", "bf16", "--log", log, "-o", os.path.join(work, kind),
                        os.path.join(folder, "tokens.mp")], check=True)
        ours = np.loadtxt(log, skiprows=1, usecols=1)
        peft_off, off = (np.abs(np.array(losses) / np.array(single) - 1).max() for losses in (theirs, ours))
        apart = np.abs(ours / np.array(theirs) - 1).max()
        print(f"{os.path.basename(model_folder)}, {kind}: 50 losses in bf16 beside PEFT's in f32: PEFT's within "
              f"{peft_off:.2g}, ours within {off:.2g}; beside "
              f"each other within {apart:.2g}", flush=True)
        good &= off < 2 * peft_off and apart < 0.05
    return good


def same_stream(a, b):
    """The same bytes but for a teacher's numbers, whose last digit another numpy or processor rounds otherwise."""
    with open(a, "rb") as x, open(b, "rb") as y:
        if x.read() == y.read():
            return True
    (head, ours), (recorded_head, recorded) = (duq_stream.read(x, {"probs": "<f8", "members": "<f8"}) for x in (a, b))

    def same(x, y):
        if not isinstance(x, np.ndarray):
            return x == y
        return np.shape(x) == np.shape(y) and np.allclose(x, y, rtol=0, atol=1e-15)

    return head == recorded_head and len(ours) == len(recorded) and all(
        one.keys() == other.keys() and all(same(one[k], other[k]) for k in one) for one, other in zip(ours, recorded))


def check(binaries, models, folder):
    good = True
    with tempfile.TemporaryDirectory() as fresh:
        streams(fresh)
        for name in sorted(os.listdir(fresh)):
            good &= same_stream(os.path.join(fresh, name), os.path.join(folder, name))
    print(f"the recorded streams are {'' if good else 'NOT '}what the script makes", flush=True)
    good &= compare_curves(binaries, os.path.join(models, "llama-tied"), folder, None)
    for name in ("llama-tied", "mistral-window", "qwen3"):
        with tempfile.TemporaryDirectory() as work:
            good &= compare_bf16(binaries, os.path.join(models, name), folder, work)
    with tempfile.TemporaryDirectory() as work:
        good &= compare_bottleneck(binaries, os.path.join(models, "llama-tied"), folder, work)
        good &= compare_balanced(binaries, os.path.join(models, "llama-tied"), folder, work)
    for name in ("mistral-window", "qwen2-bias", "llama-bias"):
        with tempfile.TemporaryDirectory() as work:
            good &= compare_state(binaries, os.path.join(models, name), folder, work)
    for name in ("mistral-window", "qwen2-bias", "llama-bias", "mistral-shards", "llama-linear", "qwen3-window", "gemma3",
                 "smollm3", "phi3", "phi4-mini", "granite", "olmo2", "ministral"):
        with tempfile.TemporaryDirectory() as work:
            good &= compare_adapters(binaries, os.path.join(models, name), folder, work)
    return good


if __name__ == "__main__":
    import transformers
    transformers.logging.set_verbosity_error()
    if len(sys.argv) == 5 and sys.argv[1] == "check":
        sys.exit(not check(*sys.argv[2:]))
    elif len(sys.argv) == 3 and sys.argv[1] == "streams":
        streams(sys.argv[2])
    elif len(sys.argv) == 5 and sys.argv[1] == "curves":
        curves(*sys.argv[2:])
    else:
        sys.exit(__doc__)
