"""The lower tail of the binomial distribution, by mpmath with 60 digits, compared with scipy.

  binomial.py record FILE     writes the table that tests/c/test_binomial.c compares with: k n p tail, tab-separated
  binomial.py check           says how far scipy.stats.binom is from mpmath on that table's kind of values
"""
import random
import sys

from mpmath import mp, mpf
from scipy.stats import binom

mp.dps = 60


def tail(k, n, p):
    """P(X <= k), summed from its last term down, or from the next one up where that is shorter; p is the double itself."""
    p = mpf(p)
    below = k < n * p
    j = k if below else k + 1
    term = mp.binomial(n, j) * p**j * (1 - p)**(n - j)
    total = term
    while (j > 0 if below else j < n) and term > total * mpf(10)**-40:
        if below:
            term *= j * (1 - p) / ((n - j + 1) * p)
            j -= 1
        else:
            term *= (n - j) * p / ((j + 1) * (1 - p))
            j += 1
        total += term
    return total if below else 1 - total


def cases(seed):
    rng = random.Random(seed)
    yield from [(0, 1, 0.5), (0, 22, 0.1), (0, 1000000, 1e-6), (0, 1000000, 0.0006), (999999, 1000000, 0.999999)]
    for n in (1, 2, 5, 15, 16, 17, 40, 300, 1000, 10000, 100000, 1000000):
        for p in (1e-6, 0.001, 0.05, 0.1, 0.25, 0.5, 0.9, 0.999):
            spread = (n * p * (1 - p))**0.5
            for z in (-30, -8, -3, -1.3, -0.2, 0, 1, 4, rng.uniform(-6, 6)):
                k = round(n * p + z * spread)
                if 0 <= k < n:
                    yield k, n, p


def rows(seed):
    for k, n, p in sorted(set(cases(seed))):
        value = tail(k, n, p)
        if value > mpf(10)**-290:
            yield k, n, p, value


def main():
    if sys.argv[1] == "record":
        with open(sys.argv[2], "w") as f:
            for k, n, p, value in rows(1):
                f.write(f"{k}\t{n}\t{p!r}\t{mp.nstr(value, 20)}\n")
        return 0
    worst = {}
    for k, n, p, value in rows(2):
        away = float(abs(mpf(float(binom.cdf(k, n, p))) / value - 1))
        worst[n] = max(worst.get(n, 0), away)
    for n, away in sorted(worst.items()):
        print(f"n = {n}: scipy within {away:.1e} (relative) of mpmath")
    return 0 if max(worst.values()) < 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
