#!/usr/bin/env bash
# Has pandas read the table of missing cells again and compares with what is recorded in tests/data/rec.
set -eu
cd "$(dirname "$0")/../.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" tests/oracle/missing.py "$fresh"
for file in missing.csv missing.jsonl; do
    diff "$fresh/$file" "tests/data/rec/$file"
done
echo "missing: the recorded texts are those of pandas"
