#!/usr/bin/env bash
# Computes the training losses with PyTorch again and compares: losses.tsv and ib-edl.tsv in tests/data/lora are what it says.
set -eu
cd "$(dirname "$0")/../.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" tests/oracle/losses.py "$fresh"
for file in losses.tsv ib-edl.tsv; do
    cmp "$fresh/$file" "tests/data/lora/$file"
done
echo "losses: $(cat "$fresh"/* | wc -l) recorded losses agree with torch.distributions and torch.nn.functional"
