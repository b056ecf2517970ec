#!/usr/bin/env bash
# lora-train and lm-score --adapter against transformers, PEFT and torch.optim, on the small models of the tests.
set -eu
cd "$(dirname "$0")/../.."
export HF_HUB_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1
export DUQ_THREADS="${DUQ_THREADS:-1}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
python=${PYTHON:-python3}
"$python" -W ignore tests/oracle/lora_streams.py check "${BUILD:-build}/bin" tests/data/engine tests/data/lora/streams
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$python" -W ignore tests/oracle/gradients.py record tests/data/engine "$fresh"
"$python" -W ignore tests/oracle/gradients.py compare "$fresh" tests/data/lora
