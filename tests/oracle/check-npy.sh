#!/usr/bin/env bash
# Reduces arrays of every layout to predictions, and compares with NumPy, live.
set -eu
cd "$(dirname "$0")/../.."
PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-python3}" tests/oracle/npy.py check "$(realpath "${BUILD:-build}/bin/rec")"
