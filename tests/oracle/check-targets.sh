#!/usr/bin/env bash
# lora-train --targets all-linear and pattern:REGEX against PEFT's choice of modules.
set -eu
cd "$(dirname "$0")/../.."
export HF_HUB_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1
export DUQ_THREADS="${DUQ_THREADS:-1}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"${PYTHON:-python3}" -W ignore tests/oracle/targets.py check "${BUILD:-build}/bin" tests/data/engine tests/data/lora/targets.json
