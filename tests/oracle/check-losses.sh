#!/usr/bin/env bash
# Computes the training losses with PyTorch again and compares: tests/data/lora/losses.tsv is what it says.
set -eu
cd "$(dirname "$0")/../.."
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
"${PYTHON:-python3}" tests/oracle/losses.py "$fresh"
cmp "$fresh" tests/data/lora/losses.tsv
echo "losses: $(wc -l <"$fresh") recorded losses agree with torch.distributions and torch.nn.functional"
