#!/usr/bin/env python3
"""Adapter gradients by transformers + PEFT for lora-train to be held against.

usage: gradients.py record MODELS FOLDER [CASE ...]    on the small models of tests/data/engine
       gradients.py compare FOLDER FOLDER   whether two recordings agree to rounding

For each case an adapter as PEFT saves it (random A and B), a batch of token sequences of which some begin alike, a
teacher's members, and in double precision: the class logits, the Dirichlet loss and its gradient by every tensor of
the adapter. Of bf16: how far PEFT's gradients there, with a bf16 base and adapters in f32 as it loads them, are off from
those at the worst, of the largest in their tensor.
"""
import json
import os
import shutil
import sys

import peft
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file

CASES = {  # model, targets, rank, alpha, rank-stabilised, stored type
    "mistral": ("mistral-window", ["q_proj", "k_proj", "v_proj", "o_proj", "lm_head"], 4, 8, False, torch.float32),
    "llama-all": ("llama-bias", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
                                 "lm_head"], 3, 5, True, torch.float32),
    "qwen2-tied": ("qwen2-bias", ["k_proj", "v_proj", "down_proj", "lm_head"], 2, 4, False, torch.bfloat16),
    "qwen3": ("qwen3", ["q_proj", "k_proj", "o_proj", "lm_head"], 2, 4, False, torch.bfloat16),
    "gemma2": ("gemma2", ["q_proj", "v_proj", "gate_proj", "down_proj", "lm_head"], 2, 4, False, torch.bfloat16),
    "gemma3": ("gemma3", ["q_proj", "k_proj", "o_proj", "up_proj", "lm_head"], 2, 4, False, torch.bfloat16),
    "smollm3": ("smollm3", ["q_proj", "k_proj", "lm_head"], 2, 4, False, torch.bfloat16),
    "phi4-mini": ("phi4-mini", ["qkv_proj", "o_proj", "gate_up_proj", "lm_head"], 2, 4, False, torch.bfloat16),
    "granite": ("granite", ["q_proj", "o_proj", "down_proj", "lm_head"], 2, 4, False, torch.bfloat16),
    "olmo2": ("olmo2", ["q_proj", "k_proj", "o_proj", "down_proj", "lm_head"], 2, 4, False, torch.bfloat16),
    "ministral3": ("ministral3", ["q_proj", "k_proj", "lm_head"], 2, 4, False, torch.bfloat16),
}
CLASSES = [3, 50, 95]
FLOOR = 1e-8


def batch(generator):
    def draw(n):
        return torch.randint(3, 96, (n,), generator=generator).tolist()

    first, second = [1] + draw(69), [1] + draw(20)
    return [first + draw(n) for n in (3, 66, 1)] + [second + draw(n) for n in (5, 2)] + [[1] + draw(30), [1]]


def class_logits(model, texts):
    return torch.stack([model(torch.tensor([t]), logits_to_keep=1).logits[0, -1, CLASSES] for t in texts])


def dirichlet_loss(logits, members, weights):
    alpha = 1 + F.softplus(logits, threshold=300)
    density = (torch.lgamma(alpha.sum(1)) - torch.lgamma(alpha).sum(1)
               + torch.einsum("m,bmc,bc->b", weights, (members + FLOOR).log(), alpha - 1))
    return -density.mean()


def random_adapter(base, targets, rank, alpha, rslora, dtype, folder):
    model = peft.get_peft_model(base, peft.LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=targets, use_rslora=rslora, task_type="CAUSAL_LM"))
    for name, p in model.named_parameters():
        if "lora_" in name:
            with torch.no_grad():
                p.copy_((torch.randn_like(p) * 0.3).to(torch.bfloat16))
    model.save_pretrained(folder)
    path = os.path.join(folder, "adapter_model.safetensors")
    tensors = {k: v.to(dtype if "lora_" in k else torch.float32) for k, v in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    os.remove(os.path.join(folder, "README.md"))
    return model


def bf16_error(source, folder, texts, members, weights, gradients):
    base = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    model = peft.PeftModel.from_pretrained(base, folder, is_trainable=True)
    dirichlet_loss(class_logits(model, texts).double(), members, weights).backward()
    worst = 0
    for name, p in model.named_parameters():
        if "lora_" in name:
            want = gradients[name.replace(".default.", ".")].double()
            got = p.grad[CLASSES] if "lm_head.lora_B" in name else p.grad
            worst = max(worst, ((got.double() - want).abs().max() / want.abs().max()).item())
    return worst


def record(models, folder, only):
    answers = {}
    if only:
        with open(os.path.join(folder, "gradients.json")) as f:
            answers = json.load(f)
    for seed, (name, (source, targets, rank, alpha, rslora, dtype)) in enumerate(CASES.items()):
        if only and name not in only:
            continue
        torch.manual_seed(seed)
        base = transformers.AutoModelForCausalLM.from_pretrained(os.path.join(models, source), dtype=torch.float64)
        path = os.path.join(folder, name)
        shutil.rmtree(path, ignore_errors=True)
        model = random_adapter(base, targets, rank, alpha, rslora, dtype, path).double()
        texts = batch(torch.Generator().manual_seed(seed))
        members = torch.softmax(torch.randn(len(texts), 4, len(CLASSES), dtype=torch.float64) * 2, 2)
        weights = torch.softmax(torch.randn(4, dtype=torch.float64), 0)
        logits = class_logits(model, texts)
        loss = dirichlet_loss(logits, members, weights)
        loss.backward()
        gradients = {n.replace(".default.", "."): p.grad.float().contiguous()
                     for n, p in model.named_parameters() if "lora_" in n}
        # Of lm_head's B the class rows alone see gradient: the rest is not worth storing.
        head = gradients.pop("base_model.model.lm_head.lora_B.weight")
        rest = [i for i in range(head.shape[0]) if i not in CLASSES]
        assert head[rest].abs().max() == 0
        gradients["base_model.model.lm_head.lora_B.weight"] = head[CLASSES].contiguous()
        save_file(gradients, os.path.join(path, "gradients.safetensors"))
        error = bf16_error(os.path.join(models, source), path, texts, members, weights, gradients)
        answers[name] = {"model": source, "class_tokens": CLASSES, "tokens": texts, "members": members.tolist(),
                         "weights": weights.tolist(), "logits": logits.tolist(), "loss": loss.item(),
                         "bf16_error": error}
    with open(os.path.join(folder, "gradients.json"), "w") as f:
        json.dump(answers, f)


def compare(one, other):
    worst = 0
    for name in CASES:
        a, b = (load_file(os.path.join(f, name, "gradients.safetensors")) for f in (one, other))
        assert a.keys() == b.keys()
        worst = max([worst] + [((a[k] - b[k]).abs().max() / b[k].abs().max()).item() for k in a])
    print(f"gradients: {len(CASES)} recorded cases within {worst:.2g} of PEFT's now")
    return worst < 1e-5


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    if len(sys.argv) >= 4 and sys.argv[1] == "record":
        record(sys.argv[2], sys.argv[3], sys.argv[4:])
    elif len(sys.argv) == 4 and sys.argv[1] == "compare":
        sys.exit(not compare(*sys.argv[2:]))
    else:
        sys.exit(__doc__)
