#!/usr/bin/env bash
# Runs Amazon's pipeline with PROFILE=published on a few of the embedded texts, Yahoo's as the foreign set, and compares
# all of it with the published procedure: published_run.py. MODEL=folder: another model than the embedded one, slower.
set -euo pipefail
cd "$(dirname "$0")/../.."
export HF_HUB_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1 PYTHONDONTWRITEBYTECODE=1
export DUQ_THREADS="${DUQ_THREADS:-1}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
build=$(realpath "${BUILD:-build}")
model=$(realpath "${MODEL:-examples/model}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Yahoo's own settings but for where rows are, for the table is a short one, and classes in words that the embedded
# tokenizer has tokens for.
cp -r pipelines/yahoo "$work/yahoo"
jq --slurpfile words examples/yahoo/task.json '.classes = $words[0].classes' \
    pipelines/yahoo/published.task.json >"$work/yahoo/published.task.json"
printf '%s\n' 'TRAIN = 1000' 'SHOTS_FROM = 1000' 'VALIDATION = 12' 'TEST = 16' "DATA = $PWD/examples/data" \
    >>"$work/yahoo/published.settings"
BUILD=$build pipelines/amazon.sh PROFILE=published MODEL="$model" DATA=examples/data OUT="$work/run" OOD="$work/yahoo" \
    DETECTION=own TRAIN=900 SHOTS_FROM=1000 VALIDATION=12 TEST=24 N_TRAIN=32 EPOCHS=5 LR=1e-3 DROPOUT=0 COMPUTE=f32 \
    DEVICE=cpu BOOTSTRAP=20 2>"$work/said" || { cat "$work/said"; exit 1; }
"${PYTHON:-python3}" -W ignore tests/oracle/published_run.py "$model" "$build/bin" "$work/run" yahoo \
    examples/data/amazon.csv examples/data/yahoo.csv
