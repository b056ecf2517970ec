#!/usr/bin/env bash
# Calibrates fresh random scores and compares with scipy's and scikit-learn's (1.8 or later) answers, live.
set -eu
cd "$(dirname "$0")/../.."
PYTHONDONTWRITEBYTECODE=1 DUQ_THREADS=1 OMP_NUM_THREADS=1 \
    "${PYTHON:-python3}" tests/oracle/calibration.py check "$(realpath "${BUILD:-build}/bin/bpe-fit")"
