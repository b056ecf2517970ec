#!/usr/bin/env bash
# Speed of lm-score as a ratio to transformers and a share of the processor's peak, on a model of
# SmolLM2-135M's shape with random weights. PYTHON: an interpreter with torch and transformers.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
make -s "${BUILD:-build}/bench/products"
python=${PYTHON:-python3}
"$python" tests/bench/random-model.py smollm2 "$work/model"
"$python" tests/bench/lm_score.py "${BUILD:-build}/bin/lm-score" "${BUILD:-build}/bench/products" "$work/model"
