#!/usr/bin/env bash
# Fits prompt weights to fresh random scores and compares with scipy's, live.
set -eu
cd "$(dirname "$0")/../.."
PYTHONDONTWRITEBYTECODE=1 DUQ_THREADS=1 OMP_NUM_THREADS=1 \
    "${PYTHON:-python3}" tests/oracle/bpe_fit.py check "$(realpath "${BUILD:-build}/bin/bpe-fit")"
