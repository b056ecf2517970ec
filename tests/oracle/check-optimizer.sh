#!/usr/bin/env bash
# Runs PyTorch's AdamW again and compares: tests/data/lora/adamw.tsv is what it says.
set -eu
cd "$(dirname "$0")/../.."
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
"${PYTHON:-python3}" tests/oracle/optimizer.py "$fresh"
cmp "$fresh" tests/data/lora/adamw.tsv
echo "optimizer: $(wc -l <"$fresh") recorded steps agree with torch.optim.AdamW"
