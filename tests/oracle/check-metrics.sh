#!/usr/bin/env bash
# Compares dir-eval on fresh random sets with scikit-learn, torchmetrics and scipy, live.
set -eu
cd "$(dirname "$0")/../.."
PYTHONDONTWRITEBYTECODE=1 DUQ_THREADS=1 OMP_NUM_THREADS=1 \
    "${PYTHON:-python3}" tests/oracle/metrics.py check "$(realpath "${BUILD:-build}/bin/dir-eval")"
