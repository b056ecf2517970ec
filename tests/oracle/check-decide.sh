#!/usr/bin/env bash
# Compares decide on fresh random predictions with MAPIE, TorchCP, scikit-learn and scipy, live, and
# counts over many draws how often its promises are broken. PYTHON needs mapie and torchcp.
set -eu
cd "$(dirname "$0")/../.."
export PYTHONDONTWRITEBYTECODE=1 DUQ_THREADS=1 OMP_NUM_THREADS=1
"${PYTHON:-python3}" tests/oracle/binomial.py check
"${PYTHON:-python3}" tests/oracle/decide.py check "$(realpath "${BUILD:-build}/bin/decide")"
