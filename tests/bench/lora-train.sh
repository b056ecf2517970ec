#!/usr/bin/env bash
# Speed and memory of lora-train as ratios to transformers + PEFT, on a model of SmolLM2-135M's shape with random
# weights. PYTHON: an interpreter with torch, transformers and peft.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" tests/bench/random-model.py smollm2 "$work/model"
"$python" tests/bench/lora_train.py "${BUILD:-build}/bin/lora-train" "$work/model"
