#!/usr/bin/env python3
"""Answers of several tokens by transformers and PEFT, for lm-score and lora-train to be held against.

usage: answers.py record MODELS LORA FOLDER           streams, class logits and masses
       answers.py curves LORA-TRAIN MODELS LORA FOLDER    losses of 30 steps of training on such class logits
       answers.py compare FOLDER FOLDER               whether two recordings agree to rounding

MODELS is tests/data/engine, LORA tests/data/lora. A class's logit is put together here from one unpadded sequence for
each beginning of an answer: the logit of the first token, then log-softmaxes over the tokens that go on.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers

import duq_stream
import lora_streams

CASES = {  # model, adapter or None, answers
    "synonyms": ("llama-tied", None, [[[5], [7]], [[9]], [[11], [13], [17]]]),
    "chain": ("llama-tied", None, [[[5, 7, 9]], [[5, 7, 11]], [[13]]]),
    "branches": ("mistral-window", None, [[[5, 7, 3], [20]], [[5, 7, 9], [5, 8]], [[6, 7], [6, 9, 11]], [[6, 9, 12]]]),
    "digits": ("qwen2-bias", None, [[[4, 4]], [[4, 5]], [[5, 4]], [[5, 5, 4]], [[5, 5, 5]]]),
    "plain": ("llama-tied", None, [[[3]], [[50]], [[95]]]),
    "capped": ("gemma2", None, [[[5, 7, 3], [20]], [[5, 7, 9], [5, 8]], [[6, 7]]]),
    "scaled": ("granite", None, [[[5, 7]], [[5, 9]], [[11], [6, 8]], [[6, 9]]]),
    "adapted": ("mistral-window", "mistral", [[[5, 7], [20]], [[5, 8], [21, 3]], [[21, 4]]]),
}
TRAINED = [[[5, 7], [20]], [[5, 8], [21, 3, 9]], [[21, 3, 4]]]
CURVES = {"softmax": ("mistral-window", "softmax"), "standard": ("mistral-window", "standard"),  # model, loss
          "labels": ("mistral-window", "labels"), "edl": ("mistral-window", "edl"), "gemma2": ("gemma2", "standard")}


def texts():
    """Longer than mistral-window's window of 40; some begin alike, one is another's beginning."""
    rng = np.random.default_rng(11)

    def draw(n):
        return rng.integers(3, 96, n).tolist()

    first, second = [1] + draw(60), [1] + draw(25)
    return [first + draw(n) for n in (1, 9, 30)] + [second + draw(n) for n in (3, 14)] + [first, [1] + draw(4), [1]]


def continuations(answers):
    """beginning: the tokens with which answers go on"""
    out = {}
    for own in answers:
        for a in own:
            for i, token in enumerate(a):
                out.setdefault(tuple(a[:i]), {})[token] = None
    return {k: list(v) for k, v in out.items()}


def read(model, text, answers):
    """Logits of the whole vocabulary after each beginning."""
    return {b: model(torch.tensor([text + list(b)]), logits_to_keep=1).logits[0, -1] for b in continuations(answers)}


def class_logits(logits, answers):
    on = continuations(answers)

    def score(a):
        value = logits[()][a[0]]
        for i in range(1, len(a)):
            beginning = tuple(a[:i])
            value = value + logits[beginning][a[i]] - torch.logsumexp(logits[beginning][on[beginning]], 0)
        return value

    return torch.stack([torch.logsumexp(torch.stack([score(a) for a in own]), 0) for own in answers])


def mass(logits, answers):
    steps = {b: torch.log_softmax(x.double(), 0) for b, x in logits.items()}
    return sum(np.exp(sum(steps[tuple(a[:i])][a[i]].item() for i in range(len(a)))) for own in answers for a in own)


def header(answers):
    plain = all(len(own) == 1 and len(own[0]) == 1 for own in answers)
    tokens = {"class_tokens": [own[0][0] for own in answers]} if plain else {"answer_tokens": answers}
    return {"schema": "tokens", "classes": [f"c{i}" for i in range(len(answers))], "prompts": 1, "made": [], **tokens}


def load(models, name, lora, adapter):
    model = transformers.AutoModelForCausalLM.from_pretrained(os.path.join(models, name), dtype=torch.float32).eval()
    if adapter:
        import peft
        model = peft.PeftModel.from_pretrained(model, os.path.join(lora, adapter)).eval()
    return model


def write_tokens(path, head, rows, labels):
    duq_stream.write(path, head, [{"id": f"t{i}", "prompt": 0, "tokens": np.array(t, "<i4"), "label": label}
                                  for i, (t, label) in enumerate(zip(rows, labels))])


# What lm-score and lora-train must refuse: a beginning of another answer, the same answer, no token, too many.
BAD = {"bad-prefix": [[[5]], [[5, 7]], [[9]]], "bad-equal": [[[5, 7]], [[5, 7]], [[9]]],
       "bad-empty": [[[5]], [[]], [[9]]], "bad-none": [[[5]], [], [[9]]], "bad-token": [[[5]], [[-7]], [[9]]],
       "bad-large": [[[5, 7]], [[5, 96]], [[9]]], "bad-count": [[[5, 7]], [[5, 8]]]}


def record(models, lora, folder):
    answers = {}
    for name, (source, adapter, tree) in CASES.items():
        model = load(models, source, lora, adapter)
        write_tokens(os.path.join(folder, f"{name}.mp"), header(tree), texts(), [None] * len(texts()))
        with torch.no_grad():
            read_at = [read(model, t, tree) for t in texts()]
            answers[name] = {"model": source, "adapter": adapter,
                             "logits": [[round(x, 6) for x in class_logits(r, tree).tolist()] for r in read_at],
                             "mass": [round(float(mass(r, tree)), 9) for r in read_at]}
    for name, tree in BAD.items():
        head = {**header(CASES["branches"][2][:3]), "answer_tokens": tree}
        write_tokens(os.path.join(folder, f"{name}.mp"), head, [[1, 5]], [0])
    write_tokens(os.path.join(folder, "train.mp"), {**header(TRAINED), "classes": lora_streams.CLASSES},
                 lora_streams.texts(), lora_streams.LABELS)
    with open(os.path.join(folder, "scores.json"), "w") as f:
        f.write("{" + ",\n".join(f'"{n}": {json.dumps(a)}' for n, a in answers.items()) + "}\n")


def curve(lora_train, model_folder, lora, folder, kind, steps=30, batch=5, rate=3e-3):
    """Losses of PyTorch's run from the initial adapter that lora-train draws."""
    import peft
    teacher = [] if kind in lora_streams.ON_LABELS else ["--teacher", os.path.join(lora, "streams", "teacher.mp")]
    with tempfile.TemporaryDirectory() as work:
        start = os.path.join(work, "start")
        subprocess.run([lora_train, "--model", model_folder, *teacher, *lora_streams.OPTIONS[kind],
                        *lora_streams.COMMON, "--lr", "1e-30", "--epochs", "1", "-o", start,
                        os.path.join(folder, "train.mp")], check=True)
        base = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
        model = peft.PeftModel.from_pretrained(base, start, is_trainable=True)
    parameters = [q for q in model.parameters() if q.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, 5, 50)
    rows, labels = lora_streams.texts(), torch.tensor(lora_streams.LABELS)
    p = torch.tensor(lora_streams.members(), dtype=torch.float32)
    losses = []
    for step in range(steps):
        per_epoch = -(-len(rows) // batch)
        part = slice(step % per_epoch * batch, step % per_epoch * batch + batch)
        logits = torch.stack([class_logits(read(model, t, TRAINED), TRAINED) for t in rows[part]])
        loss = lora_streams.loss_of(kind, logits, p[part], labels[part], None, step // per_epoch, step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def curves(lora_train, models, lora, folder):
    answers = {name: curve(lora_train, os.path.join(models, model), lora, folder, kind)
               for name, (model, kind) in CURVES.items()}
    with open(os.path.join(folder, "curves.tsv"), "w") as f:
        print("step", *answers, sep="\t", file=f)
        for i, row in enumerate(zip(*answers.values())):
            print(i + 1, *(f"{v:.8g}" for v in row), sep="\t", file=f)


def compare(one, other):
    worst = 0
    a, b = (json.load(open(os.path.join(f, "scores.json"))) for f in (one, other))
    for name in CASES:
        worst = max(worst, np.abs(np.array(a[name]["logits"]) - np.array(b[name]["logits"])).max(),
                    np.abs(np.array(a[name]["mass"]) - np.array(b[name]["mass"])).max())
    x, y = (np.loadtxt(os.path.join(f, "curves.tsv"), skiprows=1) for f in (one, other))
    apart = np.abs(x - y).max()
    print(f"answers: {len(CASES)} recorded cases within {worst:.2g}, losses within {apart:.2g} of PyTorch's now")
    return worst < 1e-4 and apart < 1e-3


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    if len(sys.argv) == 5 and sys.argv[1] == "record":
        record(*sys.argv[2:])
    elif len(sys.argv) == 6 and sys.argv[1] == "curves":
        curves(*sys.argv[2:])
    elif len(sys.argv) == 4 and sys.argv[1] == "compare":
        sys.exit(not compare(*sys.argv[2:]))
    else:
        sys.exit(__doc__)
