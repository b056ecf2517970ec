#!/usr/bin/env bash
# Records the class logits, masses and losses of answers of several tokens again and compares.
set -eu
cd "$(dirname "$0")/../.."
export HF_HUB_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1
export DUQ_THREADS="${DUQ_THREADS:-1}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
python=${PYTHON:-python3} build=${BUILD:-build}
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$python" -W ignore tests/oracle/answers.py record tests/data/engine tests/data/lora "$fresh"
"$python" -W ignore tests/oracle/answers.py curves "$build/bin/lora-train" tests/data/engine tests/data/lora "$fresh"
"$python" -W ignore tests/oracle/answers.py compare "$fresh" tests/data/answers
