#!/usr/bin/env bash
# Computes the published code's figures of fresh random predictions, and compares with dir-eval --definitions reference.
set -eu
cd "$(dirname "$0")/../.."
PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-python3}" tests/oracle/reference_metrics.py check "$(realpath "${BUILD:-build}/bin/dir-eval")"
