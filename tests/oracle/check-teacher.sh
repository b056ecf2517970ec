#!/usr/bin/env bash
# Few-shot prompts of real or embedded texts through the pipeline and through transformers.
# MODEL=folder, DATA=csv (columns idx, sentence, label), TASK=task.json, N=texts, COMPUTE=f32|bf16
# and TOLERANCE may be set; by default the embedded model and texts are used.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$(realpath "${BUILD:-build}")/bin:$PATH
python=${PYTHON:-python3}
model=${MODEL:-examples/model}
data=${DATA:-examples/data/sst2.csv}
task=${TASK:-examples/sst2/task.json}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rec from-csv --id idx --text sentence --label label "$data" >"$work/all.mp"
rec head -n 45 "$work/all.mp" >"$work/shots.mp"
rec head --skip 45 -n "${N:-50}" "$work/all.mp" >"$work/texts.mp"
prompt-expand --task "$task" --shots "$work/shots.mp" "$work/texts.mp" >"$work/prompts.mp"
tok --model "$model" "$work/prompts.mp" |
    lm-score --model "$model" --compute "${COMPUTE:-f32}" >"$work/scores.mp"
rec to-json --header "$work/prompts.mp" >"$work/prompts.jsonl"
rec to-json --header "$work/scores.mp" >"$work/scores.jsonl"
"$python" tests/oracle/teacher.py "$model" "$work/prompts.jsonl" "$work/scores.jsonl" \
    "${TOLERANCE:-1e-3}"
