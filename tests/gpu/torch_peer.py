#!/usr/bin/env python3
"""duq's logits and times beside those of a Mistral or Llama in plain PyTorch on the same device.

usage: torch_peer.py MODEL SCORED SCORES TRAINED BATCH

MODEL: a folder with config.json and safetensors. SCORED, TRAINED: tokens as `rec to-json` prints them, SCORES: what
lm-score made of SCORED, in the same order. Weights and activations are bf16, attention is scaled_dot_product_attention;
records are padded to the longest of a batch; class logits are computed at last positions alone. Training: LoRA of rank
16, alpha 32, dropout 0.05 in f32 on q, k, v, o and of the classes' output rows, AdamW, cross-entropy; with and without
activation checkpointing.
"""
import json
import mmap
import os
import struct
import sys
import time

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

CLASSES = [3, 4]  # as session.sh makes them up
TYPES = {"BF16": torch.bfloat16, "F32": torch.float32, "F16": torch.float16}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
RANK, SCALE, DROPOUT = 16, 2.0, 0.05


def read_tensors(folder):
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".safetensors"):
            continue
        with open(os.path.join(folder, name), "rb") as f:
            data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
        size = struct.unpack("<Q", data[:8])[0]
        for key, t in json.loads(data[8:8 + size]).items():
            if key != "__metadata__":
                count = (t["data_offsets"][1] - t["data_offsets"][0]) // TYPES[t["dtype"]].itemsize
                flat = torch.frombuffer(data, dtype=TYPES[t["dtype"]], count=count, offset=8 + size + t["data_offsets"][0])
                tensors[key] = flat.reshape(t["shape"]).to(DEVICE, torch.bfloat16)
    return tensors


class Peer:
    def __init__(self, folder):
        with open(os.path.join(folder, "config.json")) as f:
            c = json.load(f)
        self.t = read_tensors(folder)
        self.layers, self.heads = c["num_hidden_layers"], c["num_attention_heads"]
        self.kv_heads, self.eps = c.get("num_key_value_heads", self.heads), c["rms_norm_eps"]
        self.head = c.get("head_dim") or c["hidden_size"] // self.heads
        theta = c.get("rope_theta") or c.get("rope_parameters", {}).get("rope_theta", 1e4)
        self.frequencies = theta ** -(torch.arange(0, self.head, 2, device=DEVICE, dtype=torch.float32) / self.head)
        out = self.t.get("lm_head.weight")
        self.out = (self.t["model.embed_tokens.weight"] if out is None else out)[CLASSES]
        self.lora = {}

    def add_lora(self):
        torch.manual_seed(0)
        for i in range(self.layers):
            for p in "qkvo":
                name = f"model.layers.{i}.self_attn.{p}_proj.weight"
                self.lora[name] = self.pair(*self.t[name].shape)
        self.lora["out"] = self.pair(*self.out.shape)
        return [x for pair in self.lora.values() for x in pair]

    def pair(self, out, width):
        a = (torch.rand(RANK, width, device=DEVICE) * 2 - 1) / width ** 0.5
        return a.requires_grad_(), torch.zeros(out, RANK, device=DEVICE, requires_grad=True)

    def product(self, x, w, name):
        y = F.linear(x, w)
        if name not in self.lora:
            return y
        a, b = self.lora[name]
        return y + (SCALE * F.linear(F.linear(F.dropout(x.float(), DROPOUT), a), b)).to(y.dtype)

    def project(self, x, name):
        return self.product(x, self.t[name], name)

    def norm(self, x, name):
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.t[name]

    def rotate(self, x, cos, sin):
        a, b = x.float().chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)

    def layer(self, x, i, cos, sin):
        n, length, _ = x.shape
        at = f"model.layers.{i}."
        y = self.norm(x, at + "input_layernorm.weight")
        q, k, v = (self.project(y, f"{at}self_attn.{p}_proj.weight").view(n, length, -1, self.head).transpose(1, 2)
                   for p in "qkv")
        q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
        groups = self.heads // self.kv_heads
        y = F.scaled_dot_product_attention(q, k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1), is_causal=True)
        x = x + self.project(y.transpose(1, 2).reshape(n, length, -1), at + "self_attn.o_proj.weight")
        y = self.norm(x, at + "post_attention_layernorm.weight")
        gate = F.silu(self.project(y, at + "mlp.gate_proj.weight"))
        return x + self.project(gate * self.project(y, at + "mlp.up_proj.weight"), at + "mlp.down_proj.weight")

    def logits(self, records, checkpointing=False):
        longest = max(map(len, records))
        tokens = torch.tensor([r + [0] * (longest - len(r)) for r in records], device=DEVICE)
        x = self.t["model.embed_tokens.weight"][tokens]
        angles = torch.outer(torch.arange(longest, device=DEVICE, dtype=torch.float32), self.frequencies)
        cos, sin = angles.cos(), angles.sin()
        for i in range(self.layers):
            x = checkpoint(self.layer, x, i, cos, sin, use_reentrant=False) if checkpointing else self.layer(x, i, cos, sin)
        last = torch.tensor([len(r) - 1 for r in records], device=DEVICE)
        x = self.norm(x[torch.arange(len(records), device=DEVICE), last], "model.norm.weight")
        return self.product(x, self.out, "out").float()


def seconds(work):
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    result = work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - began


def peak():
    return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if DEVICE.type == "cuda" else "memory not measured"


def score(peer, scored, scores):
    records = [r["tokens"] for r in scored]
    batch = max(1, 16384 // max(map(len, records)))
    # A part of a large stream: records are computed whole, prefixes again for each.
    part = records[:max(batch, min(len(records), 64 * batch))]
    with torch.inference_mode():
        peer.logits(part[:batch])
        found, took = seconds(lambda: torch.cat([peer.logits(part[i:i + batch]) for i in range(0, len(part), batch)]))
    ours = torch.tensor([r["logits"] for r in scores[:len(part)]])
    found = found.cpu()
    print(f"logits of {len(part)} records: largest difference {(ours - found).abs().max():.4g}, largest logit "
          f"{found.abs().max():.4g}, the same class in {(ours.argmax(1) == found.argmax(1)).float().mean():.4f}")
    tokens = sum(map(len, part))
    print(f"PyTorch, scoring: {took:.2f} s for {len(part)} of {len(records)} records, {tokens / took:.0f} tokens/s, "
          f"{took * len(records) / len(part):.2f} s for all at that rate; {batch} records a pass; {peak()}")


def train(peer, trained, batch):
    parameters = peer.add_lora()
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01)
    records, labels = [r["tokens"] for r in trained], torch.tensor([r["label"] for r in trained], device=DEVICE)
    steps = min(len(records) // batch, 8)

    def step(i, checkpointing):
        chosen = range(i * batch, (i + 1) * batch)
        loss = F.cross_entropy(peer.logits([records[k] for k in chosen], checkpointing), labels[i * batch:(i + 1) * batch])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for checkpointing in (False, True):
        step(0, checkpointing)
        _, took = seconds(lambda: [step(i, checkpointing) for i in range(steps)])
        print(f"PyTorch, training: {took / steps:.4f} s a step of {batch}, {'with' if checkpointing else 'without'} "
              f"activation checkpointing; {peak()}")


def main():
    model, scored, scores, trained, batch = sys.argv[1:]
    streams = []
    for path in (scored, scores, trained):
        with open(path) as f:
            streams.append([json.loads(line) for line in f])
    print(f"PyTorch {torch.__version__} on {torch.cuda.get_device_name() if DEVICE.type == 'cuda' else 'the processor'}")
    peer = Peer(model)
    score(peer, streams[0], streams[1])
    train(peer, streams[2], int(batch))


if __name__ == "__main__":
    main()
