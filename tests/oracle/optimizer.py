"""Writes tests/data/lora/adamw.tsv: 40 steps of torch.optim.AdamW on three parameters under a cosine schedule with
warm-up (transformers') and gradient clipping at norm 1. Columns: step, learning rate, gradient norm before clipping,
then per parameter its gradient (before clipping) and its value after the step. The third is a group of its own rate.
"""
import sys

import torch
from transformers import get_cosine_schedule_with_warmup

torch.manual_seed(5)
path = sys.argv[1] if len(sys.argv) > 1 else "tests/data/lora/adamw.tsv"
parameters = [torch.nn.Parameter(torch.tensor(v)) for v in (0.5, -2.0, 2.3025851)]
optimizer = torch.optim.AdamW([{"params": parameters[:2], "lr": 1e-2}, {"params": parameters[2:], "lr": 1e-3}])
schedule = get_cosine_schedule_with_warmup(optimizer, 5, 40)
with open(path, "w") as f:
    for step in range(40):
        gradients = torch.randn(3) * [0.1, 1.0, 3.0][step % 3]
        for p, g in zip(parameters, gradients):
            p.grad = g.clone()
        rate = optimizer.param_groups[0]["lr"]
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        print(step, repr(rate), repr(norm.item()), *(repr(v) for p, g in zip(parameters, gradients)
                                                     for v in (g.item(), p.item())), sep="\t", file=f)
