#!/usr/bin/env bash
# Trains students by the published procedure beside lora-train, and compares what they give; detection, too.
set -eu
cd "$(dirname "$0")/../.."
export HF_HUB_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1 PYTHONDONTWRITEBYTECODE=1
export DUQ_THREADS="${DUQ_THREADS:-1}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"${PYTHON:-python3}" -W ignore tests/oracle/published_students.py check "${BUILD:-build}/bin" tests/data/engine tests/data/lora/streams
