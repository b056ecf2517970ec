#!/usr/bin/env bash
# The main job on the embedded model, as a user would type it: shows each command line before it runs.
# usage: examples/demo.sh [TEXTS]      how many test texts (500); run by make demo
# Everything is written to build/demo. The model, texts and tasks are this folder's own: see make-texts
# and train-model.
# shellcheck disable=SC2016  # command lines are shown before their variables are expanded
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
programs=${PROGRAMS:-$build/bin}
texts=${1:-500}

run() {
    printf '+ %s\n' "$1"
    eval "$1"
}
note() { printf '\n# %s\n' "$*"; }

note 'A model, a task with nine instructions, and texts with labels: shots, validation, test.'
run "PATH=$programs:\$PATH D=$build/demo M=examples/model T=examples/sst2/task.json"
run 'mkdir -p $D'
run 'rec from-csv --id idx --text sentence --label label --classes negative,positive examples/data/sst2.csv >$D/all.mp'
run 'rec head --skip 1000 -n 45 $D/all.mp >$D/shots.mp'
run 'rec head --skip 1045 -n 100 $D/all.mp >$D/val.mp'
run "rec head --skip 1145 -n $texts \$D/all.mp >\$D/test.mp"

note 'The teacher: every instruction with five shots of its own, weighted by how well it does on the validation texts.'
run 'teacher() { prompt-expand --task $T --shots $D/shots.mp "$1" | tok --model $M | lm-score --model $M; }'
run 'teacher $D/val.mp | bpe-fit >$D/weights.mp'
run 'teacher $D/test.mp | bpe-fit --apply $D/weights.mp >$D/teacher.test.mp'
run 'rec to-json $D/weights.mp | jq -c .'
run 'rec head -n 3 $D/teacher.test.mp | rec to-json | jq -c "del(.members)"'

note 'The ensemble beside the average of its prompts.'
run 'dir-eval --members teacher=$D/teacher.test.mp'
printf '\n# done in %s s\n' $SECONDS
