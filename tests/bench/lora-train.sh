#!/usr/bin/env bash
# Speed and memory of lora-train as ratios to transformers + PEFT, on models of SmolLM2-135M's shape and of two layers of
# Mistral-7B's, with random weights. PYTHON: an interpreter with torch, transformers and peft.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
compare() { # SHAPE TEXTS
    echo "$1"
    "$python" tests/bench/random-model.py "$1" "$work/model"
    "$python" tests/bench/lora_train.py "${BUILD:-build}/bin/lora-train" "$work/model" "$2"
    rm -r "$work/model"
}
compare smollm2 32
compare mistral-7b-2layers 16
