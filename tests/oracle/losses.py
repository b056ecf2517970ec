"""Writes losses.tsv and ib-edl.tsv in tests/data/lora or another folder: the training losses and their gradients, by PyTorch in double precision.

Columns: loss, mode, alpha0, beta, s, classes, members; then logits, probs of the members (row-major), their weights;
then the loss, its gradient by the logits and by s. The Dirichlet loss is torch.distributions' log density; softmax
is torch's kl_div on the mixture, labels is torch's cross_entropy with the most likely class as the label.

Rows of edl, at the end: the mode is the form, beta the weight of the KL, the label the most likely class. The squared
error is from the moments of torch.distributions.Dirichlet, the KL is its kl_divergence; log and digamma are written out
(Sensoy, Kaplan & Kandemir 2018, eqs. 3 to 5).

Columns of ib-edl.tsv: beta, label, classes, samples; logits of the means, then of the deviations; the draws, a sample
after the other; the loss, its gradient by the logits; the mean alphas, by scipy's quadrature. The loss is what the
published code of arXiv 2502.06351 computes (apply_ib, SSBayesRiskLoss), from torch.distributions.
"""
import os
import sys

import numpy as np
import scipy.integrate
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(11)
folder = sys.argv[1] if len(sys.argv) > 1 else "tests/data/lora"
FLOOR = 1e-8


def write_row(f, kind, mode, alpha0, beta, s, logits, members, weights, loss):
    """The row of a loss, of which backward() was called."""
    numbers = [logits, members.flatten(), weights, loss[None], logits.grad,
               (s.grad if s.grad is not None else torch.zeros(()))[None]]
    print(kind, mode, alpha0, beta, s.item(), len(logits), len(members),
          *(repr(v) for t in numbers for v in t.detach().tolist()), sep="\t", file=f)


def evidential(form, weight, logits, label):
    y = F.one_hot(torch.tensor(label), len(logits)).double()
    alpha = 1 + F.softplus(logits, threshold=300)
    given = torch.distributions.Dirichlet(alpha)
    if form == "mse":
        risk = ((y - given.mean) ** 2 + given.variance).sum()
    elif form == "log":
        risk = (y * (alpha.sum().log() - alpha.log())).sum()
    else:
        risk = (y * (torch.digamma(alpha.sum()) - torch.digamma(alpha))).sum()
    misleading = torch.distributions.Dirichlet(y + (1 - y) * alpha)
    flat = torch.distributions.Dirichlet(torch.ones_like(alpha))
    return risk + weight * torch.distributions.kl_divergence(misleading, flat)


def evidential_rows(f):
    one, s = torch.ones(1), torch.zeros(())
    extremes = [[1e4, -1e4, 3.0], [-1e4, 1e4, 1e4], [-1e4, -1e4], [1e4, 1e4, 1e4, -2.0, 0.5]]
    for i in range(48):
        form, weight, n = ["mse", "log", "digamma"][i % 3], [0.0, 0.3, 1.0, 0.7][i // 3 % 4], [1, 2, 3, 10][i // 12]
        drawn = torch.randn(n) * (1 + 9 * (i % 2))
        members = torch.softmax(torch.randn(1, n) * 3, 1)
        for logits in [drawn] + ([torch.tensor(extremes[i // 3 % 4])] if i >= 36 else []):
            logits.requires_grad_()
            if len(logits) != n:
                members = torch.softmax(torch.randn(1, len(logits)) * 3, 1)
            loss = evidential(form, weight, logits, members[0].argmax().item())
            loss.backward()
            write_row(f, "edl", form, 0.0, weight, s, logits, members, one, loss)


def bottleneck(beta, logits, label, draws):
    mean, raw = logits.chunk(2)
    deviation = F.softplus(raw, threshold=300)
    given = torch.distributions.Dirichlet(1 + F.softplus(mean + deviation * draws, threshold=300))
    risk = ((F.one_hot(torch.tensor(label), len(mean)) - given.mean) ** 2 + given.variance).sum(1).mean()
    normal = torch.distributions.Normal
    return risk + beta * torch.distributions.kl_divergence(normal(mean, deviation), normal(0.0, 1.0)).sum()


def mean_alpha(mean, raw):
    deviation = np.logaddexp(0, raw)

    def integrand(e):
        return np.logaddexp(0, mean + deviation * e) * np.exp(-e * e / 2) / np.sqrt(2 * np.pi)
    kink = -mean / deviation if deviation else 0
    ends = [-12, *([kink] if -12 < kink < 12 else []), 12]
    return 1 + sum(scipy.integrate.quad(integrand, a, b, epsabs=1e-13, epsrel=1e-12, limit=500)[0]
                   for a, b in zip(ends, ends[1:]))


def bottleneck_rows(f):
    for i in range(40):
        n, samples, beta = [1, 2, 3, 10][i % 4], [1, 3, 20][i % 3], [0.0, 1e-5, 0.1, 1.0][i // 4 % 4]
        logits = torch.randn(2 * n) * [1, 6][i // 2 % 2]
        if i >= 36:
            logits[0], logits[-1] = [1e4, -1e4, 1e4, -1e4][i - 36], [3.0, 60.0, -25.0, -2.0][i - 36]
        draws, label = torch.randn(samples, n), i // 4 % n
        logits.requires_grad_()
        loss = bottleneck(beta, logits, label, draws)
        loss.backward()
        alphas = torch.tensor([mean_alpha(m, r) for m, r in zip(*logits.detach().numpy().reshape(2, n))])
        print(beta, label, n, samples, *(repr(v) for t in (logits, draws.flatten(), loss[None], logits.grad, alphas)
                                         for v in t.detach().tolist()), sep="\t", file=f)


with open(os.path.join(folder, "ib-edl.tsv"), "w") as f:
    state = torch.get_rng_state()
    bottleneck_rows(f)
    torch.set_rng_state(state)

with open(os.path.join(folder, "losses.tsv"), "w") as f:
    for i in range(60):
        kind, mode = [("softmax", "standard"), ("labels", "standard"), ("dirichlet", "standard"), ("dirichlet", "fixed"),
                      ("dirichlet", "learned")][i % 5]
        n, m = [2, 3, 5, 10][i % 4], [1, 4, 9][i % 3]
        logits = (torch.randn(n) * (1 + 9 * (i % 2))).requires_grad_()
        members = torch.softmax(torch.randn(m, n) * 3, 1)
        weights = torch.softmax(torch.randn(m), 0)
        s = torch.tensor(2.302585092994046 + 0.3 * (i % 3)).requires_grad_()
        alpha0, beta = 10.0 + i % 7, 1.0 - 0.25 * (i % 3)
        mixture = weights @ members
        if kind == "softmax":
            loss = F.kl_div(F.log_softmax(logits, 0)[None], mixture[None], reduction="batchmean")
        elif kind == "labels":
            loss = F.cross_entropy(logits[None], mixture.argmax()[None])
        else:
            # The floored members no longer sum to one exactly; the density formula is evaluated there all the same.
            alpha = 1 + F.softplus(logits, threshold=300)  # by default linear from 20 on, off by 2e-9
            if mode == "fixed":
                alpha = alpha * (alpha0 / alpha.sum())
            floored = members + FLOOR
            direct = -(torch.lgamma(alpha.sum()) - torch.lgamma(alpha).sum()
                       + (weights[:, None] * (alpha - 1) * floored.log()).sum())
            density = -(weights * torch.distributions.Dirichlet(alpha, validate_args=False).log_prob(floored)).sum()
            assert abs(direct - density) < 1e-9 * max(1, abs(direct)), (direct, density)
            loss = density
            if mode == "learned":
                loss = loss + beta * (alpha.sum() - s.exp()) ** 2
        loss.backward()
        write_row(f, kind, mode, alpha0, beta, s, logits, members, weights, loss)
    evidential_rows(f)
