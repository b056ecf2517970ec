#!/usr/bin/env bash
# Computes the demo's teacher with transformers again: tests/data/demo/teacher.json is what it says, within 1e-4.
set -eu
cd "$(dirname "$0")/../.."
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
"${PYTHON:-python3}" tests/oracle/demo.py "$fresh"
jq -en --slurpfile fresh "$fresh" --slurpfile recorded tests/data/demo/teacher.json '
    [$fresh[0], $recorded[0]] | map([.. | numbers]) | (.[0] | length) == (.[1] | length)
    and ([transpose[] | .[0] - .[1] | fabs] | max <= 1e-4)' >/dev/null
echo "demo: the recorded figures agree with transformers, scipy, scikit-learn and torchmetrics"
