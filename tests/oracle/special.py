"""Writes tests/data/uq/special.tsv, dirichlet.tsv and dirichlet-entropy.tsv: values to 17 digits, computed by mpmath
with 60 digits, and where large terms cancel with 400.

special.tsv    x, ln Gamma(x), psi(x), psi'(x)
dirichlet.tsv  number of classes, alphas, total, aleatoric, epistemic (nats)
dirichlet-entropy.tsv  number of classes, alphas, differential entropy (nats):
    sum ln Gamma(alpha_c) - ln Gamma(a0) - sum (alpha_c - 1) (psi(alpha_c) - psi(a0))
The aleatoric value is the expected entropy's closed form, and for two classes also checked here against
numerical integration over the Beta density.
"""
import random
import sys

from mpmath import mp, mpf, log, loggamma, psi, quad, beta

mp.dps = 60
folder = sys.argv[1] if len(sys.argv) > 1 else "tests/data/uq"
rng = random.Random(1)


def digits(v):
    return mp.nstr(v, 17)


xs = [1e-300, 1e-100, 1e-20, 1e-8, 1e-4, 0.01, 0.1, 0.25, 0.5, 0.75, 0.999999, 1.0, 1.000001, 1.25, 1.4616321449683623,
      1.5, 1.75, 2.0, 2.5, 3.0, 4.75, 8.0, 9.999, 11.5, 11.999999, 12.0, 12.5, 20.0, 33.3, 100.0, 1000.5, 1e5, 1e8,
      1e15, 1e100]
xs += [rng.uniform(0, 15) for _ in range(40)] + [10 ** rng.uniform(-6, 6) for _ in range(40)]
with open(f"{folder}/special.tsv", "w") as f:
    for x in xs:
        v = mpf(x)
        if x >= 1e-100:
            print(repr(x), digits(loggamma(v)), digits(psi(0, v)), digits(psi(1, v)), sep="\t", file=f)
        else:  # psi' overflows
            print(repr(x), digits(loggamma(v)), digits(psi(0, v)), "inf", sep="\t", file=f)


def uncertainties(alpha):
    a = [mpf(v) for v in alpha]
    a0 = sum(a)
    p = [v / a0 for v in a]
    total = -sum(v * log(v) for v in p)
    aleatoric = sum(v * (psi(0, a0 + 1) - psi(0, w + 1)) for v, w in zip(p, a))
    return total, aleatoric, total - aleatoric


alphas = [[1.0, 1.0], [1.0, 1.0, 1.0], [2.0, 3.0], [1.0001, 50.0], [5000.0, 5001.0], [1e-3, 1e-3], [1e6, 1.0],
          [1.0] * 10, [1e8, 1e8], [1.0]]
alphas += [[1 + 10 ** rng.uniform(-3, 3) for _ in range(rng.randint(2, 10))] for _ in range(40)]
with open(f"{folder}/dirichlet.tsv", "w") as f:
    for alpha in alphas:
        t, a, e = uncertainties(alpha)
        print(len(alpha), *(repr(v) for v in alpha), digits(t), digits(a), digits(e), sep="\t", file=f)

a, b = mpf(2), mpf(3)
mp.dps = 20
mean_entropy = quad(lambda p: -(p * log(p) + (1 - p) * log(1 - p)) * p ** (a - 1) * (1 - p) ** (b - 1) / beta(a, b),
                    [0, 0.1, 0.5, 0.9, 1])
assert abs(mean_entropy - uncertainties([2, 3])[1]) < 1e-12, mean_entropy

mp.dps = 400
rows = [[a, b] for a in (1e-300, 1e-8, 0.5, 1.0, 11.999999, 12.0, 12.000001, 1e3, 1e15, 1e150)
        for b in (1e-3, 1.0, a, 2 * a)]
rows += [[1e6, 2e6], [1e300, 1e300, 1e299], [3.0], [1e10]]
rows += [[10 ** rng.uniform(-6, 20) for _ in range(n)] for n in (2, 3, 4, 9, 16) for _ in range(8)]
with open(f"{folder}/dirichlet-entropy.tsv", "w") as f:
    for row in rows:
        a = [mpf(v) for v in row]
        a0 = sum(a)
        h = sum(loggamma(v) - (v - 1) * (psi(0, v) - psi(0, a0)) for v in a) - loggamma(a0)
        print(len(row), *map(repr, row), digits(h), sep="\t", file=f)
