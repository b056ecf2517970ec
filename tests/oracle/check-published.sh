#!/usr/bin/env bash
# Takes the published code's steps towards prompt weights on fresh random scores, and compares with PyTorch's, live.
set -eu
cd "$(dirname "$0")/../.."
PYTHONDONTWRITEBYTECODE=1 DUQ_THREADS=1 OMP_NUM_THREADS=1 \
    "${PYTHON:-python3}" tests/oracle/published_weights.py check "$(realpath "${BUILD:-build}/bin/bpe-fit")"
